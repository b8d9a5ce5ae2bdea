"""Ranked items for a file of users, or for all of them, as one Parquet file."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from flows.console import plain_console
from flows.options import ALL, RankRequest
from tasks.engine import LOCAL, Engine
from tasks.registry import RegisteredModel
from widedeep import InputError, Workspace
from widedeep.data.feedback_log import FEEDBACK_FILE, feedback_size
from widedeep.data.ids import composed, id_keys
from widedeep.evaluation.lists import Exposure, Personalisation, self_information
from widedeep.evaluation.naming import DisplayNames, Language
from widedeep.inputs import to_iso
from widedeep.serving.batch_ranking import ListMaker, ListsRequest, RankedLists
from widedeep.store import atomic_write

USER_COLUMN = "user"
"""The column of the input file that is read."""

COLUMNS = ("user", "rank", "item", "probability", "title", "title_en", "model", "version", "at")
"""Columns of the output: a row for each ranked item, user by user, best (rank 1) first. Ids are as
in the data; `title` is the Korean one if there are several, and each title stands in for the other
where that is missing. Which model made the row, which version of it, and the moment of the list
stand in every row, because a table that several files are loaded into knows nothing else of them;
they are stored once a row group."""

METADATA = b"widedeep"
"""Key of the file's metadata: a JSON object that says how all lists of the file were made."""


@dataclass(frozen=True, slots=True)
class RankReport:
    """What was written; `items` is the size of the item table, `seconds` are of ranking alone.

    `feedback` counts the known interactions that the model was not registered with, and
    `personalisation` says how far the lists differ.
    """

    model: str
    version: str
    at: int
    users: int
    items: int
    feedback: int
    rows: int
    personalisation: Personalisation
    seconds: float
    out: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep rank --json` prints."""
        return asdict(self)


def rank_users(
    workspace: Workspace,
    registered: RegisteredModel,
    request: RankRequest,
    engine: Engine = LOCAL,
) -> RankReport:
    """Rank items with a registered model, by all interactions known.

    Those are what the model was registered with, and what its feedback log has received since.

    Args:
        workspace: Where the feedback log lies.
        registered: The version that ranks.
        request: Who gets lists, of which length, and where they are written.
        engine: Where the lists are made; Ray has to be running (`Engine.running`).

    Raises:
        InputError: The file of users cannot be used, or nothing was rated before the moment;
            nothing was written.
        OSError: The output could not be written; nothing is left of it.
    """
    file_users = None if request.users == ALL else read_users(Path(request.users))
    log = workspace.events / registered.model / FEEDBACK_FILE
    lists = ListsRequest(
        registered.version.served.path,
        request.k,
        request.candidates,
        request.at,
        request.precision,
        request.personalisation,
        log,
        feedback_size(log),
    )
    list_maker = ListMaker.load(lists)
    snapshot = list_maker.snapshot
    names = DisplayNames.from_tables(snapshot.side).knowing(users=list_maker.user_texts)
    if file_users is None:
        users = np.unique(list_maker.interactions.user)
    else:
        texts = file_users.to_pylist()
        for text in texts:
            snapshot.side.spec.interactions.check_id(f"{request.users}: user", text)
        names = names.knowing(users=texts)
        users = id_keys(file_users)
    started = time.perf_counter()
    catalogue = snapshot.tables.items.ids
    exposure = Exposure.empty(catalogue)
    origin = _Origin(registered.model, registered.version.number, list_maker.at, request)
    with atomic_write(request.out) as draft:
        for part in _written(engine.lists(lists, list_maker, users), draft, names, origin):
            exposure.add(len(np.unique(part.user)), part.item)
    return RankReport(
        registered.model,
        registered.version.number,
        list_maker.at,
        len(users),
        len(catalogue),
        list_maker.feedback,
        int(exposure.counts.sum()),
        exposure.measure(self_information(list_maker.interactions, catalogue)),
        time.perf_counter() - started,
        str(request.out.resolve()),
    )


def show_rank(report: RankReport) -> None:
    """Print in a few lines what was written, and how far the lists differ."""
    console = plain_console()
    console.print(
        f"{report.model} version {report.version}, knowing what was before {to_iso(report.at)} "
        f"({report.feedback:,} interactions of the feedback log are new to it): "
        f"{report.users:,} users, {report.items:,} items, {report.rows:,} rows "
        f"in {report.seconds:.1f} s"
    )
    console.print(f"personalisation: {report.personalisation.to_text()}")
    console.print(report.out)


def read_users(path: Path) -> pa.ChunkedArray:
    """Return the distinct users in the column `user` of a CSV or Parquet file, (n,) string.

    They are in the order in which they first appear.

    Raises:
        InputError: There is no such file, it is of another kind, or a user is empty.
    """
    column = _user_column(path)
    if not len(column):
        raise InputError(f"{path} has no row; expected at least one user")
    if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type)):
        raise InputError(f"{path}: users are of type {column.type}; expected integers or text")
    texts = composed(pc.cast(column, pa.string()))
    empty = pc.fill_null(pc.equal(texts, ""), True)
    if pc.any(empty).as_py():
        raise InputError(f"{path}: the user in row {pc.index(empty, True).as_py() + 1} is empty")
    return pa.chunked_array([texts.unique()])


def _user_column(path: Path) -> pa.ChunkedArray:
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected one with a column {USER_COLUMN!r}")
    readers = {".csv": _read_csv, ".parquet": pq.read_table}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} ends in {path.suffix!r}; expected .csv or .parquet")
    try:
        table = readers[path.suffix.lower()](path)
    except (pa.ArrowException, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {reason}") from error
    if table.column_names.count(USER_COLUMN) != 1:
        raise InputError(
            f"{path} has columns {table.column_names}; expected one named {USER_COLUMN!r}"
        )
    return table[USER_COLUMN]


def _read_csv(path: Path) -> pa.Table:
    """Read a CSV file with its users as text, so that `read_users` can name a bad one."""
    options = pa_csv.ConvertOptions(column_types={USER_COLUMN: pa.string()})
    return pa_csv.read_csv(path, convert_options=options)


@dataclass(frozen=True, slots=True)
class _Origin:
    """What made the lists of a file: model, version, moment (UNIX seconds) and request."""

    model: str
    version: str
    at: int
    request: RankRequest

    def schema(self, names: DisplayNames) -> pa.Schema:
        """Return the types of `COLUMNS`, in which ids are text if the data have any that is."""
        user, item = (
            pa.string() if ids.texts else pa.int64() for ids in (names.user_ids, names.item_ids)
        )
        text = pa.string()
        types = (user, pa.int32(), item, pa.float32(), text, text, text, text, _MOMENT)
        return pa.schema(list(zip(COLUMNS, types, strict=True)), {METADATA: self.as_json()})

    def as_json(self) -> str:
        """Return the metadata of the file."""
        settings = self.request.model_dump(include={"k", "candidates", "personalisation"})
        values = {"model": self.model, "version": self.version, "at": to_iso(self.at), **settings}
        return json.dumps(values | {"precision": self.request.precision}, ensure_ascii=False)

    def columns(self, rows: int) -> list[pa.Array]:
        """Return the last three of `COLUMNS`, (rows,) each."""
        moment = pa.scalar(1000 * self.at, pa.int64()).cast(_MOMENT)
        return [pa.repeat(value, rows) for value in (self.model, self.version, moment)]


_MOMENT = pa.timestamp("ms", "UTC")


def _written(
    parts: Iterator[RankedLists], path: Path, names: DisplayNames, origin: _Origin
) -> Iterator[RankedLists]:
    """Write all parts to a Parquet file, and yield each when it is written."""
    schema = origin.schema(names)
    with pq.ParquetWriter(path, schema) as writer:
        for part in parts:
            columns = [*_columns(part, names), *origin.columns(len(part.item))]
            writer.write_table(pa.table(columns, schema=schema))
            yield part


def _columns(part: RankedLists, names: DisplayNames) -> list[Any]:
    """Return all of `COLUMNS` but those of the origin."""
    items, codes = np.unique(part.item, return_inverse=True)
    titles = [
        pa.array([names.item(item, language) for item in items.tolist()], pa.string())
        for language in (Language.KOREAN, Language.ENGLISH)
    ]
    user, item = names.user_ids.column(part.user), names.item_ids.column(part.item)
    rows = pa.array(codes)
    return [user, part.rank, item, part.probability, *(title.take(rows) for title in titles)]

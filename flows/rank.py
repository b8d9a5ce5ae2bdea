"""Ranked items for a file of users, or for all of them, as one Parquet file."""

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
from widedeep import InputError
from widedeep.data.ids import composed, id_keys
from widedeep.evaluation.naming import DisplayNames, Language
from widedeep.inputs import to_iso
from widedeep.serving.batch_ranking import ListMaker, ListsRequest, RankedLists
from widedeep.store import atomic_write

USER_COLUMN = "user"
"""The column of the input file that is read."""

COLUMNS = ("user", "rank", "item", "probability", "title")
"""Columns of the output: a row for each ranked item, user by user, best (rank 1) first. Ids are as
in the data, and the title is the Korean one if there are several."""


@dataclass(frozen=True, slots=True)
class RankReport:
    """What was written; `items` is the size of the item table, `seconds` are of ranking alone."""

    model: str
    version: str
    at: int
    users: int
    items: int
    rows: int
    seconds: float
    out: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep rank --json` prints."""
        return asdict(self)


def rank_users(
    registered: RegisteredModel, request: RankRequest, engine: Engine = LOCAL
) -> RankReport:
    """Rank items with a registered model and the interactions that it was registered with.

    Args:
        registered: The version that ranks.
        request: Who gets lists, of which length, and where they are written.
        engine: Where the lists are made; Ray has to be running (`Engine.running`).

    Raises:
        InputError: The file of users cannot be used, or nothing was rated before the moment;
            nothing was written.
        OSError: The output could not be written; nothing is left of it.
    """
    file_users = None if request.users == ALL else read_users(Path(request.users))
    lists = ListsRequest(
        registered.version.served.path,
        request.k,
        request.candidates,
        request.at,
        request.precision,
    )
    list_maker = ListMaker.load(lists)
    snapshot = list_maker.snapshot
    names = DisplayNames.from_tables(snapshot.side)
    if file_users is None:
        users = np.unique(list_maker.interactions.user)
    else:
        texts = file_users.to_pylist()
        for text in texts:
            snapshot.side.spec.interactions.check_id(f"{request.users}: user", text)
        names = names.knowing(users=texts)
        users = id_keys(file_users)
    started = time.perf_counter()
    rows = _write(engine.lists(lists, list_maker, users), request.out, names)
    return RankReport(
        registered.model,
        registered.version.number,
        list_maker.at,
        len(users),
        len(snapshot.tables.items.ids),
        rows,
        time.perf_counter() - started,
        str(request.out.resolve()),
    )


def show_rank(report: RankReport) -> None:
    """Print in two lines what was written."""
    console = plain_console()
    console.print(
        f"{report.model} version {report.version}, knowing what was before {to_iso(report.at)}: "
        f"{report.users:,} users, {report.items:,} items, {report.rows:,} rows "
        f"in {report.seconds:.1f} s"
    )
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


def _write(parts: Iterator[RankedLists], out: Path, names: DisplayNames) -> int:
    """Write all parts to a draft, rename it when it is on disk, and return the number of rows."""
    rows = 0
    with atomic_write(out) as draft, pq.ParquetWriter(draft, _schema(names)) as writer:
        for part in parts:
            writer.write_table(_table(part, names))
            rows += len(part.item)
    return rows


def _table(part: RankedLists, names: DisplayNames) -> pa.Table:
    items, codes = np.unique(part.item, return_inverse=True)
    titles = pa.array([names.item(item, Language.KOREAN) for item in items.tolist()], pa.string())
    user, item = names.user_ids.column(part.user), names.item_ids.column(part.item)
    columns = [user, part.rank, item, part.probability, titles.take(pa.array(codes))]
    return pa.table(columns, schema=_schema(names))


def _schema(names: DisplayNames) -> pa.Schema:
    """Return the types of `COLUMNS`: ids are text if the data have any that is."""
    user, item = (
        pa.string() if ids.texts else pa.int64() for ids in (names.user_ids, names.item_ids)
    )
    types = (user, pa.int32(), item, pa.float32(), pa.string())
    return pa.schema(list(zip(COLUMNS, types, strict=True)))

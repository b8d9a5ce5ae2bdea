"""Ranked items for a file of users, or for all of them, as one Parquet file.

A file that names users.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flows.champion import RegisteredModel
from flows.console import plain_console
from tasks.engine import LOCAL, Engine
from widedeep.choices import Precision
from widedeep.evaluation.naming import DisplayNames, Language
from widedeep.inputs import InputError, to_iso
from widedeep.serving.batch_ranking import ListMaker, ListsRequest, RankedLists
from widedeep.store import drafted

COLUMN = "user"


def read_users(path: Path) -> NDArray[np.int64]:
    """The users in the column `user` of a CSV or Parquet file, each once, as they first come.

    Raises:
        InputError: There is no such file, it is of another kind, or its users are not integers.
    """
    column = _column(path)
    if not len(column):
        raise InputError(f"{path} has no row; at least one user is wanted")
    if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type)):
        raise InputError(f"{path}: users are of type {column.type}; integers are wanted")
    texts = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    good = pc.fill_null(pc.match_substring_regex(texts, r"^-?[0-9]{1,18}$"), False)
    if not pc.all(good).as_py():
        row = pc.index(good, False).as_py()
        found = column[row].as_py()
        raise InputError(f"{path}: user {found!r} in row {row + 1}; an integer is wanted")
    users: NDArray[np.int64] = pd.unique(texts.cast(pa.int64()).to_numpy())
    return users


def _column(path: Path) -> pa.ChunkedArray:
    if not path.is_file():
        raise InputError(f"{path} is no file; one with a column {COLUMN!r} is wanted")
    readers = {".csv": _read_csv, ".parquet": pq.read_table}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} ends in {path.suffix!r}; .csv or .parquet is wanted")
    try:
        table = readers[path.suffix.lower()](path)
    except (pa.ArrowException, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {reason}") from error
    if table.column_names.count(COLUMN) != 1:
        raise InputError(f"{path} has columns {table.column_names}; one named {COLUMN!r} is wanted")
    return table[COLUMN]


def _read_csv(path: Path) -> pa.Table:
    """With users as text: what is an integer is for us to judge."""
    options = pa_csv.ConvertOptions(column_types={COLUMN: pa.string()})
    return pa_csv.read_csv(path, convert_options=options)


EVERYBODY = "all"
COLUMNS = pa.schema(
    {
        "user": pa.int64(),
        "rank": pa.int32(),
        "item": pa.int64(),
        "probability": pa.float32(),
        "title": pa.string(),
    }
)
"""A row a ranked item, user by user, the best (rank 1) first; the title is the Korean one."""


@dataclass(frozen=True, slots=True)
class RankRequest:
    """What is to be ranked.

    Attributes:
        users: A CSV or Parquet file with a column `user`, or `EVERYBODY`.
        out: The Parquet file to write.
        k: Items a user.
        candidates: How many of the items are ranked for each user; None for all of them.
        at: UNIX seconds, ratings strictly before it are known; None for after the last.
        precision: Of the scores; float32 gives the registered model's, on any machine.
        engine: Where it is done; on Ray within its `running`.
    """

    users: str
    out: Path
    k: int
    candidates: int | None
    at: int | None
    precision: Precision = Precision.FLOAT32
    engine: Engine = LOCAL

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"--k is {self.k}; at least 1 film a user is wanted")
        if self.candidates is not None and self.candidates < self.k:
            raise InputError(
                f"--candidates is {self.candidates}; at least as many as --k, {self.k}, are wanted"
            )
        if self.out.suffix != ".parquet" or self.out.is_dir():
            raise InputError(f"--out is {self.out}; a file that ends in .parquet is wanted")
        if not self.out.parent.is_dir():
            raise InputError(f"--out is {self.out}; there is no folder {self.out.parent}")


@dataclass(frozen=True, slots=True)
class RankReport:
    """What was written; `items` are those in the item table, `seconds` are of the ranking alone."""

    model: str
    version: str
    at: int
    users: int
    items: int
    rows: int
    seconds: float
    out: str

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep rank --json` prints."""
        return asdict(self)


def rank(registered: RegisteredModel, order: RankRequest) -> RankReport:
    """Rank by a registered model, with the ratings that it was registered with.

    Raises:
        InputError: The file of users is not one, or nothing was rated before the moment; nothing
            was written.
        OSError: The file could not be written; nothing is left of it.
    """
    asked = None if order.users == EVERYBODY else read_users(Path(order.users))
    path = registered.version.served.path
    wanted = ListsRequest(path, order.k, order.candidates, order.at, order.precision)
    lister = ListMaker.of(wanted)
    users = np.unique(lister.interactions.user) if asked is None else asked
    names = DisplayNames.of(lister.known.items, lister.known.people)
    started = time.perf_counter()
    rows = _write(order.engine.lists(wanted, lister, users), order.out, names)
    return RankReport(
        registered.model,
        registered.version.number,
        lister.at,
        len(users),
        len(lister.known.item_table.items),
        rows,
        time.perf_counter() - started,
        str(order.out.resolve()),
    )


def show_rank(report: RankReport) -> None:
    """Say in two lines what was written."""
    console = plain_console()
    console.print(
        f"{report.model} version {report.version}, knowing the ratings before {to_iso(report.at)}: "
        f"{report.users:,} users, {report.items:,} films, {report.rows:,} rows "
        f"in {report.seconds:.1f} s"
    )
    console.print(report.out)


def _write(parts: Iterator[RankedLists], out: Path, names: DisplayNames) -> int:
    """Write all parts, and rename into place when they are on the disk; gives the rows."""
    rows = 0
    with drafted(out) as draft, pq.ParquetWriter(draft, COLUMNS) as writer:
        for part in parts:
            writer.write_table(_table(part, names))
            rows += len(part.item)
    return rows


def _table(part: RankedLists, names: DisplayNames) -> pa.Table:
    items, place = np.unique(part.item, return_inverse=True)
    titles = pa.array([names.item(item, Language.KOREAN) for item in items.tolist()], pa.string())
    return pa.table(
        [part.user, part.rank, part.item, part.probability, titles.take(pa.array(place))],
        schema=COLUMNS,
    )

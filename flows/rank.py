"""Ranked films for a file of users, or for all of them, as one Parquet file."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.console import plain_console
from flows.registered import Registered
from tasks.engine import LOCAL, Engine
from widedeep.data.user_list import read_users
from widedeep.draft import drafted
from widedeep.errors import InputError
from widedeep.evaluation.names import Language, Names
from widedeep.model.precision import Precision
from widedeep.serving.batch_ranking import Lists
from widedeep.serving.lists_order import Lister, ListsOrder
from widedeep.when import iso

EVERYBODY = "all"
COLUMNS = pa.schema(
    {
        "user": pa.int64(),
        "rank": pa.int32(),
        "movie": pa.int64(),
        "probability": pa.float32(),
        "title": pa.string(),
    }
)
"""A row a ranked film, user by user, the best (rank 1) first; the title is the Korean one."""


@dataclass(frozen=True, slots=True)
class RankOrder:
    """What is to be ranked.

    Attributes:
        users: A CSV or Parquet file with a column `user`, or `EVERYBODY`.
        out: The Parquet file to write.
        k: Films a user.
        candidates: How many of the films are ranked for each user; None for all of them.
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
    """What was written; `films` are those in the catalogue, `seconds` are of the ranking alone."""

    model: str
    version: str
    at: int
    users: int
    films: int
    rows: int
    seconds: float
    out: str

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep rank --json` prints."""
        return asdict(self)


def rank(registered: Registered, order: RankOrder) -> RankReport:
    """Rank by a registered model, with the ratings that it was registered with.

    Raises:
        InputError: The file of users is not one, or nothing was rated before the moment; nothing
            was written.
        OSError: The file could not be written; nothing is left of it.
    """
    asked = None if order.users == EVERYBODY else read_users(Path(order.users))
    path = registered.version.served.path
    wanted = ListsOrder(path, order.k, order.candidates, order.at, order.precision)
    lister = Lister.of(wanted)
    users = np.unique(lister.log.user) if asked is None else asked
    names = Names.of(lister.known.movies, lister.known.people)
    started = time.perf_counter()
    rows = _write(order.engine.lists(wanted, lister, users), order.out, names)
    return RankReport(
        registered.model,
        registered.version.number,
        lister.at,
        len(users),
        len(lister.known.catalogue.movies),
        rows,
        time.perf_counter() - started,
        str(order.out.resolve()),
    )


def show(report: RankReport) -> None:
    """Say in two lines what was written."""
    console = plain_console()
    console.print(
        f"{report.model} version {report.version}, knowing the ratings before {iso(report.at)}: "
        f"{report.users:,} users, {report.films:,} films, {report.rows:,} rows "
        f"in {report.seconds:.1f} s"
    )
    console.print(report.out)


def _write(parts: Iterator[Lists], out: Path, names: Names) -> int:
    """Write all parts, and rename into place when they are on the disk; gives the rows."""
    rows = 0
    with drafted(out) as draft, pq.ParquetWriter(draft, COLUMNS) as writer:
        for part in parts:
            writer.write_table(_table(part, names))
            rows += len(part.movie)
    return rows


def _table(part: Lists, names: Names) -> pa.Table:
    movies, place = np.unique(part.movie, return_inverse=True)
    titles = pa.array(
        [names.movie(movie, Language.KOREAN) for movie in movies.tolist()], pa.string()
    )
    return pa.table(
        [part.user, part.rank, part.movie, part.probability, titles.take(pa.array(place))],
        schema=COLUMNS,
    )

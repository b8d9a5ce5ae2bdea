"""Ratings: the checked data set, as the later stages see it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.artifact_store import Artifact
from widedeep.columns import save_columns
from widedeep.data.kmrd import RATES


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of all rating files: read = examples + superseded + quarantined."""

    read: int
    examples: int
    superseded: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class RatingLog:
    """Examples: each (user, movie) once, at its first rating; sorted by time, user and movie.

    Attributes:
        user: int64 (n,), a token, not a number: it leaks the user's future activity.
        movie: int64 (n,), a token.
        rate: int8 (n,), 1 to 10.
        time: int64 (n,), UNIX seconds.
    """

    user: NDArray[np.int64]
    movie: NDArray[np.int64]
    rate: NDArray[np.int8]
    time: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.time)

    def take(self, rows: NDArray[Any] | slice) -> "RatingLog":
        """The named rows, as indexing an array names them."""
        return RatingLog(*(getattr(self, name)[rows] for name in self.__slots__))

    def save(self, path: Path) -> None:
        """Write one Parquet file with a column for each attribute."""
        save_columns(self, path)

    @classmethod
    def load(cls, path: Path, rows: ds.Expression | None = None) -> Self:
        """Read what `save` or ingest wrote; only the `rows` for which the expression holds."""
        table = pq.read_table(path, columns=list(cls.__slots__), filters=rows)
        return cls(*(table[name].to_numpy() for name in cls.__slots__))


def first_times(tokens: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row, when its token stands in `time` (ascending) for the first time, shape (n,)."""
    _, first, inverse = np.unique(tokens, return_index=True, return_inverse=True)
    return time[first][inverse]


@dataclass(frozen=True, slots=True)
class Ratings:
    """A handle on the artefact that `ingest` made; nothing is read before it is asked for."""

    artifact: Artifact

    @property
    def last_time(self) -> int:
        """UNIX seconds of the last rating, superseded ones included."""
        return int(self.artifact.summary["last_time"])

    def load(self, until: int | None = None) -> RatingLog:
        """Read the examples before `until` (UNIX seconds; None: all of them)."""
        filters = None if until is None else ds.field("time") < until
        return RatingLog.load(self._path("ratings"), filters)

    def movies(self) -> pa.Table:
        """Read what is known of each movie of movies.txt, see `movies.MOVIE_COLUMNS`."""
        return pq.read_table(self._path("movies"))

    def people(self) -> pa.Table:
        """Read the names of people, see `movies.PEOPLE_COLUMNS`."""
        return pq.read_table(self._path("people"))

    def counts(self, as_of: int) -> Counts:
        """What was known strictly before `as_of` (UNIX seconds).

        A quarantined row whose time can't be read or believed counts as known at any moment.
        """
        earlier = ds.field("time") < as_of
        known = pc.starts_with(ds.field("file"), RATES.stem) & (
            ds.field("time").is_null() | earlier
        )
        examples = self._count("ratings", earlier)
        superseded = self._count("superseded", earlier)
        quarantined = self._count("quarantine", known)
        return Counts(examples + superseded + quarantined, examples, superseded, quarantined)

    def _path(self, name: str) -> Path:
        return self.artifact.path / f"{name}.parquet"

    def _count(self, name: str, rows: ds.Expression) -> int:
        return int(ds.dataset(self._path(name)).count_rows(filter=rows))

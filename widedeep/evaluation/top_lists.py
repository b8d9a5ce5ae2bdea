"""The lists of ten that a model shows, to see how much of them a new model changes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.evaluation.scoring import Scorer
from widedeep.features.history import Queries
from widedeep.features.sampling import DAY

Ints = NDArray[np.int64]

LENGTH = 10
USERS = MOVIES = 100
_YEAR = 365 * DAY


@dataclass(frozen=True, slots=True)
class TopLists:
    """The best `movie` tokens of each `user`, int64 (users, LENGTH), the best first."""

    user: Ints
    movie: Ints

    @classmethod
    def of(cls, log: RatingLog, at: int, scorer: Scorer) -> Self:
        """Rank for the users seen last before `at` the movies rated most in the year before.

        Films that a user has rated are not shown again. Who is asked does not depend on the model.
        """
        users, movies = _last_seen(log), _most_rated(log, at)
        scores = scorer(Queries.of_every_pair(users, movies, at)).reshape(len(users), len(movies))
        scores[_rated(log, users, movies)] = -1.0
        best = np.argsort(-scores, axis=1, kind="stable")[:, :LENGTH]
        return cls(users, movies[best])

    def churn(self, other: Self) -> float:
        """Share of the shown films that `other` doesn't show to the same user, in [0, 1]."""
        pairs = zip(self.movie, other.movie, strict=True)
        kept = [len(np.intersect1d(ours, theirs)) for ours, theirs in pairs]
        return 1.0 - float(np.sum(kept)) / max(self.movie.size, 1)

    def coverage(self) -> int:
        """How many different films are shown to anybody."""
        return len(np.unique(self.movie))

    def save(self, path: Path) -> None:
        """Write one Parquet file, a row a user."""
        pq.write_table(pa.table({"user": self.user, "movies": list(self.movie)}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        movies = np.array(table["movies"].to_pylist(), np.int64)
        return cls(table["user"].to_numpy(), movies.reshape(table.num_rows, -1))


def _last_seen(log: RatingLog) -> Ints:
    """Users by their last rating, the latest USERS of them, by token."""
    users, newest = np.unique(log.user[::-1], return_index=True)
    return np.sort(users[np.argsort(newest, kind="stable")[:USERS]])


def _most_rated(log: RatingLog, at: int) -> Ints:
    """The MOVIES tokens rated most in the year before `at` (or ever, if nothing was), by token."""
    lately = log.movie[log.time >= at - _YEAR]
    movies, ratings = np.unique(lately if len(lately) else log.movie, return_counts=True)
    return np.sort(movies[np.argsort(-ratings, kind="stable")[:MOVIES]])


def _rated(log: RatingLog, users: Ints, movies: Ints) -> NDArray[np.bool_]:
    """Who has rated what, (users, movies)."""
    known = np.isin(log.user, users) & np.isin(log.movie, movies)
    rated = np.zeros((len(users), len(movies)), np.bool_)
    places = (np.searchsorted(users, log.user[known]), np.searchsorted(movies, log.movie[known]))
    rated[places] = True
    return rated

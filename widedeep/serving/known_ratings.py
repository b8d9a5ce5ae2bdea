"""What is known when a model begins to serve: the ratings it came with, and those taken since."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue

Ints = NDArray[np.int64]

_RATES = (1, 10)


@dataclass(frozen=True, slots=True)
class Companion:
    """What a registered model carries beside its weights, see `tasks.companion`.

    Attributes:
        log: The ratings it was registered with.
        movies: What is known of each movie, see `movies.MOVIE_COLUMNS`.
        people: Their names, see `movies.PEOPLE_COLUMNS`.
        catalogue: The movies' attributes.
    """

    log: RatingLog
    movies: pa.Table
    people: pa.Table
    catalogue: Catalogue

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a registered model's folder `history`."""
        movies = pq.read_table(folder / "movies.parquet")
        return cls(
            RatingLog.load(folder / "ratings.parquet"),
            movies,
            pq.read_table(folder / "people.parquet"),
            Catalogue.from_table(movies),
        )

    def with_events(self, events: pa.Table) -> RatingLog:
        """The ratings with those of an event log, as ingest would have them.

        Of several ratings of a pair the first in time is the example; of several at one time, the
        one that stands first. Events of movies that are not in the catalogue are left out.

        Args:
            events: user, movie, rate, time int64 (n,), in the order in which they came.
        """
        columns = [events[name].to_numpy() for name in ("user", "movie", "rate", "time")]
        good = np.isin(columns[1], self.catalogue.movies)
        good &= (columns[2] >= _RATES[0]) & (columns[2] <= _RATES[1])
        if not good.any():
            return self.log
        user, movie, rate, time = (
            np.concatenate([ours, theirs[good]])
            for ours, theirs in zip(
                (self.log.user, self.log.movie, self.log.rate, self.log.time), columns, strict=True
            )
        )
        first = _first_of_each_pair(user, movie, time)
        rows = first[np.lexsort((movie[first], user[first], time[first]))]
        return RatingLog(user[rows], movie[rows], rate[rows].astype(np.int8), time[rows])


def _first_of_each_pair(user: Ints, movie: Ints, time: Ints) -> Ints:
    order = np.lexsort((time, movie, user))
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (np.diff(user[order]) != 0) | (np.diff(movie[order]) != 0)
    return order[starts]

"""What a model reads of a movie that depends neither on the user nor on time, for all movies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import Queries
from widedeep.features.ragged import Ragged
from widedeep.features.raw_columns import film_age
from widedeep.features.transform import Transform

OF_USERS = ("user", "liked", "disliked")
"""The features that are not a movie's."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MovieSide:
    """Rows for the movies in the order of their tokens and, last, for an unknown movie.

    Attributes:
        ids: Ids of each category and bag of a movie, by name.
        fired: All wide ids that fire for a stranger without history; who has some, fires others.
        original_year: float64 (movies + 1,), NaN where unknown.
    """

    ids: Mapping[str, Ragged]
    fired: Ragged
    original_year: NDArray[np.float64]

    @classmethod
    def of(cls, transform: Transform, catalogue: Catalogue, movies: Ints) -> Self:
        """Encode `movies` (tokens, sorted) by the transform itself, as a stranger's candidates."""
        tokens = np.append(movies, _absent(movies))
        moment = np.zeros(len(tokens), np.int64)
        nobody = np.full(len(tokens), -1)
        rows = transform.describe(_NOTHING, Queries(nobody, tokens, moment, moment), catalogue)
        encoded = transform.encode(rows)
        categories, bags = transform.spec.categories, transform.spec.bags
        ids = {c.name: Ragged.singles(encoded.categories[:, i]) for i, c in enumerate(categories)}
        ids |= {bag.name: held for bag, held in zip(bags, encoded.bags, strict=True)}
        of_movies = {name: held for name, held in ids.items() if name not in OF_USERS}
        year = catalogue.numbers["original_year"][rows.movie_rows]
        return cls(of_movies, encoded.wide, year)

    def film_age(self, rows: Ints, time: int) -> NDArray[np.float64]:
        """In years at UNIX seconds `time`, (n,)."""
        return film_age(self.original_year[rows], time)


_NOTHING = RatingLog(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.int64)
)


def _absent(movies: Ints) -> int:
    """A token that no movie has: below the lowest, or in the first gap."""
    return int(np.setdiff1d(np.arange(-1, -len(movies) - 2, -1), movies)[-1])

"""The raw features of queries: what stands in the log and the catalogue, before any fitting."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.errors import InputError
from widedeep.features.catalogue import Catalogue
from widedeep.features.coded_bag import CodedBag
from widedeep.features.history import HistoryConfig, Queries, history_columns
from widedeep.features.history_columns import EVERYTHING, HistoryColumns, Wanted
from widedeep.features.history_state import NUMERIC
from widedeep.features.ragged import Ragged, consecutive

Column = TypeVar("Column")

SECONDS_A_YEAR = 31_556_952.0
FILM_AGE = "film_age"
NUMBERS = (*NUMERIC, FILM_AGE)
"""Every numeric raw feature; `film_age` is in years since the original release."""


@dataclass(frozen=True, slots=True)
class RawColumns:
    """Features of `queries` by name; no label is among them.

    Attributes of movies stay in the catalogue and are reached by `movie_rows`, so they are encoded
    once a movie and not once a row.
    """

    queries: Queries
    history: HistoryColumns
    catalogue: Catalogue
    movie_rows: NDArray[np.int64]

    @classmethod
    def describe(
        cls,
        log: RatingLog,
        queries: Queries,
        catalogue: Catalogue,
        config: HistoryConfig,
        prior: float,
        *,
        wanted: Wanted = EVERYTHING,
    ) -> "RawColumns":
        """Look up history, as far as it is wanted, and attributes of each query."""
        history = history_columns(log, queries, catalogue, config, prior, wanted=wanted)
        return cls.of(queries, history, catalogue)

    @classmethod
    def of(cls, queries: Queries, history: HistoryColumns, catalogue: Catalogue) -> "RawColumns":
        """With a history that was looked up elsewhere."""
        return cls(queries, history, catalogue, catalogue.rows(queries.movie))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.queries)

    def take(self, rows: NDArray[np.int64]) -> "RawColumns":
        """The named rows, in that order; without a copy if they follow one another."""
        return RawColumns(
            self.queries.take(rows),
            self.history.take(rows),
            self.catalogue,
            self.movie_rows[consecutive(rows, len(self))],
        )

    def token(self, name: str) -> NDArray[np.int64] | None:
        """User or movie tokens, shape (n,); None if `name` is an attribute of movies."""
        return {"user": self.queries.user, "movie": self.queries.movie}.get(name)

    def attribute(self, name: str) -> NDArray[Any]:
        """A category of the catalogue by catalogue row, shape (movies + 1,)."""
        return _find(self.catalogue.categories, name)

    def attribute_bag(self, name: str) -> Ragged:
        """A bag of the catalogue by catalogue row."""
        return _find(self.catalogue.bags, name)

    def history_bag(self, name: str) -> CodedBag | None:
        """Movies liked or disliked before, by row; None if `name` is an attribute of movies."""
        return {"liked": self.history.liked, "disliked": self.history.disliked}.get(name)

    def number(self, name: str) -> NDArray[np.floating]:
        """A numeric feature, shape (n,), NaN where missing."""
        if name == FILM_AGE:
            year = self.catalogue.numbers["original_year"][self.movie_rows]
            return film_age(year, self.queries.time)
        if name not in self.history.names:
            held = [*self.history.names, FILM_AGE]
            raise InputError(f"no numeric feature {name!r}; there are {held}")
        return self.history.column(name)


def film_age(original_year: NDArray[np.float64], time: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Years since the film was new at UNIX seconds `time` (one, or n), shape (n,); NaN: unknown."""
    age: NDArray[np.float64] = 1970.0 + time / SECONDS_A_YEAR - original_year
    return age


def _find(table: dict[str, Column], name: str) -> Column:
    if name not in table:
        raise InputError(f"no feature {name!r} in the catalogue; there are {sorted(table)}")
    return table[name]

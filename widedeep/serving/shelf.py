"""What people are told of films, and find them by; most versions of a model know the same films."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.evaluation.names import Names
from widedeep.features.companion import Companion
from widedeep.serving.films import Films
from widedeep.serving.title_search import TitleSearch


@dataclass(frozen=True, slots=True)
class Shelf:
    """Names, cards and titles of the films in two tables of a `Companion`."""

    movies: pa.Table
    people: pa.Table
    names: Names
    films: Films
    titles: TitleSearch

    @classmethod
    def of(cls, companion: Companion, before: Self | None = None) -> Self:
        """Out of a companion; the one `before` where it is of the same films and people.

        Among equally good titles the more popular stand first, by the ratings of the companion for
        which a shelf was made.
        """
        movies, people = companion.movies, companion.people
        if before is not None and movies.equals(before.movies) and people.equals(before.people):
            return before
        names = Names.of(movies, people)
        titles = TitleSearch.of(movies, _ratings_of_each(companion))
        return cls(movies, people, names, Films.of(movies, names), titles)


def _ratings_of_each(companion: Companion) -> NDArray[np.int64]:
    """How many ratings each movie of the catalogue has, (m,)."""
    catalogue, count = companion.catalogue, len(companion.catalogue.movies)
    return np.bincount(catalogue.rows(companion.log.movie), minlength=count + 1)[:count]

"""What is known of films, and how people find them; most versions know the same films."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.evaluation.names import Names
from widedeep.features.catalogue import Catalogue
from widedeep.features.companion import film_digests, film_tables
from widedeep.serving.films import Films
from widedeep.serving.title_search import TitleSearch


@dataclass(frozen=True, slots=True)
class Shelf:
    """Attributes, names, cards and titles of the films in two tables of a `Companion`."""

    digests: tuple[str, str]
    catalogue: Catalogue
    names: Names
    films: Films
    titles: TitleSearch

    @classmethod
    def load(cls, history: Path, rated: NDArray[np.int64], before: Self | None = None) -> Self:
        """Read a folder `history`; the shelf `before` where it is of the same films and people.

        Among equally good titles the more popular stand first, by the movies (tokens) that were
        `rated`, once for each rating, when a shelf was made.
        """
        digests = film_digests(history)
        if before is not None and before.digests == digests:
            return before
        movies, people = film_tables(history)
        catalogue, names = Catalogue.from_table(movies), Names.of(movies, people)
        count = len(catalogue.movies)
        ratings = np.bincount(catalogue.rows(rated), minlength=count + 1)[:count]
        titles = TitleSearch.of(movies, ratings)
        return cls(digests, catalogue, names, Films.of(movies, names), titles)

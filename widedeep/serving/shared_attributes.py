"""Similar: films with the same people or genres as those the user liked."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from widedeep.features.catalogue import Catalogue
from widedeep.features.ragged import Ragged
from widedeep.serving.weighted_lists import Ints, Scores, WeightedLists

NAME = "similar"


@dataclass(frozen=True, slots=True)
class SharedAttributes:
    """Cosines of the movies' genres and people, each weighed by its inverse document frequency.

    Who or what few films have tells more. Leading roles are people, too, and count twice.
    """

    attributes: WeightedLists
    movies_with: WeightedLists
    movies: int

    @classmethod
    def of(cls, catalogue: Catalogue) -> Self:
        """Read genres, people and leading roles of all movies."""
        count = len(catalogue.movies)
        rows, codes, times = _entries(catalogue, ("genres", "people", "leading"))
        widest = int(codes.max(initial=-1)) + 1
        rarity: Scores = np.log1p(count / np.maximum(np.bincount(codes, minlength=widest), 1))
        weights: Scores = rarity[codes] * times
        lengths = np.sqrt(np.bincount(rows, weights**2, minlength=count))
        units = (weights / np.maximum(lengths, 1e-12)[rows]).astype(np.float32)
        return cls(
            WeightedLists.of(rows, codes, units, count),
            WeightedLists.of(codes, rows, units, widest),
            count,
        )

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """How much each movie shares with the liked rows, each with a factor; 0: nothing."""
        widest = len(self.movies_with.offsets) - 1
        profile = self.attributes.added(liked, factors, widest)
        held = np.flatnonzero(profile)
        return self.movies_with.added(held, profile[held], self.movies)


def _entries(catalogue: Catalogue, names: tuple[str, ...]) -> tuple[Ints, Ints, Ints]:
    """Row and code of each attribute of each movie, and how often it has it, (n,) each.

    A leading role is a person once more.
    """
    bags = [catalogue.bag(name, np.arange(len(catalogue.movies))) for name in names]
    genres, *people = bags
    genre_codes, kinds = pd.factorize(genres.values)
    person_codes, persons = pd.factorize(Ragged.concatenate(people).values)
    codes = np.concatenate([genre_codes, person_codes + len(kinds)])
    rows = np.concatenate([bag.row_numbers() for bag in bags])
    width = max(len(kinds) + len(persons), 1)
    entries, times = np.unique(rows * width + codes, return_counts=True)
    return entries // width, entries % width, times

"""What people are shown of films."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from widedeep.evaluation.names import Language, Names

_LEADS = 4


@dataclass(frozen=True, slots=True)
class Film:
    """A film's card; `people` are the names of its leading roles, in both languages."""

    movie: int
    korean: str
    english: str
    year: int | None
    grade: str | None
    genres: tuple[str, ...]
    countries: tuple[str, ...]
    people_korean: tuple[str, ...]
    people_english: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Films:
    """Cards by token."""

    cards: Mapping[int, Film]

    @classmethod
    def of(cls, movies: pa.Table, names: Names) -> Self:
        """Read the table that ingest writes, `movies.MOVIE_COLUMNS`."""
        rows = movies.to_pylist()
        return cls({row["movie"]: _card(row, names) for row in rows})

    def __contains__(self, movie: int) -> bool:
        """Whether the catalogue has it."""
        return movie in self.cards

    def get(self, movie: int) -> Film:
        """Its card; one that says nothing where the catalogue does not have it."""
        found = self.cards.get(movie)
        return found or Film(movie, f"#{movie}", f"#{movie}", None, None, (), (), (), ())


def _card(row: Mapping[str, Any], names: Names) -> Film:
    movie, leads = row["movie"], (row["leading"] or row["people"])[:_LEADS]
    korean, english = (
        tuple(names.person(person, language) for person in leads) for language in Language
    )
    return Film(
        movie,
        names.movie(movie, Language.KOREAN),
        names.movie(movie, Language.ENGLISH),
        row["original_year"],
        row["grade"],
        tuple(row["genres"]),
        tuple(row["countries"]),
        korean,
        english,
    )

"""What movies and people are called, in Korean and in English."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import pyarrow as pa

_YEAR = re.compile(r"(?:^|,)\s*(?:18|19|20)[0-9]{2}\s*$")
_BETWEEN_TITLES = " , "


class Language(StrEnum):
    """The two languages of KMRD's names; the values are names of columns."""

    KOREAN = "korean"
    ENGLISH = "english"


Called = Mapping[int, Mapping[Language, str]]


@dataclass(frozen=True, slots=True)
class Names:
    """Names by token, never empty: a name that one language lacks is that of the other."""

    movies: Called
    people: Called

    @classmethod
    def of(cls, movies: pa.Table, people: pa.Table) -> Self:
        """Read the tables that ingest writes, `movies.MOVIE_COLUMNS` and `PEOPLE_COLUMNS`."""
        english = [tidy_title(title) for title in movies["title_eng"].to_pylist()]
        return cls(
            _called(movies["movie"].to_pylist(), movies["title"].to_pylist(), english),
            _called(*(people[name].to_pylist() for name in people.column_names)),
        )

    def movie(self, token: int, language: Language) -> str:
        """The title; `#17` where there is none."""
        return self.movies[token][language] if token in self.movies else _nameless(token)

    def person(self, token: int, language: Language) -> str:
        """The name; `#17` where there is none."""
        return self.people[token][language] if token in self.people else _nameless(token)


def tidy_title(text: str | None) -> str:
    """The English title out of KMRD's `title_eng`: "Das Boot , The Boat , 1981" → "The Boat"."""
    titles = _YEAR.sub("", text or "").split(_BETWEEN_TITLES)
    return titles[-1].strip() or titles[0].strip()


def _called(
    tokens: list[int], korean: Sequence[str | None], english: Sequence[str | None]
) -> Called:
    called = {}
    for token, *names in zip(tokens, korean, english, strict=True):
        ours, theirs = ((name or "").strip() for name in names)
        called[token] = {
            Language.KOREAN: ours or theirs or _nameless(token),
            Language.ENGLISH: theirs or ours or _nameless(token),
        }
    return called


def _nameless(token: int) -> str:
    return f"#{token}"

"""Films by what a user types of their titles, in Korean or English, letter by letter."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from widedeep.errors import InputError
from widedeep.serving.letters import as_initials, initials, typed, words

Ints = NDArray[np.int64]
Codes = NDArray[np.uint32]
Places = NDArray[np.int32]
Grades = NDArray[np.int8]

_MISSED, _APART, _INSIDE, _WORD, _START, _WHOLE = range(6)
"""How well a title answers, from not at all to being just what was typed."""
_END = ord("\n")
_ARTICLES = {"the", "a", "an"}
_YEAR = re.compile(r"(?:^|,)\s*(?:18|19|20)[0-9]{2}\s*$")
_BETWEEN_TITLES = " , "


@dataclass(frozen=True, slots=True)
class LetterIndex:
    """Where each letter stands in a text.

    Attributes:
        letters: The distinct code points, sorted, uint32 (letters,).
        first: Where the places of each letter begin, and the end, int64 (letters + 1,).
        places: Places in the text, by letter and then ascending, int32 (n,).
    """

    letters: Codes
    first: Ints
    places: Places

    @classmethod
    def of(cls, text: Codes, places: Places) -> Self:
        """Of what stands at `places` (ascending) of `text`."""
        order = np.argsort(text[places], kind="stable")
        letters, first = np.unique(text[places][order], return_index=True)
        return cls(letters, np.append(first, len(places)), places[order])

    def places_of(self, letter: np.uint32) -> Places:
        """Where `letter` stands, ascending."""
        row = int(self.letters.searchsorted(letter))
        if row == len(self.letters) or self.letters[row] != letter:
            return np.empty(0, np.int32)
        return self.places[self.first[row] : self.first[row + 1]]


@dataclass(frozen=True, slots=True)
class TitleSearch:
    """All titles as one text, with the places at which each of its letters stands.

    Titles are compared without case, accents, spaces and punctuation. Korean ones are found at
    every stage of typing (맽 on the way to 매트릭스) and by first consonants (ㅁㅌㄹㅅ).

    Attributes:
        movies: Tokens, the most popular first, int64 (m,).
        text: Code points of all titles, uint32 (n,), each title followed by an end.
        movie_of: Place in `movies` of each code point, int32 (n,).
        grade_of: How good a match that begins at a code point is, int8 (n,).
        anywhere: Of all letters.
        beginnings: Of the first letters of words.
    """

    movies: Ints
    text: Codes
    movie_of: NDArray[np.int32]
    grade_of: Grades
    anywhere: LetterIndex
    beginnings: LetterIndex

    @classmethod
    def of(cls, movies: pa.Table, weight: NDArray[np.number] | None = None) -> Self:
        """Read a table like `movies.MOVIE_COLUMNS`; `weight` (m,) says how popular each row is.

        Without a weight, and among equals, the lower token comes first. All is compiled by then.
        """
        tokens = movies["movie"].to_numpy()
        popular = np.zeros(len(tokens)) if weight is None else np.asarray(weight, np.float64)
        order = np.lexsort((tokens, -popular))
        titles = movies.select(["title", "title_eng"]).take(order)
        pairs = zip(titles["title"].to_pylist(), titles["title_eng"].to_pylist(), strict=True)
        keys = [list(_keys(*pair)) for pair in pairs]
        text = _codes("".join(letters + chr(_END) for row in keys for letters, _ in row))
        lengths = [sum(len(grades) for _, grades in row) for row in keys]
        movie_of = np.repeat(np.arange(len(keys), dtype=np.int32), lengths)
        grade_of = np.frombuffer(b"".join(grades for row in keys for _, grades in row), np.int8)
        everywhere = np.arange(len(text), dtype=np.int32)
        starts = everywhere[grade_of >= _WORD]
        indexes = (LetterIndex.of(text, everywhere), LetterIndex.of(text, starts))
        search = cls(tokens[order], text, movie_of, grade_of, *indexes)
        search.find("a")
        return search

    def find(self, text: str, limit: int = 20) -> tuple[int, ...]:
        """Tokens of at most `limit` movies; none for a text without a letter or digit.

        First whole titles, then beginnings of titles, of words, and what stands inside words (but
        for a single letter); then movies that have each word somewhere. Among equals the more
        popular come first.

        Raises:
            InputError: `limit` is less than 1.
        """
        if limit < 1:
            raise InputError(f"the limit is {limit}; at least 1 film is wanted")
        sought = [as_initials(typed(word)) for word in words(text)]
        grades = self._grades("".join(sought))
        if len(sought) > 1:
            each = [self._grades(word, self.beginnings) for word in set(sought)]
            apart = np.minimum.reduce(each) > _MISSED
            grades = np.maximum(grades, np.where(apart, _APART, _MISSED))
        found = [np.flatnonzero(grades == grade) for grade in range(_WHOLE, _MISSED, -1)]
        return tuple(self.movies[np.concatenate(found)[:limit]].tolist())

    def _grades(self, sought: str, index: LetterIndex | None = None) -> Grades:
        """How well each movie answers, (m,); with an index, for matches that begin in there."""
        grades = np.zeros(len(self.movies), np.int8)
        if not sought:
            return grades
        if index is None:
            index = self.anywhere if len(sought) > 1 else self.beginnings
        letters = _codes(sought)
        rarest = 0
        if index is self.anywhere:
            rarest = int(np.argmin([len(index.places_of(letter)) for letter in letters]))
        places = index.places_of(letters[rarest])
        _mark(letters, (places, rarest), self.text, (self.movie_of, self.grade_of), grades)
        return grades


@njit(cache=True, nogil=True)
def _mark(
    sought: Codes,
    standing: tuple[Places, int],
    text: Codes,
    movie_and_grade: tuple[Places, Grades],
    grades: Grades,
) -> None:
    """Raise the movies' grades to those of the places where `sought` stands in `text`.

    `standing`: where one of its letters stands, and which one.
    """
    places, within = standing
    movie_of, grade_of = movie_and_grade
    for place in places:
        start = place - within
        if start < 0 or start + len(sought) >= len(text):
            continue
        same = True
        for i in range(len(sought)):
            if text[start + i] != sought[i]:
                same = False
                break
        if not same:
            continue
        grade = grade_of[start]
        if grade == _START and text[start + len(sought)] == _END:
            grade = _WHOLE
        grades[movie_of[start]] = max(grades[movie_of[start]], grade)


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _keys(korean: str | None, english: str | None) -> Iterator[tuple[str, bytes]]:
    """What a movie is found by, with the grade of a match that begins at each letter and the end.

    `title_eng` may hold several titles and a year: "Das Boot , The Boat , 1981".
    """
    local = words(korean or "")
    yield _joined([typed(word) for word in local])
    yield _joined([initials(word) for word in local])
    for title in _YEAR.sub("", english or "").split(_BETWEEN_TITLES):
        yield _joined([typed(word) for word in words(title)])


def _joined(parts: Sequence[str]) -> tuple[str, bytes]:
    grades = [bytes([_WORD]) + bytes([_INSIDE]) * (len(part) - 1) for part in parts]
    opening = 2 if len(parts) > 1 and parts[0] in _ARTICLES else 1
    grades[:opening] = [bytes([_START]) + grade[1:] for grade in grades[:opening]]
    return "".join(parts), b"".join(grades) + bytes([_MISSED])

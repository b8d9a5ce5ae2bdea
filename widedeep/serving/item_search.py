"""Items by what a user types of their titles, in Korean or English, letter by letter.

Text as the letters that are typed for it: without case, accents and spaces, Hangul taken apart.

A Korean syllable is typed letter by letter: on the way to 매트 a search field holds ㅁ, 매 and 맽,
and as letters (ㅁㅐㅌ) each of them is a beginning of ㅁㅐㅌㅡ. The order of the letters is that of
The Unicode Standard, section 3.12 and chart U+1100.

What people are shown of cards.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from widedeep.evaluation.naming import DisplayNames, Language
from widedeep.inputs import InputError

_INITIALS = "ㄱ ㄲ ㄴ ㄷ ㄸ ㄹ ㅁ ㅂ ㅃ ㅅ ㅆ ㅇ ㅈ ㅉ ㅊ ㅋ ㅌ ㅍ ㅎ"
_VOWELS = "ㅏ ㅐ ㅑ ㅒ ㅓ ㅔ ㅕ ㅖ ㅗ ㅗㅏ ㅗㅐ ㅗㅣ ㅛ ㅜ ㅜㅓ ㅜㅔ ㅜㅣ ㅠ ㅡ ㅡㅣ ㅣ"
_FINALS = (
    "ㄱ ㄲ ㄱㅅ ㄴ ㄴㅈ ㄴㅎ ㄷ ㄹ ㄹㄱ ㄹㅁ ㄹㅂ ㄹㅅ ㄹㅌ ㄹㅍ ㄹㅎ "
    "ㅁ ㅂ ㅂㅅ ㅅ ㅆ ㅇ ㅈ ㅊ ㅋ ㅌ ㅍ ㅎ"
)
_FIRST_INITIAL, _FIRST_VOWEL, _FIRST_FINAL = 0x1100, 0x1161, 0x11A8

_TYPED = {
    first + i: letters
    for first, block in (
        (_FIRST_INITIAL, _INITIALS),
        (_FIRST_VOWEL, _VOWELS),
        (_FIRST_FINAL, _FINALS),
    )
    for i, letters in enumerate(block.split())
}
_NOT_INITIAL = dict.fromkeys(
    (*range(_FIRST_VOWEL, _FIRST_VOWEL + 21), *range(_FIRST_FINAL, _FIRST_FINAL + 27))
)
_AS_INITIAL = {ord(letter): chr(_FIRST_INITIAL + i) for i, letter in enumerate(_INITIALS.split())}
_BETWEEN = re.compile(r"[\W_]+")


def plain_words(text: str) -> list[str]:
    """The words of `text`, plain: lower case, no accents or marks, Hangul as conjoining letters."""
    apart = unicodedata.normalize("NFKD", text).casefold()
    if not apart.isascii():
        apart = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return [word for word in _BETWEEN.split(apart) if word]


def typed_letters(word: str) -> str:
    """The letters that are typed for a plain word; double vowels and finals are two."""
    return word.translate(_TYPED)


def initials(word: str) -> str:
    """A plain word by the first consonant of each syllable (초성), which no typed word contains."""
    return word.translate(_NOT_INITIAL)


def as_initials(letters: str) -> str:
    """Typed consonants as `initials` gives them; anything that holds a vowel as it is."""
    consonants = letters.translate(_AS_INITIAL)
    return letters if any("ㅏ" <= letter <= "ㅣ" for letter in letters) else consonants


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
class ItemSearch:
    """All titles as one text, with the places at which each of its letters stands.

    Titles are compared without case, accents, spaces and punctuation. Korean ones are found at
    every stage of typing (맽 on the way to 매트릭스) and by first consonants (ㅁㅌㄹㅅ).

    Attributes:
        items: Tokens, the most popular first, int64 (m,).
        text: Code points of all titles, uint32 (n,), each title followed by an end.
        item_of: Place in `items` of each code point, int32 (n,).
        grade_of: How good a match that begins at a code point is, int8 (n,).
        anywhere: Of all letters.
        beginnings: Of the first letters of words.
    """

    items: Ints
    text: Codes
    item_of: NDArray[np.int32]
    grade_of: Grades
    anywhere: LetterIndex
    beginnings: LetterIndex

    @classmethod
    def of(cls, items: pa.Table, weight: NDArray[np.number] | None = None) -> Self:
        """Read a table like `items.ITEM_COLUMNS`; `weight` (m,) says how popular each row is.

        Without a weight, and among equals, the lower token comes first. All is compiled by then.
        """
        tokens = items["item"].to_numpy()
        popular = np.zeros(len(tokens)) if weight is None else np.asarray(weight, np.float64)
        order = np.lexsort((tokens, -popular))
        titles = items.select(["title", "title_eng"]).take(order)
        pairs = zip(titles["title"].to_pylist(), titles["title_eng"].to_pylist(), strict=True)
        keys = [list(_keys(*pair)) for pair in pairs]
        text = _codes("".join(letters + chr(_END) for row in keys for letters, _ in row))
        lengths = [sum(len(grades) for _, grades in row) for row in keys]
        item_of = np.repeat(np.arange(len(keys), dtype=np.int32), lengths)
        grade_of = np.frombuffer(b"".join(grades for row in keys for _, grades in row), np.int8)
        everywhere = np.arange(len(text), dtype=np.int32)
        starts = everywhere[grade_of >= _WORD]
        indexes = (LetterIndex.of(text, everywhere), LetterIndex.of(text, starts))
        search = cls(tokens[order], text, item_of, grade_of, *indexes)
        search.find("a")
        return search

    def find(self, text: str, limit: int = 20) -> tuple[int, ...]:
        """Tokens of at most `limit` items; none for a text without a letter or digit.

        First whole titles, then beginnings of titles, of words, and what stands inside words (but
        for a single letter); then items that have each word somewhere. Among equals the more
        popular come first.

        Raises:
            InputError: `limit` is less than 1.
        """
        if limit < 1:
            raise InputError(f"the limit is {limit}; at least 1 film is wanted")
        sought = [as_initials(typed_letters(word)) for word in plain_words(text)]
        grades = self._grades("".join(sought))
        if len(sought) > 1:
            each = [self._grades(word, self.beginnings) for word in set(sought)]
            apart = np.minimum.reduce(each) > _MISSED
            grades = np.maximum(grades, np.where(apart, _APART, _MISSED))
        found = [np.flatnonzero(grades == grade) for grade in range(_WHOLE, _MISSED, -1)]
        return tuple(self.items[np.concatenate(found)[:limit]].tolist())

    def _grades(self, sought: str, index: LetterIndex | None = None) -> Grades:
        """How well each item answers, (m,); with an index, for matches that begin in there."""
        grades = np.zeros(len(self.items), np.int8)
        if not sought:
            return grades
        if index is None:
            index = self.anywhere if len(sought) > 1 else self.beginnings
        letters = _codes(sought)
        rarest = 0
        if index is self.anywhere:
            rarest = int(np.argmin([len(index.places_of(letter)) for letter in letters]))
        places = index.places_of(letters[rarest])
        _mark(letters, (places, rarest), self.text, (self.item_of, self.grade_of), grades)
        return grades


@njit(cache=True, nogil=True)
def _mark(
    sought: Codes,
    standing: tuple[Places, int],
    text: Codes,
    item_and_grade: tuple[Places, Grades],
    grades: Grades,
) -> None:
    """Raise the items' grades to those of the places where `sought` stands in `text`.

    `standing`: where one of its letters stands, and which one.
    """
    places, within = standing
    item_of, grade_of = item_and_grade
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
        grades[item_of[start]] = max(grades[item_of[start]], grade)


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _keys(korean: str | None, english: str | None) -> Iterator[tuple[str, bytes]]:
    """What a item is found by, with the grade of a match that begins at each letter and the end.

    `title_eng` may hold several titles and a year: "Das Boot , The Boat , 1981".
    """
    local = plain_words(korean or "")
    yield _joined([typed_letters(word) for word in local])
    yield _joined([initials(word) for word in local])
    for title in _YEAR.sub("", english or "").split(_BETWEEN_TITLES):
        yield _joined([typed_letters(word) for word in plain_words(title)])


def _joined(parts: Sequence[str]) -> tuple[str, bytes]:
    grades = [bytes([_WORD]) + bytes([_INSIDE]) * (len(part) - 1) for part in parts]
    opening = 2 if len(parts) > 1 and parts[0] in _ARTICLES else 1
    grades[:opening] = [bytes([_START]) + grade[1:] for grade in grades[:opening]]
    return "".join(parts), b"".join(grades) + bytes([_MISSED])


_LEADS = 4


@dataclass(frozen=True, slots=True)
class ItemCard:
    """A item's card; `people` are the names of its leading roles, in both languages."""

    item: int
    korean: str
    english: str
    year: int | None
    grade: str | None
    genres: tuple[str, ...]
    countries: tuple[str, ...]
    people_korean: tuple[str, ...]
    people_english: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemCards:
    """Cards by token."""

    cards: Mapping[int, ItemCard]

    @classmethod
    def of(cls, items: pa.Table, names: DisplayNames) -> Self:
        """Read the table that ingest writes, `items.ITEM_COLUMNS`."""
        rows = items.to_pylist()
        return cls({row["item"]: _card(row, names) for row in rows})

    def __contains__(self, item: int) -> bool:
        """Whether the item table has it."""
        return item in self.cards

    def get(self, item: int) -> ItemCard:
        """Its card; one that says nothing where the item table does not have it."""
        found = self.cards.get(item)
        return found or ItemCard(item, f"#{item}", f"#{item}", None, None, (), (), (), ())


def _card(row: Mapping[str, Any], names: DisplayNames) -> ItemCard:
    item, leads = row["item"], (row["leading"] or row["people"])[:_LEADS]
    korean, english = (
        tuple(names.person(person, language) for person in leads) for language in Language
    )
    return ItemCard(
        item,
        names.item(item, Language.KOREAN),
        names.item(item, Language.ENGLISH),
        row["original_year"],
        row["grade"],
        tuple(row["genres"]),
        tuple(row["countries"]),
        korean,
        english,
    )

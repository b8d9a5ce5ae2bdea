"""Find items by title, in Korean or English, while the title is typed; and the cards shown of them.

`ItemSearch.find` compares text by the letters that are typed for it: without case, accents, spaces
and punctuation, and with Hangul taken apart. A Korean syllable is typed letter by letter, so on the
way to 매트 a search field holds ㅁ, 매 and 맽; as letters (ㅁㅐㅌ) each of them is a prefix of
ㅁㅐㅌㅡ. Korean titles are also found by first consonants (초성): ㅁㅌㄹㅅ finds 매트릭스. The
letters are in the order of The Unicode Standard, section 3.12 and chart U+1100.

Libraries were tried in December 2026 on the 31 searches of tests/serving/test_item_search.py, which
all succeed here: `HangulIndex` of hangulpy 1.5.2 passes 15, `partial_ratio` of rapidfuzz 3.14 16.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.data.dataset import Feature, Side
from widedeep.data.ids import TextIds
from widedeep.data.tables import SideTables
from widedeep.evaluation.naming import DisplayNames, Language
from widedeep.inputs import InputError

Ints = NDArray[np.int64]
CodePoints = NDArray[np.uint32]
Positions = NDArray[np.int32]
Levels = NDArray[np.int8]

_MISSED, _APART, _INSIDE, _WORD, _START, _WHOLE = range(6)
"""How well a title matches, from not at all to being exactly what was typed."""

_END = ord("\n")


@dataclass(frozen=True, slots=True)
class LetterIndex:
    """Where each letter occurs in a text.

    Attributes:
        letters: The distinct code points, ascending, (letters,).
        first: Where the positions of each letter begin, and the end, (letters + 1,).
        positions: Positions in the text, by letter and then ascending, (n,).
    """

    letters: CodePoints
    first: Ints
    positions: Positions

    @classmethod
    def from_text(cls, text: CodePoints, positions: Positions) -> Self:
        """Index the letters at `positions` (ascending) of `text`."""
        order = np.argsort(text[positions], kind="stable")
        letters, first = np.unique(text[positions][order], return_index=True)
        return cls(letters, np.append(first, len(positions)), positions[order])

    def positions_of(self, letter: np.uint32) -> Positions:
        """Return the positions of a letter, ascending, (n,)."""
        row = int(self.letters.searchsorted(letter))
        if row == len(self.letters) or self.letters[row] != letter:
            return np.empty(0, np.int32)
        return self.positions[self.first[row] : self.first[row + 1]]


@dataclass(frozen=True, slots=True)
class ItemSearch:
    """All titles as one text, with the positions of each of its letters.

    Attributes:
        items: Ids, the most popular first, (m,).
        text: Code points of all titles, (n,), each title followed by an end.
        item_of: Position in `items` of each code point's item, int32 (n,).
        level_of: How good a match is that begins at a code point, (n,).
        anywhere: Index of all letters.
        beginnings: Index of the first letters of words.
    """

    items: Ints
    text: CodePoints
    item_of: Positions
    level_of: Levels
    anywhere: LetterIndex
    beginnings: LetterIndex

    @classmethod
    def from_table(cls, items: pa.Table, popularity: NDArray[np.number] | None = None) -> Self:
        """Index the titles of a table of items, and compile all code.

        An item without a title is found by its id. Among equally good matches the more popular item
        comes first, by `popularity` of shape (m,); without it, and among equally popular ones, the
        one with the lower id.
        """
        ids = items["item"].to_numpy()
        weight = np.zeros(len(ids)) if popularity is None else np.asarray(popularity, np.float64)
        order = np.lexsort((ids, -weight))
        keys = [list(_search_keys(titles)) for titles in _titles(items.take(order))]
        text = _code_points("".join(letters + chr(_END) for row in keys for letters, _ in row))
        lengths = [sum(len(levels) for _, levels in row) for row in keys]
        item_of = np.repeat(np.arange(len(keys), dtype=np.int32), lengths)
        level_of = np.frombuffer(b"".join(levels for row in keys for _, levels in row), np.int8)
        everywhere = np.arange(len(text), dtype=np.int32)
        anywhere = LetterIndex.from_text(text, everywhere)
        beginnings = LetterIndex.from_text(text, everywhere[level_of >= _WORD])
        search = cls(ids[order], text, item_of, level_of, anywhere, beginnings)
        search.find("a")
        return search

    def find(self, text: str, limit: int = 20) -> tuple[int, ...]:
        """Return the ids of at most `limit` items; none for a text without a letter or digit.

        Whole titles come first, then beginnings of titles, beginnings of words, and matches inside
        words (except of a single letter), then items that have each of the words somewhere.

        Raises:
            InputError: `limit` is less than 1.
        """
        if limit < 1:
            raise InputError(f"limit is {limit}; expected at least 1 item")
        words = [_as_initials(typed_letters(word)) for word in plain_words(text)]
        levels = self._levels("".join(words))
        if len(words) > 1:
            levels_of_words = [self._levels(word, self.beginnings) for word in set(words)]
            apart = np.minimum.reduce(levels_of_words) > _MISSED
            levels = np.maximum(levels, np.where(apart, _APART, _MISSED))
        best_first = [np.flatnonzero(levels == level) for level in range(_WHOLE, _MISSED, -1)]
        return tuple(self.items[np.concatenate(best_first)[:limit]].tolist())

    def _levels(self, letters: str, index: LetterIndex | None = None) -> Levels:
        """Return how well each item matches, (m,); only matches that begin in `index` if given."""
        levels = np.zeros(len(self.items), np.int8)
        if not letters:
            return levels
        if index is None:
            index = self.anywhere if len(letters) > 1 else self.beginnings
        sought = _code_points(letters)
        rarest = 0
        if index is self.anywhere:
            rarest = int(np.argmin([len(index.positions_of(letter)) for letter in sought]))
        positions = index.positions_of(sought[rarest])
        _raise_levels(sought, (positions, rarest), self.text, (self.item_of, self.level_of), levels)
        return levels


@compiled
def _raise_levels(
    sought: CodePoints,
    letter_positions: tuple[Positions, int],
    text: CodePoints,
    item_and_level: tuple[Positions, Levels],
    levels: Levels,
) -> None:
    """Raise the items' `levels` (m,) to those of the positions where `sought` occurs in `text`.

    `letter_positions` are the positions of one of its letters, and the position of that letter in
    `sought`.
    """
    positions, within = letter_positions
    item_of, level_of = item_and_level
    for position in positions:
        start = position - within
        if start < 0 or start + len(sought) >= len(text):
            continue
        same = True
        for i in range(len(sought)):
            if text[start + i] != sought[i]:
                same = False
                break
        if not same:
            continue
        level = level_of[start]
        if level == _START and text[start + len(sought)] == _END:
            level = _WHOLE
        levels[item_of[start]] = max(levels[item_of[start]], level)


def _titles(items: pa.Table) -> Iterator[Sequence[str]]:
    """Yield the titles of each item, or its id if it has none."""
    names = [name for name in items.column_names if name.startswith(("title_", "also_"))]
    columns = [items[name].to_pylist() for name in names]
    ids = zip(items["id"].to_pylist(), items["item"].to_pylist(), strict=True)
    for row, (text, key) in enumerate(ids):
        titles = [title for column in columns for title in (column[row] or "").split("\n")]
        yield titles if any(titles) else [text or str(key)]


def _code_points(text: str) -> CodePoints:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


_ARTICLES = {"the", "a", "an"}


def _search_keys(titles: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the texts by which an item is found, with the levels of their letters and of the end.

    A title with Hangul is also found by its first consonants.
    """
    for title in titles:
        words = plain_words(title)
        yield _search_key([typed_letters(word) for word in words])
        if words and any(_has_hangul(word) for word in words):
            yield _search_key([initials(word) for word in words])


def _has_hangul(word: str) -> bool:
    return any(_FIRST_INITIAL <= ord(letter) < _FIRST_INITIAL + 0x100 for letter in word)


def _search_key(words: Sequence[str]) -> tuple[str, bytes]:
    """Join words; a match may begin a title at its first word or, after an article, its second."""
    levels = [bytes([_WORD]) + bytes([_INSIDE]) * (len(word) - 1) for word in words]
    opening = 2 if len(words) > 1 and words[0] in _ARTICLES else 1
    levels[:opening] = [bytes([_START]) + level[1:] for level in levels[:opening]]
    return "".join(words), b"".join(levels) + bytes([_MISSED])


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
_BETWEEN_WORDS = re.compile(r"[\W_]+")


def plain_words(text: str) -> list[str]:
    """Return the words of `text` in lower case, without accents, Hangul as conjoining letters."""
    apart = unicodedata.normalize("NFKD", text).casefold()
    if not apart.isascii():
        apart = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return [word for word in _BETWEEN_WORDS.split(apart) if word]


def typed_letters(word: str) -> str:
    """Return the letters typed for a plain word; double vowels and double finals become two."""
    return word.translate(_TYPED)


def initials(word: str) -> str:
    """Return the first consonants (초성) of a plain word, as code points that no typed word has."""
    return word.translate(_NOT_INITIAL)


def _as_initials(letters: str) -> str:
    """Return typed consonants as `initials` does; letters with a Korean vowel as they are."""
    consonants = letters.translate(_AS_INITIAL)
    return letters if any("ㅏ" <= letter <= "ㅣ" for letter in letters) else consonants


_MOST_VALUES = 4
"""Values of a bag on a card, at most."""


@dataclass(frozen=True)
class CardAttribute:
    """A feature of an item on its card: the feature's name and its values in both languages."""

    name: str
    korean: tuple[str, ...]
    english: tuple[str, ...]


@dataclass(frozen=True)
class ItemCard:
    """What is shown of an item: its id as it stands in the data, its names and its attributes."""

    item: int | str
    korean: str
    english: str
    attributes: tuple[CardAttribute, ...]


@dataclass(frozen=True, slots=True)
class ItemCards:
    """The cards of all items, by key; `ids` has the ids that are text."""

    cards: Mapping[int, ItemCard]
    ids: TextIds

    @classmethod
    def from_tables(cls, side: SideTables, names: DisplayNames) -> Self:
        """Make a card for each item, with the features that models read."""
        features = [feature for feature in side.spec.features_of(Side.ITEM) if feature.learn]
        cards = {
            row["item"]: ItemCard(
                names.item_ids.text(row["item"]),
                names.item(row["item"], Language.KOREAN),
                names.item(row["item"], Language.ENGLISH),
                tuple(_attributes(features, row, names)),
            )
            for row in side.items.to_pylist()
        }
        return cls(cards, names.item_ids)

    def __contains__(self, item: int) -> bool:
        """Whether the item table has the item."""
        return item in self.cards

    def get(self, item: int) -> ItemCard:
        """Return an item's card; one with only its id if the item table does not have the item."""
        identity = self.ids.text(item)
        name = identity if isinstance(identity, str) else f"#{identity}"
        return self.cards.get(item) or ItemCard(identity, name, name, ())


def _attributes(
    features: Sequence[Feature], row: Mapping[str, Any], names: DisplayNames
) -> Iterator[CardAttribute]:
    """Yield the attributes of an item that are not missing."""
    for feature in features:
        value = row[feature.name]
        values = value[:_MOST_VALUES] if isinstance(value, list) else [value]
        present = [entry for entry in values if entry is not None]
        if present:
            korean, english = (
                tuple(_as_shown(feature, entry, names, language) for entry in present)
                for language in Language
            )
            yield CardAttribute(feature.name, korean, english)


def _as_shown(feature: Feature, value: Any, names: DisplayNames, language: Language) -> str:  # noqa: ANN401
    return f"{value:g}" if isinstance(value, float) else names.value(feature.name, value, language)

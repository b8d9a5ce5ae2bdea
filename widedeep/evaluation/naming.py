"""Names that people read: of items, users and named ids, and of wide features.

`DisplayNames` has the name of each item, and of each id that a table of names knows, in Korean and
in English. `FeatureNaming` puts the wide ids of one transform into words, such as "liked 매트릭스 →
매트릭스 2" or "user_count 3 … 8 x genres 드라마": items and named ids are called by their name in
the language asked for, features as the data set calls them, and all other ids as in the data.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from widedeep.data.ids import TextIds
from widedeep.data.tables import MISSING, SideTables
from widedeep.features import QuantileNormaliser, Transform, WideBlock, wide_blocks
from widedeep.features.vocabulary import OUT_OF_VOCABULARY
from widedeep.features.wide_ids import Ints


class Language(StrEnum):
    """The two languages of explanations and of the server's page; the values are their codes."""

    KOREAN = "ko"
    ENGLISH = "en"


_Names = Mapping[int, Mapping[Language, str]]
"""Names by key and language."""


@dataclass(frozen=True, slots=True)
class DisplayNames:
    """Names of items, users and named ids by key, never empty.

    A name that one language lacks is replaced by another one, and at last by the id: "#17", or the
    text that the id is.

    Attributes:
        items: Names of the items that have one.
        item_ids: The ids of items that are text.
        user_ids: The ids of users that are text.
        named: Names of the ids in a feature, by feature.
        words: Names of the values of a feature, by feature and language.
    """

    items: _Names
    item_ids: TextIds
    user_ids: TextIds
    named: Mapping[str, _Names] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    @classmethod
    def from_tables(cls, tables: SideTables) -> Self:
        """Read the tables that ingest writes."""
        by_table = {
            name: _names_by_key(tables.names.filter(pc.equal(tables.names["table"], name)), "key")
            for name in tables.spec.tables
        }
        named = {f.name: by_table[f.names] for f in tables.spec.features if f.names is not None}
        words = {feature.name: feature.words for feature in tables.spec.features}
        titles = _names_by_key(tables.items, "item")
        return cls(titles, tables.item_ids, tables.user_ids, named, words)

    def knowing(self, users: Iterable[str] = (), items: Iterable[str] = ()) -> Self:
        """Return these names, in which ids that were asked for are known, too."""
        user_ids, item_ids = self.user_ids.with_texts(users), self.item_ids.with_texts(items)
        return replace(self, user_ids=user_ids, item_ids=item_ids)

    def item(self, key: int, language: Language) -> str:
        """Return the title of an item; "#17" where item 17 has none."""
        return self.items[key][language] if key in self.items else _id_name(self.item_ids, key)

    def user(self, key: int) -> str:
        """Return the id of a user as text."""
        return str(self.user_ids.text(key))

    def value(self, feature: str, value: int | str, language: Language) -> str:
        """Return the name of a feature's value; "#17" where id 17 has none."""
        if isinstance(value, str):
            return self.words.get(feature, {}).get(language, {}).get(value, value)
        names = self.named.get(feature, {})
        return names[value][language] if value in names else f"#{value}"


def _id_name(ids: TextIds, key: int) -> str:
    text = ids.text(key)
    return text if isinstance(text, str) else f"#{text}"


def _names_by_key(table: pa.Table, key: str) -> _Names:
    """Return the names in a table with `title_…` columns, of the rows that have one."""
    columns = [name for name in table.column_names if name.startswith("title_")]
    if not columns:
        return {}
    titles = {name.removeprefix("title_"): table[name].to_pylist() for name in columns}
    names: dict[int, dict[Language, str]] = {}
    for row, identity in enumerate(table[key].to_pylist()):
        own = {language: (column[row] or "").strip() for language, column in titles.items()}
        any_name = next((name for name in own.values() if name), "")
        if any_name:
            names[identity] = {
                language: own.get(language) or own.get("") or any_name for language in Language
            }
    return names


_RARE = "(rare)"
"""Any id that is out of vocabulary."""

_ABSENT = "missing"
"""An attribute that is missing, or a number that has no value."""

_LARGE = 1000


@dataclass(frozen=True, slots=True)
class FeatureText:
    """A wide feature in both languages, and the block it belongs to."""

    block: str
    korean: str
    english: str


@dataclass(frozen=True)
class FeatureNaming:
    """Puts the wide ids of one transform into words."""

    transform: Transform
    names: DisplayNames

    def to_text(self, wide_ids: Ints) -> list[FeatureText]:
        """Return the text of each wide id, int64 (n,), in the same order."""
        first = [block.first for block in self._blocks]
        owner = np.searchsorted(first, wide_ids, side="right") - 1
        order = np.argsort(owner, kind="stable")
        texts: list[FeatureText] = []
        for number, block in enumerate(self._blocks):
            positions = wide_ids[order[owner[order] == number]] - block.first
            phrases = [self._phrases(block, positions, language) for language in Language]
            texts += [FeatureText(block.name, *pair) for pair in zip(*phrases, strict=True)]
        return [texts[i] for i in np.argsort(order)]

    def _phrases(self, block: WideBlock, positions: Ints, language: Language) -> list[str]:
        """Return the phrase of each position within the block, (n,)."""
        words = [
            self.code_texts(feature, codes[positions], language)
            for feature, codes in zip(block.features, block.codes, strict=True)
        ]
        if block.is_memory(self.transform.spec):
            pairs = zip(*words, strict=True)
            return [f"{block.features[0]} {met} → {candidate}" for met, candidate in pairs]
        labels = [self._bucket_numbers.get(feature, feature) for feature in block.features]
        return [
            " x ".join(f"{label} {word}" for label, word in zip(labels, row, strict=True))
            for row in zip(*words, strict=True)
        ]

    def code_texts(self, feature: str, codes: Ints, language: Language) -> list[str]:
        """Return the text of each code, int64 (n,), of a category, bag or bucket."""
        if feature in self._bucket_numbers:
            ranges = range_texts(self.transform.normalisers[feature])
            texts = [_RARE, _ABSENT, *ranges]
            return [texts[code] for code in codes]
        in_vocabulary = codes != OUT_OF_VOCABULARY
        phrases = np.full(len(codes), _RARE, object)
        phrases[in_vocabulary] = self._id_texts(feature, codes[in_vocabulary], language)
        return phrases.tolist()

    @cached_property
    def _blocks(self) -> tuple[WideBlock, ...]:
        return wide_blocks(self.transform)

    @cached_property
    def _bucket_numbers(self) -> dict[str, str]:
        """The number that each bucket is made of, by the bucket's name."""
        return {bucket.name: bucket.number for bucket in self.transform.spec.buckets}

    def _id_texts(self, feature: str, codes: Ints, language: Language) -> list[str]:
        ids = self.transform.vocabulary_of(feature).decode(codes).tolist()
        kind = self.transform.spec.vocabulary_name(feature)
        if kind == "item":
            return [self.names.item(item, language) for item in ids]
        if kind == "user":
            return [self.names.user(user) for user in ids]
        return [
            _ABSENT if identity == MISSING else self.names.value(kind, identity, language)
            for identity in ids
        ]


def range_texts(normaliser: QuantileNormaliser) -> list[str]:
    """Return a text of each range of a bucket, the lowest first; the low end is included.

    Codes 0 and 1 of a bucket, which stand before its ranges, are none and the missing value.
    """
    ends = [_number_text(boundary) for boundary in normaliser.boundaries]
    if not ends:
        return ["known"]
    between = [f"{low} … {high}" for low, high in pairwise(ends)]
    return [f"below {ends[0]}", *between, f"from {ends[-1]}"]


def _number_text(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= _LARGE else f"{value:.3g}"

"""Names that people read: of items and persons, and of wide features.

`DisplayNames` has the name of each item and person in Korean and in English. `FeatureNaming` puts
the wide ids of one transform into words, such as "liked 매트릭스 → 매트릭스 2" or
"user_count 3 … 8 x genres 드라마": items and persons are named in the language asked for, features
are called as the spec calls them, and all other ids appear as in the data.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa

from widedeep.features import QuantileNormaliser, Transform, WideBlock, wide_blocks
from widedeep.features.items import MISSING
from widedeep.features.vocabulary import OUT_OF_VOCABULARY
from widedeep.features.wide_ids import Ints

_YEAR = re.compile(r"(?:^|,)\s*(?:18|19|20)[0-9]{2}\s*$")
_BETWEEN_TITLES = " , "


class Language(StrEnum):
    """The two languages of KMRD's names; the values are column names."""

    KOREAN = "korean"
    ENGLISH = "english"


_Names = Mapping[int, Mapping[Language, str]]
"""Names by id and language."""


@dataclass(frozen=True, slots=True)
class DisplayNames:
    """Names of items and people by id, never empty.

    A name that one language lacks is replaced by that of the other.
    """

    items: _Names
    people: _Names

    @classmethod
    def from_tables(cls, items: pa.Table, people: pa.Table) -> Self:
        """Read the tables that ingest writes, with `ITEM_COLUMNS` and `PEOPLE_COLUMNS`."""
        english = [tidy_title(title) for title in items["title_eng"].to_pylist()]
        return cls(
            _names_by_id(items["item"].to_pylist(), items["title"].to_pylist(), english),
            _names_by_id(*(people[name].to_pylist() for name in people.column_names)),
        )

    def item(self, item: int, language: Language) -> str:
        """Return the title of an item; "#17" where item 17 has none."""
        return self.items[item][language] if item in self.items else _placeholder(item)

    def person(self, person: int, language: Language) -> str:
        """Return the name of a person; "#17" where person 17 has none."""
        return self.people[person][language] if person in self.people else _placeholder(person)


def tidy_title(text: str | None) -> str:
    """Return the English title in KMRD's `title_eng`: "Das Boot , The Boat , 1981" → "The Boat"."""
    titles = _YEAR.sub("", text or "").split(_BETWEEN_TITLES)
    return titles[-1].strip() or titles[0].strip()


def _names_by_id(
    ids: Sequence[int], korean: Sequence[str | None], english: Sequence[str | None]
) -> _Names:
    names = {}
    for identity, *pair in zip(ids, korean, english, strict=True):
        in_korean, in_english = ((name or "").strip() for name in pair)
        names[identity] = {
            Language.KOREAN: in_korean or in_english or _placeholder(identity),
            Language.ENGLISH: in_english or in_korean or _placeholder(identity),
        }
    return names


def _placeholder(identity: int) -> str:
    return f"#{identity}"


_RARE = "(rare)"
"""Any id that is out of vocabulary."""

_ABSENT = "missing"
"""An attribute that an item lacks, or a number that has no value."""

_PEOPLE = ("people", "leading")
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
            ranges = _range_texts(self.transform.normalisers[feature])
            return [ranges[code] for code in codes]
        in_vocabulary = codes != OUT_OF_VOCABULARY
        texts = np.full(len(codes), _RARE, object)
        texts[in_vocabulary] = self._id_texts(feature, codes[in_vocabulary], language)
        return texts.tolist()

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
        if kind in _PEOPLE:
            return [self.names.person(person, language) for person in ids]
        return [_ABSENT if identity == MISSING else str(identity) for identity in ids]


def _range_texts(normaliser: QuantileNormaliser) -> list[str]:
    """Return a text by code of a bucket: none, the missing value, each range (low end included)."""
    ends = [_number_text(boundary) for boundary in normaliser.boundaries]
    if not ends:
        return [_RARE, _ABSENT, "known"]
    between = [f"{low} … {high}" for low, high in pairwise(ends)]
    return [_RARE, _ABSENT, f"below {ends[0]}", *between, f"from {ends[-1]}"]


def _number_text(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= _LARGE else f"{value:.3g}"

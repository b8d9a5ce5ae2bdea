"""What items and people are called, in Korean and in English.

Wide features in words: "liked 매트릭스 → 매트릭스 2", "user_count 3 … 8 x genres 드라마".

Items and people are named in the language asked for; features are called as the spec calls them,
and all other tokens stand as they are in the data.
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

from widedeep.features.items import MISSING
from widedeep.features.quantiles import QuantileNormaliser
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import OUT_OF_VOCABULARY
from widedeep.features.wide_ids import Ids, WideBlock, wide_blocks

_YEAR = re.compile(r"(?:^|,)\s*(?:18|19|20)[0-9]{2}\s*$")
_BETWEEN_TITLES = " , "


class Language(StrEnum):
    """The two languages of KMRD's names; the values are names of columns."""

    KOREAN = "korean"
    ENGLISH = "english"


Called = Mapping[int, Mapping[Language, str]]


@dataclass(frozen=True, slots=True)
class DisplayNames:
    """Names by token, never empty: a name that one language lacks is that of the other."""

    items: Called
    people: Called

    @classmethod
    def of(cls, items: pa.Table, people: pa.Table) -> Self:
        """Read the tables that ingest writes, `items.ITEM_COLUMNS` and `PEOPLE_COLUMNS`."""
        english = [tidy_title(title) for title in items["title_eng"].to_pylist()]
        return cls(
            _called(items["item"].to_pylist(), items["title"].to_pylist(), english),
            _called(*(people[name].to_pylist() for name in people.column_names)),
        )

    def item(self, token: int, language: Language) -> str:
        """The title; `#17` where there is none."""
        return self.items[token][language] if token in self.items else _nameless(token)

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


RARE = "(rare)"
"""Any token that is out of vocabulary."""

ABSENT = "missing"
"""An attribute that a item lacks, or a number that is not known."""

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
    """Words for the ids of one transform."""

    transform: Transform
    names: DisplayNames

    def describe(self, wide_ids: Ids) -> list[FeatureText]:
        """What each wide id stands for, n of n."""
        first = [block.first for block in self._blocks]
        owner = np.searchsorted(first, wide_ids, side="right") - 1
        order = np.argsort(owner, kind="stable")
        told: list[FeatureText] = []
        for number, block in enumerate(self._blocks):
            places = wide_ids[order[owner[order] == number]] - block.first
            phrases = [self._phrases(block, places, language) for language in Language]
            told += [FeatureText(block.name, *pair) for pair in zip(*phrases, strict=True)]
        return [told[i] for i in np.argsort(order)]

    def _phrases(self, block: WideBlock, places: Ids, language: Language) -> list[str]:
        """What stands at `places`, positions within the block."""
        told = [
            self.words(feature, part[places], language)
            for feature, part in zip(block.features, block.parts, strict=True)
        ]
        if block.is_memory(self.transform.spec):
            pairs = zip(*told, strict=True)
            return [f"{block.features[0]} {met} → {candidate}" for met, candidate in pairs]
        labels = [self._buckets.get(feature, feature) for feature in block.features]
        return [
            " x ".join(f"{label} {word}" for label, word in zip(labels, row, strict=True))
            for row in zip(*told, strict=True)
        ]

    def words(self, feature: str, ids: Ids, language: Language) -> list[str]:
        """What each id of a category, bag or bucket stands for, n words."""
        if feature in self._buckets:
            ranges = _ranges(self.transform.normalisers[feature])
            return [ranges[i] for i in ids]
        known = ids != OUT_OF_VOCABULARY
        words = np.full(len(ids), RARE, object)
        words[known] = self._tokens(feature, ids[known], language)
        return words.tolist()

    @cached_property
    def _blocks(self) -> tuple[WideBlock, ...]:
        return wide_blocks(self.transform)

    @cached_property
    def _buckets(self) -> dict[str, str]:
        """The number behind each bucket."""
        return {bucket.name: bucket.number for bucket in self.transform.spec.buckets}

    def _tokens(self, feature: str, ids: Ids, language: Language) -> list[str]:
        tokens = self.transform.vocabulary_of(feature).decode(ids).tolist()
        kind = self.transform.spec.vocabulary_name(feature)
        if kind == "item":
            return [self.names.item(token, language) for token in tokens]
        if kind in _PEOPLE:
            return [self.names.person(token, language) for token in tokens]
        return [ABSENT if token == MISSING else str(token) for token in tokens]


def _ranges(normaliser: QuantileNormaliser) -> list[str]:
    """By id of the bucket: nothing, the missing value, and each quantile (low end included)."""
    ends = [_number(boundary) for boundary in normaliser.boundaries]
    if not ends:
        return [RARE, ABSENT, "known"]
    between = [f"{low} … {high}" for low, high in pairwise(ends)]
    return [RARE, ABSENT, f"below {ends[0]}", *between, f"from {ends[-1]}"]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= _LARGE else f"{value:.3g}"

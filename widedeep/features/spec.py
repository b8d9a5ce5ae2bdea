"""What a model reads of a row, declared (the fitted counterpart is `Transform`)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from widedeep.errors import InputError
from widedeep.features.history import HistoryConfig


@dataclass(frozen=True, slots=True)
class Category:
    """A single-valued feature: `user`, `movie`, or a category of the catalogue."""

    name: str
    minimum_count: int = 5


@dataclass(frozen=True, slots=True)
class Bag:
    """A multi-valued feature: a bag of the catalogue, or `liked` / `disliked` from history.

    With `vocabulary_of` it reads the ids (and the embedding) of that category.
    """

    name: str
    minimum_count: int = 5
    vocabulary_of: str | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A continuous feature, normalised to its quantile."""

    name: str
    quantiles: int = 100


@dataclass(frozen=True, slots=True)
class Bucket:
    """A continuous feature read by the wide part as the one-hot of its quantile."""

    number: str
    quantiles: int = 20

    @property
    def name(self) -> str:
        """The name by which crosses and the wide part call it."""
        return f"{self.number}_bucket"


@dataclass(frozen=True, slots=True)
class Cross:
    """A cross-product of two or more categories, bags or buckets."""

    parts: tuple[str, ...]
    minimum_support: int = 5

    @property
    def name(self) -> str:
        """The parts, joined for people to read; never used as a key of values."""
        return " x ".join(self.parts)


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """All features. `wide` names the categories, bags and buckets the wide part reads raw."""

    categories: tuple[Category, ...]
    bags: tuple[Bag, ...]
    numbers: tuple[Number, ...]
    buckets: tuple[Bucket, ...]
    crosses: tuple[Cross, ...]
    wide: tuple[str, ...]
    history: HistoryConfig = field(default_factory=HistoryConfig)

    def __post_init__(self) -> None:
        discrete = {feature.name for feature in (*self.categories, *self.bags, *self.buckets)}
        used = [*self.wide, *(part for cross in self.crosses for part in cross.parts)]
        used += [bag.vocabulary_of for bag in self.bags if bag.vocabulary_of]
        for name in used:
            if name not in discrete:
                raise InputError(
                    f"feature {name!r} is used but not declared; declared are {sorted(discrete)}"
                )

    def as_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back to an equal spec."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `as_json`."""
        crosses = tuple(Cross(tuple(c["parts"]), c["minimum_support"]) for c in values["crosses"])
        return cls(
            tuple(Category(**value) for value in values["categories"]),
            tuple(Bag(**value) for value in values["bags"]),
            tuple(Number(**value) for value in values["numbers"]),
            tuple(Bucket(**value) for value in values["buckets"]),
            crosses,
            tuple(values["wide"]),
            HistoryConfig(**values["history"]),
        )

"""What a model reads of a row, declared (the fitted counterpart is `Transform`)."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Self

from widedeep.features.history import BAGS, ColumnSelection, HistoryConfig
from widedeep.features.history_state import NUMERIC
from widedeep.inputs import InputError


@dataclass(frozen=True, slots=True)
class Category:
    """A single-valued feature: `user`, `item`, or a category of the item table."""

    name: str
    minimum_count: int = 5


@dataclass(frozen=True, slots=True)
class Bag:
    """A multi-valued feature: a bag of the item table, or `liked` / `disliked` from history.

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
    """All features. `wide` names the categories, bags and buckets the wide part reads raw.

    `offset` names the number that is a logit already: the model starts from it and learns the rest.
    """

    categories: tuple[Category, ...]
    bags: tuple[Bag, ...]
    numbers: tuple[Number, ...]
    buckets: tuple[Bucket, ...]
    crosses: tuple[Cross, ...]
    wide: tuple[str, ...]
    offset: str | None = None
    history: HistoryConfig = field(default_factory=HistoryConfig)

    def __post_init__(self) -> None:
        self._check_names()
        self._check_sizes()
        discrete = self.discrete
        _check_declared([*self.wide, *chain(*(cross.parts for cross in self.crosses))], discrete)
        shared = [bag.vocabulary_of for bag in self.bags if bag.vocabulary_of]
        _check_declared(shared, [category.name for category in self.categories])

    @property
    def discrete(self) -> list[str]:
        """Names of the categories, bags and buckets: what crosses and the wide part may read."""
        names = [category.name for category in self.categories]
        names += [bag.name for bag in self.bags]
        return [*names, *(bucket.name for bucket in self.buckets)]

    def _check_names(self) -> None:
        crosses = [cross.name for cross in self.crosses]
        for names in (self.discrete, [n.name for n in self.numbers], crosses, self.wide):
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise InputError(f"feature {repeated[0]!r} is declared more than once")

    def _check_sizes(self) -> None:
        continuous: list[Number | Bucket] = [*self.numbers, *self.buckets]
        for feature in continuous:
            if feature.quantiles < 2:  # noqa: PLR2004
                raise InputError(f"{feature}: at least 2 quantiles are wanted")
        discrete: list[Category | Bag] = [*self.categories, *self.bags]
        for part in discrete:
            if part.minimum_count < 1:
                raise InputError(f"{part}: a minimum count of at least 1 is wanted")
        for cross in self.crosses:
            if len(cross.parts) < 2 or cross.minimum_support < 1:  # noqa: PLR2004
                raise InputError(f"{cross}: 2 parts and a minimum support of 1 are the least")

    def vocabulary_name(self, feature: str) -> str:
        """The category or bag whose vocabulary a category or bag reads: its own or a shared one."""
        shared = {bag.name: bag.vocabulary_of for bag in self.bags}
        return shared.get(feature) or feature

    @property
    def reads(self) -> ColumnSelection:
        """What of a row's history any of the features is made of."""
        numbers = {number for _, number, _ in self.quantiled()} | {self.offset}
        return _wanted(numbers, {bag.name for bag in self.bags})

    def read_by(self, discrete: Collection[str]) -> ColumnSelection:
        """What of a row's history some categories, bags and buckets are made of."""
        numbers = {bucket.number for bucket in self.buckets if bucket.name in discrete}
        return _wanted(numbers, discrete)

    @property
    def fired(self) -> set[str]:
        """Names of all that the wide part reads, raw or in a cross."""
        return {*self.wide, *parts_of(self.crosses)}

    @property
    def own_bags(self) -> list[str]:
        """Names of the bags that have a vocabulary of their own."""
        return [bag.name for bag in self.bags if bag.vocabulary_of is None]

    def quantiled(self) -> list[tuple[str, str, int]]:
        """Name, number and count of quantiles of all that is read by quantile."""
        numbers = [(number.name, number.name, number.quantiles) for number in self.numbers]
        return numbers + [(b.name, b.number, b.quantiles) for b in self.buckets]

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
            values["offset"],
            HistoryConfig(**values["history"]),
        )


def parts_of(crosses: Iterable[Cross]) -> set[str]:
    """Names of all that some crosses combine."""
    return {part for cross in crosses for part in cross.parts}


def _wanted(numbers: Collection[str | None], bags: Collection[str]) -> ColumnSelection:
    kept = (name for name in NUMERIC if name in numbers)
    return ColumnSelection(tuple(kept), tuple(name for name in BAGS if name in bags))


def _check_declared(used: list[str], declared: list[str]) -> None:
    for name in used:
        if name not in declared:
            raise InputError(
                f"feature {name!r} is used but not declared; declared are {sorted(declared)}"
            )

"""What a model reads of a row, declared; the fitted counterpart of a `FeatureSpec` is `Transform`.

A spec names the categories, bags, numbers and buckets of the deep part, the crosses, and what the
wide part reads raw. It is checked when it is made.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Self

from widedeep.features.history import BAGS, ColumnSelection, HistoryConfig, all_columns
from widedeep.inputs import InputError


@dataclass(frozen=True, slots=True)
class Category:
    """A single-valued feature: `user`, `item`, or a category of items, users or the context."""

    name: str
    minimum_count: int = 5


@dataclass(frozen=True, slots=True)
class Bag:
    """A multi-valued feature: a bag of items or users, or `liked` / `disliked` from history.

    With `vocabulary_of` it reads the codes (and the embedding) of that category.
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
    """A continuous feature that the wide part reads as the one-hot of its quantile."""

    number: str
    quantiles: int = 20

    @property
    def name(self) -> str:
        """The name by which crosses and the wide part refer to the bucket."""
        return f"{self.number}_bucket"


@dataclass(frozen=True, slots=True)
class Cross:
    """A cross-product of two or more categories, bags or buckets."""

    parts: tuple[str, ...]
    minimum_support: int = 5

    @property
    def name(self) -> str:
        """The names of the parts joined, for display; values are never keyed by joined text."""
        return " x ".join(self.parts)


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """All features of a model.

    `label` says when an interaction is positive, such as `rate >= 10`; models that disagree on it
    are not comparable. `wide` names the categories, bags and buckets that the wide part reads raw.
    `prior_logit` names the number that is a logit already: the model starts from it and learns the
    rest.

    Raises:
        InputError: A name is declared twice or used without a declaration, or a size is too small.
    """

    categories: tuple[Category, ...]
    bags: tuple[Bag, ...]
    numbers: tuple[Number, ...]
    buckets: tuple[Bucket, ...]
    crosses: tuple[Cross, ...]
    wide: tuple[str, ...]
    prior_logit: str | None = None
    history: HistoryConfig = field(default_factory=HistoryConfig)
    label: str = ""

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

    @property
    def wide_inputs(self) -> set[str]:
        """Names of the features that the wide part reads, raw or in a cross."""
        return {*self.wide, *parts_of(self.crosses)}

    @property
    def own_bags(self) -> list[str]:
        """Names of the bags that have a vocabulary of their own."""
        return [bag.name for bag in self.bags if bag.vocabulary_of is None]

    def vocabulary_name(self, feature: str) -> str:
        """Return the feature whose vocabulary a category or bag reads: its own or a shared one."""
        shared = {bag.name: bag.vocabulary_of for bag in self.bags}
        return shared.get(feature) or feature

    def quantile_features(self) -> list[tuple[str, str, int]]:
        """Return (name, number it reads, quantiles) of each number and bucket."""
        numbers = [(number.name, number.name, number.quantiles) for number in self.numbers]
        return numbers + [(b.name, b.number, b.quantiles) for b in self.buckets]

    @property
    def history_columns(self) -> ColumnSelection:
        """The history columns that any of the features is made of."""
        numbers = {number for _, number, _ in self.quantile_features()} | {self.prior_logit}
        return self._select_columns(numbers, {bag.name for bag in self.bags})

    def history_columns_of(self, discrete: Collection[str]) -> ColumnSelection:
        """Return the history columns that the given categories, bags and buckets are made of."""
        numbers = {bucket.number for bucket in self.buckets if bucket.name in discrete}
        return self._select_columns(numbers, discrete)

    def _select_columns(
        self, numbers: Collection[str | None], bags: Collection[str]
    ) -> ColumnSelection:
        known = all_columns(self.history)
        return ColumnSelection(
            tuple(name for name in known.numbers if name in numbers),
            tuple(name for name in BAGS if name in bags),
        )

    def as_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` reads back to an equal spec."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the values that `as_json` returned, to an equal spec."""
        crosses = tuple(Cross(tuple(c["parts"]), c["minimum_support"]) for c in values["crosses"])
        return cls(
            tuple(Category(**value) for value in values["categories"]),
            tuple(Bag(**value) for value in values["bags"]),
            tuple(Number(**value) for value in values["numbers"]),
            tuple(Bucket(**value) for value in values["buckets"]),
            crosses,
            tuple(values["wide"]),
            values["prior_logit"],
            HistoryConfig.from_json(values["history"]),
            values["label"],
        )

    def _check_names(self) -> None:
        crosses = [cross.name for cross in self.crosses]
        for names in (self.discrete, [n.name for n in self.numbers], crosses, self.wide):
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise InputError(f"feature {repeated[0]!r} is declared more than once")

    def _check_sizes(self) -> None:
        continuous: list[Number | Bucket] = [*self.numbers, *self.buckets]
        for feature in continuous:
            _check_minimum(feature, "quantiles", feature.quantiles, 2)
        discrete: list[Category | Bag] = [*self.categories, *self.bags]
        for part in discrete:
            _check_minimum(part, "minimum_count", part.minimum_count, 1)
        for cross in self.crosses:
            _check_minimum(cross, "the number of parts", len(cross.parts), 2)
            _check_minimum(cross, "minimum_support", cross.minimum_support, 1)


def parts_of(crosses: Iterable[Cross]) -> set[str]:
    """Return the names of all features that the crosses combine."""
    return {part for cross in crosses for part in cross.parts}


def _check_minimum(feature: object, what: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise InputError(f"{feature}: {what} is {value}; expected at least {minimum}")


def _check_declared(used: list[str], declared: list[str]) -> None:
    for name in used:
        if name not in declared:
            raise InputError(
                f"feature {name!r} is used but not declared; declared are {sorted(declared)}"
            )

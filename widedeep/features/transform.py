"""The fitted features: raw columns → `Encoded`, for one row as for many, with no label."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.tables import Interactions, read_small
from widedeep.features.crosses import CrossCounter, CrossVocabulary
from widedeep.features.encoded import EncodedRows
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.quantiles import QuantileNormaliser, QuantisedNumbers
from widedeep.features.ragged import Ragged
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import Bag, Cross, FeatureSpec, parts_of
from widedeep.features.vocabulary import Counts, Vocabulary, count_tokens
from widedeep.inputs import InputError
from widedeep.parallel import parallel_map

_BLOCK = 16384
"""Rows whose numbers are normalised at once: as many as fit into a core's cache."""

_JSON = "transform.json"
_VOCABULARIES = "vocabularies"
_CROSSES = "crosses"


@dataclass(frozen=True)
class Transform:
    """Everything fitted on training rows. `prior` is their share of positive labels.

    `vocabularies` by feature; `normalisers` by number and by bucket name; `crosses` in the order
    of the spec.
    """

    spec: FeatureSpec
    prior: float
    vocabularies: Mapping[str, Vocabulary]
    normalisers: Mapping[str, QuantileNormaliser]
    crosses: tuple[CrossVocabulary, ...]

    @classmethod
    def fit(
        cls,
        spec: FeatureSpec,
        prior: float,
        rows: RawFeatures,
        previous: Self | None = None,
        stale: Sequence[RawFeatures] = (),
    ) -> Self:
        """Fit on the raw columns of the training rows.

        Vocabularies and crosses are those of these rows. The boundaries of numbers are those of
        the rows and their `stale` copies (of fresh rows alone, all that is old would be one
        quantile). They are taken over from `previous`, if there is one: the weights that travel
        with a warm start were learned on them. (The rows must then have been described with its
        prior, too.)

        Raises:
            InputError: `previous` has another spec, or a cross has no room for its combinations.
        """
        if previous and previous.spec != spec:
            raise InputError("the previous transform has other features; fit without it")
        vocabularies = vocabularies_of(spec, token_counts(spec, rows))
        normalisers = previous.normalisers if previous else _fit_normalisers(spec, (rows, *stale))
        partial = cls(spec, prior, vocabularies, normalisers, ())
        halves = partial.halves(rows, range(len(spec.crosses)))
        least = [cross.minimum_support for cross in spec.crosses]
        return partial.with_crosses(
            parallel_map(CrossCounter.count, halves, partial.cross_sizes, least)
        )

    def halves(self, rows: RawFeatures, which: Iterable[int]) -> list[CrossCounter]:
        """The rows as some crosses, `which` by their places in the spec, combine them."""
        crosses = [(self.spec.crosses[i], self.cross_sizes[i]) for i in which]
        discrete = self._discrete(rows, parts_of(cross for cross, _ in crosses))
        return [
            CrossCounter.of([discrete[part] for part in cross.parts], sizes)
            for cross, sizes in crosses
        ]

    @cached_property
    def cross_sizes(self) -> list[tuple[int, ...]]:
        """How many ids each part of each cross has."""
        return [tuple(self._size(part) for part in cross.parts) for cross in self.spec.crosses]

    def with_crosses(self, counts: Sequence[Counts]) -> Self:
        """The same, with the combinations that are seen often enough."""
        given = zip(self.spec.crosses, self.cross_sizes, counts, strict=True)
        crosses = tuple(
            CrossVocabulary.of_counts(*counted, sizes, cross.minimum_support)
            for cross, sizes, counted in given
        )
        return replace(self, crosses=crosses)

    def describe(
        self, interactions: Interactions, asked: Queries, item_table: ItemTable
    ) -> RawFeatures:
        """The raw columns of queries, as those it was fitted on were described."""
        known = (interactions, asked, item_table, self.spec.history, self.prior)
        return RawFeatures.describe(*known, wanted=self.spec.reads)

    def fired(self, rows: RawFeatures) -> Ragged:
        """The wide features that fire in each row; what `encode` gives as `wide`."""
        discrete = self._discrete(rows, self.spec.fired)
        return Ragged.side_by_side(self._wide(discrete), len(rows))

    def offset(self, rows: RawFeatures) -> NDArray[np.float32]:
        """The logit that the model starts from in each row, (n,); 0 if the spec names none."""
        if self.spec.offset is None:
            return np.zeros(len(rows), np.float32)
        return rows.number(self.spec.offset).astype(np.float32)

    def encode(self, rows: RawFeatures) -> EncodedRows:
        """Ids, bags, numbers and fired wide features of each row."""
        discrete = self._discrete(rows, {*self.spec.discrete})
        categories = [discrete[c.name].values for c in self.spec.categories]
        return EncodedRows(
            np.stack(categories, axis=1) if categories else np.empty((len(rows), 0), np.int32),
            tuple(discrete[bag.name] for bag in self.spec.bags),
            self._numbers(rows),
            Ragged.side_by_side(self._wide(discrete), len(rows)),
            self.offset(rows),
        )

    @cached_property
    def wide_offsets(self) -> dict[str, int]:
        """First wide id of each block: raw features in the order of the spec, then crosses."""
        sizes = {name: self._size(name) for name in self.spec.wide}
        sizes |= {
            cross.name: len(vocabulary)
            for cross, vocabulary in zip(self.spec.crosses, self.crosses, strict=True)
        }
        starts = np.concatenate([[0], np.cumsum(list(sizes.values()), dtype=np.int64)])
        return dict(zip([*sizes, "end"], starts.tolist(), strict=True))

    @property
    def wide_size(self) -> int:
        """Number of wide ids."""
        return self.wide_offsets["end"]

    @property
    def number_columns(self) -> tuple[str, ...]:
        """What a model reads of `EncodedRows.numbers`: each number, then whether it is missing."""
        names = [number.name for number in self.spec.numbers]
        return (*names, *(f"{name}_missing" for name in names))

    def vocabulary_of(self, feature: str) -> Vocabulary:
        """The vocabulary whose ids a category or bag carries."""
        return self.vocabularies[self.spec.vocabulary_name(feature)]

    def save(self, folder: Path) -> None:
        """Write JSON and Parquet files into a new `folder`."""
        (folder / _VOCABULARIES).mkdir(parents=True)
        (folder / _CROSSES).mkdir()
        boundaries = {k: n.boundaries.tolist() for k, n in self.normalisers.items()}
        text = {
            "spec": self.spec.as_json(),
            "prior": self.prior,
            "vocabularies": list(self.vocabularies),
            "boundaries": boundaries,
            "cross_sizes": [cross.sizes for cross in self.crosses],
        }
        (folder / _JSON).write_text(json.dumps(text, indent=1), encoding="utf-8")
        for name, vocabulary in self.vocabularies.items():
            _write(folder / _VOCABULARIES / f"{name}.parquet", "token", vocabulary.tokens)
        for i, cross in enumerate(self.crosses):
            _write(folder / _CROSSES / f"{i}.parquet", "key", cross.keys)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        text = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        vocabularies = {
            name: Vocabulary(_read(folder / _VOCABULARIES / f"{name}.parquet"))
            for name in text["vocabularies"]
        }
        crosses = tuple(
            CrossVocabulary(_read(folder / _CROSSES / f"{i}.parquet"), tuple(sizes))
            for i, sizes in enumerate(text["cross_sizes"])
        )
        normalisers = {
            name: QuantileNormaliser(np.array(values, np.float64))
            for name, values in text["boundaries"].items()
        }
        spec = FeatureSpec.from_json(text["spec"])
        return cls(spec, text["prior"], vocabularies, normalisers, crosses)

    def _discrete(self, rows: RawFeatures, wanted: set[str]) -> dict[str, Ragged]:
        """Ids of wanted categories, bags and buckets; single-valued ones as rows of length 1."""
        categories = [each.name for each in self.spec.categories if each.name in wanted]
        bags = [each for each in self.spec.bags if each.name in wanted]
        found = {name: Ragged.singles(self._category(name, rows)) for name in categories}
        found |= parallel_map(lambda bag: (bag.name, self._bag(bag, rows)), bags)
        for bucket in (each for each in self.spec.buckets if each.name in wanted):
            ids = self.normalisers[bucket.name].bucket(rows.number(bucket.number))
            # 1 is the missing value: 0 would be the unknown, which combines with nothing.
            found[bucket.name] = Ragged.singles(ids + 1)
        return found

    def _category(self, name: str, rows: RawFeatures) -> NDArray[np.int32]:
        tokens = rows.token(name)
        vocabulary = self.vocabularies[name]
        if tokens is not None:
            return vocabulary.encode(tokens)
        return vocabulary.encode(rows.attribute(name))[rows.item_rows]

    def _bag(self, bag: Bag, rows: RawFeatures) -> Ragged:
        vocabulary = self.vocabulary_of(bag.name)
        remembered = rows.history_bag(bag.name)
        if remembered is not None:
            return remembered.encode(vocabulary)
        by_item = rows.attribute_bag(bag.name)
        return by_item.replace(vocabulary.encode(by_item.values)).select_rows(rows.item_rows)

    def _numbers(self, rows: RawFeatures) -> QuantisedNumbers:
        columns = [rows.number(number.name) for number in self.spec.numbers]
        normalisers = [self.normalisers[number.name] for number in self.spec.numbers]
        found = QuantisedNumbers.empty(len(rows), [each.quantiles for each in normalisers])

        def fill(begin: int) -> None:
            block = slice(begin, begin + _BLOCK)
            for i, (column, normaliser) in enumerate(zip(columns, normalisers, strict=True)):
                normaliser.bucket_into(column[block], found.quantile[block, i])

        parallel_map(fill, range(0, len(rows), _BLOCK))
        return found

    def _wide(self, discrete: Mapping[str, Ragged]) -> list[Ragged]:
        blocks = [
            discrete[name].replace(discrete[name].values + self.wide_offsets[name])
            for name in self.spec.wide
        ]

        def fire(cross: Cross, vocabulary: CrossVocabulary) -> Ragged:
            fired = vocabulary.encode([discrete[part] for part in cross.parts])
            return fired.replace(fired.values + self.wide_offsets[cross.name])

        return blocks + parallel_map(fire, self.spec.crosses, self.crosses)

    def _size(self, name: str) -> int:
        """Number of ids of a category, bag or bucket."""
        for bucket in self.spec.buckets:
            if bucket.name == name:
                return self.normalisers[name].quantiles + 2
        return len(self.vocabulary_of(name))


def token_counts(spec: FeatureSpec, rows: RawFeatures) -> dict[str, Counts]:
    """How often each token stands in the rows, by vocabulary; those of parts add up."""
    of_items = np.bincount(rows.item_rows, minlength=len(rows.item_table.items) + 1)

    def of_category(name: str) -> Counts:
        tokens = rows.token(name)
        if tokens is not None:
            return count_tokens(tokens)
        return count_tokens(rows.attribute(name), of_items)

    def of_bag(name: str) -> Counts:
        bag = rows.history_bag(name)
        if bag is not None:
            return bag.count()
        by_item = rows.attribute_bag(name)
        return count_tokens(by_item.values, of_items[by_item.row_numbers()])

    counted = {category.name: of_category(category.name) for category in spec.categories}
    return counted | {name: of_bag(name) for name in spec.own_bags}


def vocabularies_of(spec: FeatureSpec, counted: Mapping[str, Counts]) -> dict[str, Vocabulary]:
    """The tokens that are seen often enough, by feature."""
    least = {category.name: category.minimum_count for category in spec.categories}
    least |= {bag.name: bag.minimum_count for bag in spec.bags}
    return {name: Vocabulary.of_counts(*of, least[name]) for name, of in counted.items()}


def _fit_normalisers(
    spec: FeatureSpec, parts: Sequence[RawFeatures]
) -> dict[str, QuantileNormaliser]:
    def fit(name: str, number: str, quantiles: int) -> tuple[str, QuantileNormaliser]:
        values = [rows.number(number) for rows in parts]
        joined = values[0] if len(values) == 1 else np.concatenate(values)
        return name, QuantileNormaliser.fit(joined, quantiles)

    return dict(parallel_map(fit, *zip(*spec.quantiled(), strict=True)))


def _write(path: Path, column: str, values: NDArray[Any]) -> None:
    array = pa.array(values.tolist(), pa.string()) if values.dtype.kind == "T" else values
    pq.write_table(pa.table({column: array}), path)


def _read(path: Path) -> NDArray[Any]:
    column = read_small(path).column(0)
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), np.dtypes.StringDType())
    return np.array(column.to_numpy())

"""The fitted features: raw features → `EncodedRows`, for one row as for many, without a label.

`Transform.fit` learns vocabularies, quantile boundaries and crosses from training rows; `encode`
turns raw features into what a model reads, and needs no label. A model carries its own transform.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.tables import Interactions, read_small
from widedeep.features.attributes import FeatureTables
from widedeep.features.crosses import CrossCounter, CrossVocabulary
from widedeep.features.encoded import EncodedRows
from widedeep.features.history import Queries
from widedeep.features.quantiles import QuantileNormaliser, QuantisedNumbers
from widedeep.features.ragged import Ragged
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import Bag, Cross, FeatureSpec, parts_of
from widedeep.features.vocabulary import Counts, IndexedBag, Vocabulary, count_distinct
from widedeep.inputs import InputError
from widedeep.parallel import parallel_map

_BLOCK = 16384
"""Rows whose numbers are normalised at once: as many as fit into a core's cache."""

_JSON = "transform.json"
_VOCABULARIES = "vocabularies"
_CROSSES = "crosses"


@dataclass(frozen=True)
class Transform:
    """Everything that is fitted on training rows.

    Attributes:
        spec: The features.
        prior: Share of positive labels in the training rows.
        vocabularies: By category or bag; a bag that shares a vocabulary has none of its own.
        normalisers: By name of a number or bucket.
        crosses: In the order of the spec.
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
        """Fit on the raw features of the training rows.

        Args:
            spec: The features.
            prior: Share of positive labels in the training rows.
            rows: The training rows; vocabularies and crosses are those of these rows.
            previous: A transform whose boundaries of numbers are taken over, because the weights
                that travel with a warm start were learned on them. The rows must then have been
                computed with its prior, too.
            stale: Stale copies of the rows. Boundaries of numbers are fitted on the rows and these
                copies; fitted on fresh rows alone, everything old would fall into one quantile.

        Raises:
            InputError: `previous` has another spec, or a cross has no room for its combinations.
        """
        if previous and previous.spec != spec:
            raise InputError("the previous transform has other features; fit without it")
        vocabularies = fit_vocabularies(spec, count_ids(spec, rows))
        normalisers = previous.normalisers if previous else _fit_normalisers(spec, (rows, *stale))
        partial = cls(spec, prior, vocabularies, normalisers, ())
        counters = partial.cross_counters(rows, range(len(spec.crosses)))
        minimum = [cross.minimum_support for cross in spec.crosses]
        return partial.with_crosses(
            parallel_map(CrossCounter.count, counters, partial.cross_sizes, minimum)
        )

    def cross_counters(self, rows: RawFeatures, which: Iterable[int]) -> list[CrossCounter]:
        """Return the rows as some crosses combine them; `which` are positions in the spec."""
        crosses = [(self.spec.crosses[i], self.cross_sizes[i]) for i in which]
        codes = self._discrete_codes(rows, parts_of(cross for cross, _ in crosses))
        return [
            CrossCounter.from_codes([codes[part] for part in cross.parts], sizes)
            for cross, sizes in crosses
        ]

    @cached_property
    def cross_sizes(self) -> list[tuple[int, ...]]:
        """Number of codes of each part of each cross."""
        return [tuple(self._size(part) for part in cross.parts) for cross in self.spec.crosses]

    def with_crosses(self, counts: Sequence[Counts]) -> Self:
        """Return a copy with the combinations that occur often enough; `counts` are by cross."""
        by_cross = zip(self.spec.crosses, self.cross_sizes, counts, strict=True)
        crosses = tuple(
            CrossVocabulary.from_counts(*keys_and_support, sizes, cross.minimum_support)
            for cross, sizes, keys_and_support in by_cross
        )
        return replace(self, crosses=crosses)

    def compute_features(
        self, interactions: Interactions, queries: Queries, tables: FeatureTables
    ) -> RawFeatures:
        """Compute the raw features of queries as those of the training rows were computed."""
        history, columns = self.spec.history, self.spec.history_columns
        return RawFeatures.compute(
            interactions, queries, tables, history, self.prior, columns=columns
        )

    def wide_ids(self, rows: RawFeatures) -> Ragged:
        """Return the wide ids that fire in each row: the `wide` of what `encode` returns."""
        return self._wide_ids(self._discrete_codes(rows, self.spec.wide_inputs), len(rows))

    def prior_logit(self, rows: RawFeatures) -> NDArray[np.float32]:
        """Return the logit from which the model starts, (n,); 0 if the spec names no number."""
        if self.spec.prior_logit is None:
            return np.zeros(len(rows), np.float32)
        return rows.number(self.spec.prior_logit).astype(np.float32)

    def encode(self, rows: RawFeatures) -> EncodedRows:
        """Return codes, bags, quantiles of numbers, wide ids and the prior logit of each row."""
        codes = self._discrete_codes(rows, self.spec.discrete)
        categories = [codes[category.name].values for category in self.spec.categories]
        return EncodedRows(
            np.stack(categories, axis=1) if categories else np.empty((len(rows), 0), np.int32),
            tuple(codes[bag.name] for bag in self.spec.bags),
            self._numbers(rows),
            self._wide_ids(codes, len(rows)),
            self.prior_logit(rows),
        )

    @cached_property
    def wide_offsets(self) -> dict[str, int]:
        """First wide id of each block: raw features in the order of the spec, then crosses.

        The entry "end" is the number of wide ids.
        """
        sizes = {name: self._size(name) for name in self.spec.wide}
        sizes |= {
            cross.name: len(vocabulary)
            for cross, vocabulary in zip(self.spec.crosses, self.crosses, strict=True)
        }
        starts = np.concatenate([[0], np.cumsum(list(sizes.values()), dtype=np.int64)])
        return dict(zip([*sizes, "end"], starts.tolist(), strict=True))

    @property
    def wide_size(self) -> int:
        """Number of wide ids: the size of the wide part's id space."""
        return self.wide_offsets["end"]

    @property
    def number_columns(self) -> tuple[str, ...]:
        """Columns of `QuantisedNumbers.normalised`: each number, then whether it is missing."""
        names = [number.name for number in self.spec.numbers]
        return (*names, *(f"{name}_missing" for name in names))

    def vocabulary_of(self, feature: str) -> Vocabulary:
        """Return the vocabulary whose codes a category or bag carries."""
        return self.vocabularies[self.spec.vocabulary_name(feature)]

    def save(self, folder: Path) -> None:
        """Write JSON and Parquet files into `folder`, which must be new."""
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
            _write_column(folder / _VOCABULARIES / f"{name}.parquet", "id", vocabulary.ids)
        for i, cross in enumerate(self.crosses):
            _write_column(folder / _CROSSES / f"{i}.parquet", "key", cross.keys)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files that `save` wrote; the result encodes equal to the bit."""
        text = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        vocabularies = {
            name: Vocabulary(_read_column(folder / _VOCABULARIES / f"{name}.parquet"))
            for name in text["vocabularies"]
        }
        crosses = tuple(
            CrossVocabulary(_read_column(folder / _CROSSES / f"{i}.parquet"), tuple(sizes))
            for i, sizes in enumerate(text["cross_sizes"])
        )
        normalisers = {
            name: QuantileNormaliser(np.array(values, np.float64))
            for name, values in text["boundaries"].items()
        }
        spec = FeatureSpec.from_json(text["spec"])
        return cls(spec, text["prior"], vocabularies, normalisers, crosses)

    def _discrete_codes(self, rows: RawFeatures, names: Collection[str]) -> dict[str, Ragged]:
        """Return the codes of the named categories, bags and buckets, by row.

        Categories and buckets have one code per row.
        """
        categories = [c.name for c in self.spec.categories if c.name in names]
        bags = [bag for bag in self.spec.bags if bag.name in names]
        codes = {name: Ragged.one_per_row(self._category_codes(name, rows)) for name in categories}
        codes |= parallel_map(lambda bag: (bag.name, self._bag_codes(bag, rows)), bags)
        for bucket in (bucket for bucket in self.spec.buckets if bucket.name in names):
            quantiles = self.normalisers[bucket.name].bucket(rows.number(bucket.number))
            # A missing value has code 1, because code 0 is unknown and combines with nothing.
            codes[bucket.name] = Ragged.one_per_row(quantiles + 1)
        return codes

    def _category_codes(self, name: str, rows: RawFeatures) -> NDArray[np.int32]:
        ids, positions = rows.category(name)
        codes = self.vocabularies[name].encode(ids)
        return codes if positions is None else codes[positions]

    def _bag_codes(self, bag: Bag, rows: RawFeatures) -> Ragged:
        vocabulary = self.vocabulary_of(bag.name)
        values = rows.bag(bag.name)
        if isinstance(values, IndexedBag):
            return values.encode(vocabulary)
        of_table, at = values
        return of_table.with_values(vocabulary.encode(of_table.values)).select_rows(at)

    def _numbers(self, rows: RawFeatures) -> QuantisedNumbers:
        columns = [rows.number(number.name) for number in self.spec.numbers]
        normalisers = [self.normalisers[number.name] for number in self.spec.numbers]
        numbers = QuantisedNumbers.empty(len(rows), [n.quantiles for n in normalisers])

        def fill(begin: int) -> None:
            block = slice(begin, begin + _BLOCK)
            for i, (column, normaliser) in enumerate(zip(columns, normalisers, strict=True)):
                normaliser.bucket_into(column[block], numbers.quantile[block, i])

        parallel_map(fill, range(0, len(rows), _BLOCK))
        return numbers

    def _wide_ids(self, codes: Mapping[str, Ragged], rows: int) -> Ragged:
        """Shift the codes of raw features and crosses into the id space of the wide part."""
        raw = [
            codes[name].with_values(codes[name].values + self.wide_offsets[name])
            for name in self.spec.wide
        ]

        def fire(cross: Cross, vocabulary: CrossVocabulary) -> Ragged:
            fired = vocabulary.encode([codes[part] for part in cross.parts])
            return fired.with_values(fired.values + self.wide_offsets[cross.name])

        return Ragged.hstack(raw + parallel_map(fire, self.spec.crosses, self.crosses), rows)

    def _size(self, name: str) -> int:
        """Return the number of codes of a category, bag or bucket."""
        for bucket in self.spec.buckets:
            if bucket.name == name:
                return self.normalisers[name].quantiles + 2
        return len(self.vocabulary_of(name))


def count_ids(spec: FeatureSpec, rows: RawFeatures) -> dict[str, Counts]:
    """Count how often each id occurs in the rows, by vocabulary; counts of parts add up."""

    def count_category(name: str) -> Counts:
        ids, positions = rows.category(name)
        if positions is None:
            return count_distinct(ids)
        return count_distinct(ids, np.bincount(positions, minlength=len(ids)))

    def count_bag(name: str) -> Counts:
        bag = rows.bag(name)
        if isinstance(bag, IndexedBag):
            return bag.count()
        of_table, at = bag
        counts = np.bincount(at, minlength=len(of_table))
        return count_distinct(of_table.values, counts[of_table.row_numbers()])

    counts = {category.name: count_category(category.name) for category in spec.categories}
    return counts | {name: count_bag(name) for name in spec.own_bags}


def fit_vocabularies(spec: FeatureSpec, counts: Mapping[str, Counts]) -> dict[str, Vocabulary]:
    """Keep the ids that occur often enough, by feature; `counts` are those of `count_ids`."""
    minimum = {category.name: category.minimum_count for category in spec.categories}
    minimum |= {bag.name: bag.minimum_count for bag in spec.bags}
    return {name: Vocabulary.from_counts(*ids, minimum[name]) for name, ids in counts.items()}


def _fit_normalisers(
    spec: FeatureSpec, parts: Sequence[RawFeatures]
) -> dict[str, QuantileNormaliser]:
    def fit(name: str, number: str, quantiles: int) -> tuple[str, QuantileNormaliser]:
        values = [rows.number(number) for rows in parts]
        joined = values[0] if len(values) == 1 else np.concatenate(values)
        return name, QuantileNormaliser.fit(joined, quantiles)

    return dict(parallel_map(fit, *zip(*spec.quantile_features(), strict=True)))


def _write_column(path: Path, name: str, values: NDArray[Any]) -> None:
    array = pa.array(values.tolist(), pa.string()) if values.dtype.kind == "T" else values
    pq.write_table(pa.table({name: array}), path)


def _read_column(path: Path) -> NDArray[Any]:
    column = read_small(path).column(0)
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), np.dtypes.StringDType())
    return np.array(column.to_numpy())

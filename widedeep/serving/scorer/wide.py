"""The wide part of a request: item sums computed ahead, then buckets and crosses per candidate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.features import Cross, CrossVocabulary, Ragged, Transform
from widedeep.features.crosses import unpack_keys
from widedeep.serving.scorer.features import ItemFeatures, Layout, quantile_tables
from widedeep.serving.scorer.kernels import (
    FREE,
    FROM_BUCKET,
    FROM_ITEM,
    FROM_USER,
    CodeLists,
    CrossTables,
    Floats,
    Ints,
    QuantileTables,
    add_wide,
    fill_slots,
    look_up_buckets,
)


@dataclass(frozen=True, slots=True)
class WideScorer:
    """The wide weights of a model, taken apart by what decides that they fire.

    Attributes:
        item_sums: float64 (items + 1,), the sum of everything that an item fires by itself.
        user_weights: Weights by code of the user's features that the wide part reads raw.
        buckets: The numbers that are read as buckets.
        bucket_weights: float64 (buckets, codes); 0 where the wide part does not read the bucket
            raw.
        item_codes: Codes of those parts of crosses that are the item's.
        user_parts: The parts of crosses that are the user's, cross by cross.
        crosses: The weights of the crosses that the request takes part in, without those of 0.
    """

    item_sums: Floats
    user_weights: Mapping[str, Floats]
    buckets: QuantileTables
    bucket_weights: Floats
    item_codes: CodeLists
    user_parts: tuple["UserCrossPart", ...]
    crosses: CrossTables

    @classmethod
    def from_weights(
        cls,
        transform: Transform,
        wide_weights: NDArray[np.float32],
        items: ItemFeatures,
        layout: Layout,
    ) -> Self:
        """Take the weights of all wide ids, shape (wide ids,), apart."""
        weights, spec = wide_weights.astype(np.float64), transform.spec
        of_request = layout.request_features
        crosses = [
            WeightedCross.from_vocabulary(cross, vocabulary, weights[_block(transform, cross.name)])
            for cross, vocabulary in zip(spec.crosses, transform.crosses, strict=True)
            if not set(cross.parts) <= set(items.codes)
        ]
        parts = dict.fromkeys(part for cross in crosses for part in cross.cross.parts)
        item_parts = [part for part in parts if part in items.codes]
        names = [bucket.name for bucket in spec.buckets]
        boundaries = [transform.normalisers[name].boundaries for name in names]
        origins = {name: (FROM_ITEM, i) for i, name in enumerate(item_parts)}
        origins |= {name: (FROM_BUCKET, i) for i, name in enumerate(names)}
        return cls(
            _item_sums(transform, weights, items),
            {n: weights[_block(transform, n)] for n in spec.wide if n in of_request},
            quantile_tables([bucket.number for bucket in spec.buckets], boundaries, layout.numbers),
            _bucket_weights(transform, weights, names),
            _codes_by_row([items.codes[name] for name in item_parts], items.rows),
            tuple(part for cross in crosses for part in cross.user_parts(of_request)),
            _cross_tables(crosses, origins, of_request),
        )

    def score(self, rows: Ints, values: Floats, user: Mapping[str, Ints]) -> Floats:
        """Return the wide logit of each candidate of one user, (n,).

        Args:
            rows: The candidates' rows in the item features, (n,).
            values: The numbers read of each candidate, (n, numbers).
            user: The user's codes by feature, as `RequestCodes.read` returns them.
        """
        logit = self.item_sums[rows]
        logit += sum(weights[user[name]].sum() for name, weights in self.user_weights.items())
        buckets = np.empty((len(rows), len(self.buckets.column)), np.int64)
        look_up_buckets(values, self.buckets, buckets)
        codes = _codes_of_one_row([part.read(user) for part in self.user_parts])
        add_wide(rows, buckets, self.bucket_weights, self.item_codes, codes, self.crosses, logit)
        return logit


@dataclass(frozen=True, slots=True)
class UserCrossPart:
    """A part of a cross that a request decides.

    Attributes:
        name: Of the feature.
        useful: bool by code, whether the code stands in a combination with a weight. Other codes
            need not be looked up.
    """

    name: str
    useful: NDArray[np.bool_]

    def read(self, user: Mapping[str, Ints]) -> Ints:
        """Return those of the user's codes that are useful, shape (n,)."""
        codes = user[self.name]
        return codes[self.useful[codes]]


@dataclass(frozen=True, slots=True)
class WeightedCross:
    """The combinations of a cross whose weight is not 0; `keys` and `weights` are (n,)."""

    cross: Cross
    sizes: tuple[int, ...]
    keys: Ints
    weights: Floats

    @classmethod
    def from_vocabulary(cls, cross: Cross, vocabulary: CrossVocabulary, weights: Floats) -> Self:
        """Select from all combinations of the vocabulary; `weights` are in their order."""
        used = weights != 0
        return cls(cross, vocabulary.sizes, vocabulary.keys[used], weights[used])

    def user_parts(self, of_request: Sequence[str]) -> Iterator[UserCrossPart]:
        """Yield the parts that a request decides, in the order of the cross."""
        codes_of_parts = unpack_keys(self.keys, self.sizes)
        for name, size, codes in zip(self.cross.parts, self.sizes, codes_of_parts, strict=True):
            if name in of_request:
                useful = np.zeros(size, np.bool_)
                useful[codes] = True
                yield UserCrossPart(name, useful)


def _block(transform: Transform, name: str) -> slice:
    """Return the wide ids of a raw feature or a cross."""
    order = [*transform.wide_offsets]
    following = order[order.index(name) + 1]
    return slice(transform.wide_offsets[name], transform.wide_offsets[following])


def _item_sums(transform: Transform, weights: Floats, items: ItemFeatures) -> Floats:
    """Sum, for each item, the weights of the blocks that the item alone decides."""
    spec = transform.spec
    alone = [name for name in spec.wide if name in items.codes]
    alone += [cross.name for cross in spec.crosses if set(cross.parts) <= set(items.codes)]
    item_weights = np.zeros(len(weights))
    for name in alone:
        block = _block(transform, name)
        item_weights[block] = weights[block]
    fired = items.wide_ids
    sums = np.bincount(fired.row_numbers(), item_weights[fired.values], len(fired))
    return sums.astype(np.float64)


def _bucket_weights(transform: Transform, weights: Floats, names: list[str]) -> Floats:
    """Return the weights by bucket and code, 0 where the wide part does not read the bucket raw."""
    sizes = [transform.normalisers[name].quantiles + 2 for name in names]
    by_code = np.zeros((len(names), max(sizes, default=0)))
    for row, name, size in zip(by_code, names, sizes, strict=True):
        if name in transform.spec.wide:
            row[:size] = weights[_block(transform, name)]
    return by_code


def _cross_tables(
    crosses: list[WeightedCross],
    origins: Mapping[str, tuple[int, int]],
    of_request: Sequence[str],
) -> CrossTables:
    """Lay the crosses out for the compiled lookup.

    `origins` says of each part of an item or bucket what it reads: kind, and index of the feature.
    """
    tables = [_HashTable.build(cross.keys, cross.weights) for cross in crosses]
    user_parts = count()
    parts = [
        (FROM_USER, next(user_parts)) if name in of_request else origins[name]
        for cross in crosses
        for name in cross.cross.parts
    ]
    kind, feature = np.array(parts, np.int64).reshape(-1, 2).T
    return CrossTables(
        _starts(len(cross.cross.parts) for cross in crosses),
        kind.copy(),
        feature.copy(),
        np.array([size for cross in crosses for size in cross.sizes], np.int64),
        _starts(len(table.keys) for table in tables)[:-1],
        np.array([table.bits for table in tables], np.int64),
        np.concatenate([*(table.keys for table in tables), np.empty(0, np.int64)]),
        np.concatenate([*(table.weights for table in tables), np.empty(0)]),
    )


@dataclass(frozen=True, slots=True)
class _HashTable:
    """The hash table of one cross: 2 ** `bits` slots, at most half of them in use."""

    bits: int
    keys: Ints
    weights: Floats

    @classmethod
    def build(cls, keys: Ints, weights: Floats) -> Self:
        bits = max(len(keys).bit_length() + 1, 1)
        table = cls(bits, np.full(1 << bits, FREE), np.zeros(1 << bits))
        fill_slots(keys, weights, bits, table.keys, table.weights)
        return table


def _starts(lengths: Iterator[int]) -> Ints:
    """Return where each of some consecutive stretches begins, and where the last one ends."""
    return np.cumsum([0, *lengths], dtype=np.int64)


def _codes_of_one_row(features: list[Ints]) -> CodeLists:
    """Lay out the codes of several features of a single row."""
    ends = np.cumsum([0, *map(len, features)])
    values = np.concatenate([*features, np.empty(0, np.int64)])
    longest = max(map(len, features), default=0)
    return CodeLists(values, np.stack([ends[:-1], ends[1:]], axis=1), longest)


def _codes_by_row(features: Sequence[Ragged], row_count: int) -> CodeLists:
    """Lay out the codes of several features with `row_count` rows each."""
    starts = _starts(len(feature.values) for feature in features)[:-1]
    offsets = [start + feature.offsets for start, feature in zip(starts, features, strict=True)]
    values = [feature.values.astype(np.int64) for feature in features]
    return CodeLists(
        np.concatenate([*values, np.empty(0, np.int64)]),
        np.array(offsets, np.int64).reshape(-1, row_count + 1),
        max((int(feature.lengths.max()) for feature in features), default=0),
    )

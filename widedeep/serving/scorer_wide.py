"""The wide part of a request: what only the item decides is added up once a model.

What a model reads of a item that depends neither on the user nor on time, for all items.

Quantiles of several numbers, for the compiled lookup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.crosses import CrossVocabulary, unpack_keys
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged
from widedeep.features.raw_features import NUMBERS, item_age
from widedeep.features.spec import Cross
from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.serving.kernels import (
    FREE,
    OF_BUCKET,
    OF_ITEM,
    OF_USER,
    CrossTables,
    IdLists,
    QuantileTables,
    add_wide,
    fill_slots,
    look_up_buckets,
)

OF_USERS = ("user", "liked", "disliked")
"""The features that are not a item's."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """Rows for the items in the order of their tokens and, last, for an unknown item.

    Attributes:
        ids: Ids of each category and bag of a item, by name.
        fired: All wide ids that fire for a stranger without history; who has some, fires others.
        original_year: float64 (items + 1,), NaN where unknown.
    """

    ids: Mapping[str, Ragged]
    fired: Ragged
    original_year: NDArray[np.float64]

    @classmethod
    def of(cls, transform: Transform, item_table: ItemTable, items: Ints) -> Self:
        """Encode `items` (tokens, sorted) by the transform itself, as a stranger's candidates."""
        tokens = np.append(items, _absent(items))
        moment = np.zeros(len(tokens), np.int64)
        nobody = np.full(len(tokens), -1)
        rows = transform.describe(_NOTHING, Queries(nobody, tokens, moment, moment), item_table)
        encoded = transform.encode(rows)
        categories, bags = transform.spec.categories, transform.spec.bags
        ids = {c.name: Ragged.singles(encoded.categories[:, i]) for i, c in enumerate(categories)}
        ids |= {bag.name: held for bag, held in zip(bags, encoded.bags, strict=True)}
        of_items = {name: held for name, held in ids.items() if name not in OF_USERS}
        year = item_table.numbers["original_year"][rows.item_rows]
        return cls(of_items, encoded.wide, year)

    def item_age(self, rows: Ints, time: int) -> NDArray[np.float64]:
        """In years at UNIX seconds `time`, (n,)."""
        return item_age(self.original_year[rows], time)


_NOTHING = Interactions(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.int64)
)


def _absent(items: Ints) -> int:
    """A token that no item has: below the lowest, or in the first gap."""
    return int(np.setdiff1d(np.arange(-1, -len(items) - 2, -1), items)[-1])


def quantiles_of(
    numbers: Sequence[str], boundaries: Sequence[NDArray[np.float64]]
) -> QuantileTables:
    """The numbers by name, each with its boundaries; columns are places in `NUMBERS`."""
    for number in numbers:
        if number not in NUMBERS:
            raise InputError(f"no numeric feature {number!r}; there are {list(NUMBERS)}")
    return QuantileTables(
        np.array([NUMBERS.index(number) for number in numbers], np.int64),
        np.cumsum([0, *map(len, boundaries)], dtype=np.int64),
        np.concatenate([*boundaries, np.empty(0)]),
    )


Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UserCrossPart:
    """A user's feature as a part of a cross.

    `useful` (bool, by id) says which ids stand in a combination that has a weight: the others need
    not be looked up.
    """

    name: str
    useful: NDArray[np.bool_]

    def read(self, user: Mapping[str, Ints]) -> Ints:
        """The useful ones of the user's ids."""
        ids = user[self.name]
        return ids[self.useful[ids]]


@dataclass(frozen=True, slots=True)
class WeightedCross:
    """The combinations of a cross whose weight is not 0."""

    cross: Cross
    sizes: tuple[int, ...]
    keys: Ints
    weights: Floats

    @classmethod
    def of(cls, cross: Cross, held: CrossVocabulary, weights: Floats) -> Self:
        """Out of all that the vocabulary holds."""
        return cls(cross, held.sizes, held.keys[weights != 0], weights[weights != 0])

    def of_user(self) -> Iterator[UserCrossPart]:
        """Its parts that are the user's, in order."""
        digits = zip(self.cross.parts, self.sizes, unpack_keys(self.keys, self.sizes), strict=True)
        for name, size, ids in digits:
            if name in OF_USERS:
                useful = np.zeros(size, np.bool_)
                useful[ids] = True
                yield UserCrossPart(name, useful)


@dataclass(frozen=True, slots=True)
class WideScorer:
    """Sums of wide weights.

    Attributes:
        of_item: float64 (items + 1,), all that a item fires by itself.
        of_user: Weights by id of the features of a user that the wide part reads raw.
        buckets: The numbers that are read as buckets.
        bucket_weights: float64 (buckets, ids); 0 where the wide part does not read the bucket raw.
        items: Ids of the parts of crosses that are the item's.
        user_parts: The parts of crosses that are the user's, cross by cross.
        crosses: Crosses that some of the request decides, without their weights of 0.
    """

    of_item: Floats
    of_user: Mapping[str, Floats]
    buckets: QuantileTables
    bucket_weights: Floats
    items: IdLists
    user_parts: tuple[UserCrossPart, ...]
    crosses: CrossTables

    @classmethod
    def of(cls, transform: Transform, weights: NDArray[np.float32], items: ItemFeatures) -> Self:
        """Take a model's wide weights apart."""
        weight, spec = weights.astype(np.float64), transform.spec
        used = [
            (cross, held, weight[_block(transform, cross.name)])
            for cross, held in zip(spec.crosses, transform.crosses, strict=True)
            if not set(cross.parts) <= set(items.ids)
        ]
        weighted = [WeightedCross.of(cross, held, own) for cross, held, own in used]
        parts = dict.fromkeys(part for one in weighted for part in one.cross.parts)
        of_items = [part for part in parts if part in items.ids]
        names = [bucket.name for bucket in spec.buckets]
        ends = [transform.normalisers[name].boundaries for name in names]
        whose = {name: (OF_ITEM, i) for i, name in enumerate(of_items)}
        whose |= {name: (OF_BUCKET, i) for i, name in enumerate(names)}
        return cls(
            _of_item(transform, weight, items),
            {n: weight[_block(transform, n)] for n in spec.wide if n in OF_USERS},
            quantiles_of([bucket.number for bucket in spec.buckets], ends),
            _bucket_weights(transform, weight, names),
            _side_by_side([items.ids[name] for name in of_items], len(items.original_year)),
            tuple(part for one in weighted for part in one.of_user()),
            _crosses(weighted, whose),
        )

    def score(self, rows: Ints, values: Floats, user: Mapping[str, Ints]) -> Floats:
        """The wide logit of each candidate, (n,)."""
        out = self.of_item[rows]
        out += sum(weights[user[name]].sum() for name, weights in self.of_user.items())
        buckets = np.empty((len(rows), len(self.buckets.column)), np.int64)
        look_up_buckets(values, self.buckets, buckets)
        ids = _row_of([part.read(user) for part in self.user_parts])
        add_wide(rows, buckets, self.bucket_weights, self.items, ids, self.crosses, out)
        return out


def _block(transform: Transform, name: str) -> slice:
    """Where the wide ids of a raw feature or a cross lie."""
    order = [*transform.wide_offsets]
    following = order[order.index(name) + 1]
    return slice(transform.wide_offsets[name], transform.wide_offsets[following])


def _of_item(transform: Transform, weight: Floats, items: ItemFeatures) -> Floats:
    """The sum over the blocks that the item alone decides, of what fired."""
    spec = transform.spec
    alone = [name for name in spec.wide if name in items.ids]
    alone += [cross.name for cross in spec.crosses if set(cross.parts) <= set(items.ids)]
    kept = np.zeros(len(weight))
    for name in alone:
        block = _block(transform, name)
        kept[block] = weight[block]
    fired = items.fired
    return np.bincount(fired.row_numbers(), kept[fired.values], len(fired)).astype(np.float64)


def _bucket_weights(transform: Transform, weight: Floats, names: list[str]) -> Floats:
    sizes = [transform.normalisers[name].quantiles + 2 for name in names]
    out = np.zeros((len(names), max(sizes, default=0)))
    for row, name, size in zip(out, names, sizes, strict=True):
        if name in transform.spec.wide:
            row[:size] = weight[_block(transform, name)]
    return out


def _crosses(weighted: list[WeightedCross], whose: Mapping[str, tuple[int, int]]) -> CrossTables:
    tables = [_Slots.of(one.keys, one.weights) for one in weighted]
    user_parts = count()
    parts = [
        (OF_USER, next(user_parts)) if name in OF_USERS else whose[name]
        for one in weighted
        for name in one.cross.parts
    ]
    kind, feature = np.array(parts, np.int64).reshape(-1, 2).T
    return CrossTables(
        _starts(len(one.cross.parts) for one in weighted),
        kind.copy(),
        feature.copy(),
        np.array([size for one in weighted for size in one.sizes], np.int64),
        _starts(len(table.keys) for table in tables)[:-1],
        np.array([table.bits for table in tables], np.int64),
        np.concatenate([*(table.keys for table in tables), np.empty(0, np.int64)]),
        np.concatenate([*(table.weights for table in tables), np.empty(0)]),
    )


@dataclass(frozen=True, slots=True)
class _Slots:
    """The hash table of one cross, at most half full."""

    bits: int
    keys: Ints
    weights: Floats

    @classmethod
    def of(cls, keys: Ints, weights: Floats) -> Self:
        bits = max(len(keys).bit_length() + 1, 1)
        table = cls(bits, np.full(1 << bits, FREE), np.zeros(1 << bits))
        fill_slots(keys, weights, bits, table.keys, table.weights)
        return table


def _starts(lengths: Iterator[int]) -> Ints:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _row_of(parts: list[Ints]) -> IdLists:
    """Each part of one row."""
    ends = np.cumsum([0, *map(len, parts)])
    values = np.concatenate([*parts, np.empty(0, np.int64)])
    longest = max(map(len, parts), default=0)
    return IdLists(values, np.stack([ends[:-1], ends[1:]], axis=1), longest)


def _side_by_side(features: list[Ragged], rows: int) -> IdLists:
    starts = _starts(len(feature.values) for feature in features)[:-1]
    offsets = [start + held.offsets for start, held in zip(starts, features, strict=True)]
    values = [feature.values.astype(np.int64) for feature in features]
    return IdLists(
        np.concatenate([*values, np.empty(0, np.int64)]),
        np.array(offsets, np.int64).reshape(-1, rows + 1),
        max((int(feature.lengths.max()) for feature in features), default=0),
    )

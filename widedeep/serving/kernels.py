"""From what is read of candidates to what the layers take, compiled; other threads run meanwhile.

All compiled functions of the ranker stand in this one file: numba's cache does not notice a change
in another. What bfloat16 is (see there) does not change.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.model.kernels import Bits, bits_near, number_of

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

OF_ITEM, OF_USER, OF_BUCKET = range(3)
"""Whose ids a part of a cross reads."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FREE = -1
"""The key of a free slot."""


class PairRows(NamedTuple):
    """Rows of items and of users that are scored together, (n,) each."""

    item: Ints
    user: Ints


class QuantileTables(NamedTuple):
    """Some numbers: the column of each among the values read, and its boundaries.

    `boundaries[first[j]:first[j + 1]]` are those of number j, ascending.
    """

    column: Ints
    first: Ints
    boundaries: Floats


class IdLists(NamedTuple):
    """Ids of several features by row: `values[offsets[f, r]:offsets[f, r + 1]]`.

    None has more than `longest` in a row.
    """

    values: Ints
    offsets: Ints
    longest: int


class CrossTables(NamedTuple):
    """Crosses whose combinations have weights.

    Parts `parts[c]` … `parts[c + 1]` belong to cross c: `kind` says whose ids a part reads,
    `feature` which of those, `size` is the radix of its digit in the key. The keys and weights of
    cross c lie in a hash table of 2 ** `bits[c]` slots from `slots[c]` on, at the next free slot.
    """

    parts: Ints
    kind: Ints
    feature: Ints
    size: Ints
    slots: Ints
    bits: Ints
    keys: Ints
    weights: Floats


@njit(cache=True, nogil=True)
def look_up_numbers(
    values: Floats, numbers: QuantileTables, vectors: Singles | Bits, out: Singles | Bits
) -> None:
    """Write the vector of each number's quantile to `out`, (n, numbers * width).

    `vectors` is (numbers, quantiles + 1, width), that of a missing number first.
    """
    width = vectors.shape[2]
    for i in range(len(out)):
        for j in range(len(numbers.column)):
            quantile = _quantile(values[i, numbers.column[j]], numbers, j)
            for d in range(width):
                out[i, j * width + d] = vectors[j, quantile, d]


@njit(cache=True, nogil=True)
def look_up_buckets(values: Floats, buckets: QuantileTables, out: Ints) -> None:
    """Write the id of each bucket, (n, buckets): 1 for a missing number, 2 for quantile 1."""
    for i in range(len(out)):
        for j in range(len(buckets.column)):
            out[i, j] = _quantile(values[i, buckets.column[j]], buckets, j) + 1


@njit(cache=True, nogil=True)
def write_mean(table: Singles, ids: Ints, out: Singles) -> None:
    """The mean of some rows of `table` (rows, width) to `out` (width,); without any, zeros."""
    out[:] = 0
    for id_ in ids:
        for d in range(len(out)):
            out[d] += table[id_, d]
    if len(ids):
        for d in range(len(out)):
            out[d] /= np.float32(len(ids))


@njit(cache=True, nogil=True)
def multiply_few(inputs: Singles, weights: Singles) -> Singles:
    """The matrix product of few rows (n, inputs), in which many zeros are, with (inputs, width)."""
    out = np.zeros((len(inputs), weights.shape[1]), np.float32)
    for i in range(len(inputs)):
        for j in range(len(weights)):
            if inputs[i, j] != 0:
                for d in range(out.shape[1]):
                    out[i, d] += inputs[i, j] * weights[j, d]
    return out


@njit(cache=True, nogil=True)
def place(pairs: PairRows, table: Singles, users: Singles, out: Singles) -> None:
    """Row i of `out` (n, width) is the item's row of `table` plus the user's of `users`."""
    for i in range(len(out)):
        of_item, of_user, row = table[pairs.item[i]], users[pairs.user[i]], out[i]
        for d in range(len(row)):
            row[d] = of_item[d] + of_user[d]


@njit(cache=True, nogil=True)
def place_rounded(pairs: PairRows, table: Singles, users: Singles, added: Bits, out: Bits) -> None:
    """As `place`, plus `added` (n, width), then ReLU: the first layer's output in bfloat16."""
    for i in range(len(out)):
        of_item, of_user = table[pairs.item[i]], users[pairs.user[i]]
        of_pair, row = added[i], out[i]
        for d in range(len(row)):
            value = of_item[d] + of_user[d] + number_of(of_pair[d])
            row[d] = bits_near(value if value > np.float32(0) else np.float32(0))  # noqa: FURB136  max is slow


@njit(cache=True, nogil=True)
def add_wide(  # noqa: PLR0917  compiled code takes no keywords
    rows: Ints,
    buckets: Ints,
    bucket_weights: Floats,
    items: IdLists,
    user: IdLists,
    crosses: CrossTables,
    out: Floats,
) -> None:
    """Add the weights of what fires to `out`, (n,): buckets and crosses.

    `bucket_weights` is (buckets, ids); `user` has one row.
    """
    for b in range(buckets.shape[1]):
        for i in range(len(rows)):
            out[i] += bucket_weights[b, buckets[i, b]]
    for c in range(len(crosses.slots)):
        part = slice(crosses.parts[c], crosses.parts[c + 1])
        slot = slice(crosses.slots[c], crosses.slots[c] + (1 << crosses.bits[c]))
        table = crosses.keys[slot], crosses.weights[slot]
        kind, feature, size = crosses.kind[part], crosses.feature[part], crosses.size[part]
        ids = np.empty((len(kind), max(items.longest, user.longest, 1)), np.int64)
        lengths, position = np.ones(len(kind), np.int64), np.zeros(len(kind), np.int64)
        for p in range(len(kind)):
            if kind[p] == OF_USER:
                lengths[p] = _known(user.values, user.offsets[feature[p]], 0, ids[p])
        for i in range(len(rows)):
            for p in range(len(kind)):
                if kind[p] == OF_BUCKET:
                    ids[p, 0] = buckets[i, feature[p]]
                elif kind[p] == OF_ITEM:
                    lengths[p] = _known(items.values, items.offsets[feature[p]], rows[i], ids[p])
            out[i] += _sum_of_combinations(ids, lengths, size, position, table, crosses.bits[c])


@njit(cache=True)
def fill_slots(keys: Ints, weights: Floats, bits: int, out_keys: Ints, out_weights: Floats) -> None:
    """Build the hash table of one cross in free slots (2 ** bits of them, all keys FREE)."""
    for i in range(len(keys)):
        slot = _slot(keys[i], bits)
        while out_keys[slot] != FREE:
            slot = (slot + 1) & ((1 << bits) - 1)
        out_keys[slot] = keys[i]
        out_weights[slot] = weights[i]


@njit(cache=True, nogil=True)
def _quantile(value: float, quantiles: QuantileTables, j: int) -> int:
    """1 … n of number j, as `QuantileNormaliser.bucket`: boundaries up to the value; 0 for NaN."""
    if np.isnan(value):
        return 0
    low, high = quantiles.first[j], quantiles.first[j + 1]
    while low < high:
        middle = (low + high) >> 1
        if quantiles.boundaries[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return int(low - quantiles.first[j] + 1)


@njit(cache=True, nogil=True)
def _known(values: Ints, offsets: Ints, row: int, out: Ints) -> int:
    """Copy the ids of a row but 0, the unknown, which combines with nothing."""
    count = 0
    for k in range(offsets[row], offsets[row + 1]):
        if values[k] > 0:
            out[count] = values[k]
            count += 1
    return count


@njit(cache=True, nogil=True)
def _sum_of_combinations(  # noqa: PLR0917  compiled code takes no keywords
    ids: Ints, lengths: Ints, size: Ints, position: Ints, table: tuple[Ints, Floats], bits: int
) -> float:
    """The weights of all combinations of one id a part, counted through like an odometer.

    `position` is all zeros before and after.
    """
    for p in range(len(size)):
        if lengths[p] == 0:
            return 0.0
    total, turned = 0.0, 0
    while turned >= 0:
        key = 0
        for p in range(len(size)):
            key = key * size[p] + ids[p, position[p]]
        total += _weight(table[0], table[1], bits, key)
        turned = len(size) - 1
        while turned >= 0 and position[turned] == lengths[turned] - 1:
            position[turned] = 0
            turned -= 1
        if turned >= 0:
            position[turned] += 1
    return total


@njit(cache=True, nogil=True)
def _weight(keys: Ints, weights: Floats, bits: int, key: int) -> float:
    slot = _slot(key, bits)
    while keys[slot] != key:
        if keys[slot] == FREE:
            return 0.0
        slot = (slot + 1) & ((1 << bits) - 1)
    return float(weights[slot])


@njit(cache=True, nogil=True)
def _slot(key: int, bits: int) -> int:
    """Multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4)."""
    return int(np.int64((np.uint64(key) * _GOLDEN) >> np.uint64(64 - bits)))

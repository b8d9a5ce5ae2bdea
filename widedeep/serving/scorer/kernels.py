"""The compiled loops of the fast scorer: from what is read of candidates to what layers take.

They run without Python's global lock, so other threads work meanwhile.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.model.kernels import Bits, bits_from_float32, float32_from_bits

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

FROM_ITEM, FROM_USER, FROM_BUCKET = range(3)
"""Whose codes a part of a cross reads."""

FREE = -1
"""The key of a free slot of a hash table."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2 ** 64 divided by the golden ratio, for multiplicative hashing."""


class PairRows(NamedTuple):
    """Pairs to score: the row of the item and the row of the user, (n,) each."""

    item: Ints
    user: Ints


class QuantileTables(NamedTuple):
    """The quantile boundaries of several numbers.

    Attributes:
        column: The column of each number among the values read, (numbers,).
        first: Where the boundaries of each number begin, and the end, (numbers + 1,).
        boundaries: Those of number j from `first[j]` to `first[j + 1]`, ascending, (n,).
    """

    column: Ints
    first: Ints
    boundaries: Floats


class CodeLists(NamedTuple):
    """Codes of several features by row.

    Attributes:
        values: The codes of feature f in row r from `offsets[f, r]` to `offsets[f, r + 1]`, (n,).
        offsets: (features, rows + 1).
        longest: The largest number of codes that a feature has in a row.
    """

    values: Ints
    offsets: Ints
    longest: int


class CrossTables(NamedTuple):
    """The weights of several crosses, each in a hash table with linear probing.

    Attributes:
        parts: The parts of cross c are numbered `parts[c]` to `parts[c + 1]`, (crosses + 1,).
        kind: Whose codes a part reads: `FROM_ITEM`, `FROM_USER` or `FROM_BUCKET`, (parts,).
        feature: Which feature of those a part reads, (parts,).
        size: The radix of a part's digit in the key, (parts,).
        slots: Where the hash table of each cross begins, (crosses,).
        bits: The table of cross c has 2 ** `bits[c]` slots, (crosses,).
        keys: The key in each slot, or `FREE`, (slots,).
        weights: The weight in each slot, (slots,).
    """

    parts: Ints
    kind: Ints
    feature: Ints
    size: Ints
    slots: Ints
    bits: Ints
    keys: Ints
    weights: Floats


@compiled
def look_up_numbers(
    values: Floats, numbers: QuantileTables, vectors: Singles | Bits, out: Singles | Bits
) -> None:
    """Write the vector of each number's quantile to `out`, (n, numbers * width).

    `values` is (n, all numbers), `vectors` (numbers, quantiles + 1, width), that of a missing
    number first.
    """
    width = vectors.shape[2]
    for i in range(len(out)):
        for j in range(len(numbers.column)):
            quantile = _quantile(values[i, numbers.column[j]], numbers, j)
            for d in range(width):
                out[i, j * width + d] = vectors[j, quantile, d]


@compiled
def look_up_buckets(values: Floats, buckets: QuantileTables, out: Ints) -> None:
    """Write the code of each bucket to `out`, (n, buckets): 1 if missing, 2 for quantile 1.

    `values` is (n, all numbers).
    """
    for i in range(len(out)):
        for j in range(len(buckets.column)):
            out[i, j] = _quantile(values[i, buckets.column[j]], buckets, j) + 1


@compiled
def write_mean(table: Singles, rows: Ints, out: Singles) -> None:
    """Write the mean of some rows of `table` (m, width) to `out` (width,); of no rows, zeros."""
    out[:] = 0
    for row in rows:
        for d in range(len(out)):
            out[d] += table[row, d]
    if len(rows):
        for d in range(len(out)):
            out[d] /= np.float32(len(rows))


@compiled
def multiply_few(inputs: Singles, weights: Singles) -> Singles:
    """Return the matrix product of a few rows (n, inputs) with many zeros and (inputs, width)."""
    out = np.zeros((len(inputs), weights.shape[1]), np.float32)
    for i in range(len(inputs)):
        for j in range(len(weights)):
            if inputs[i, j] != 0:
                for d in range(out.shape[1]):
                    out[i, d] += inputs[i, j] * weights[j, d]
    return out


@compiled
def add_item_and_user(pairs: PairRows, items: Singles, users: Singles, out: Singles) -> None:
    """Write to `out` (n, width) the item's row of `items` plus the user's row of `users`."""
    for i in range(len(out)):
        of_item, of_user, row = items[pairs.item[i]], users[pairs.user[i]], out[i]
        for d in range(len(row)):
            row[d] = of_item[d] + of_user[d]


@compiled
def add_item_and_user_bfloat16(
    pairs: PairRows, items: Singles, users: Singles, added: Bits, out: Bits
) -> None:
    """Do as `add_item_and_user`, add `added` (n, width), apply ReLU and round to bfloat16."""
    for i in range(len(out)):
        of_item, of_user = items[pairs.item[i]], users[pairs.user[i]]
        of_pair, row = added[i], out[i]
        for d in range(len(row)):
            value = of_item[d] + of_user[d] + float32_from_bits(of_pair[d])
            row[d] = bits_from_float32(value if value > np.float32(0) else np.float32(0))  # noqa: FURB136  max is slow


@compiled
def add_wide(  # noqa: PLR0917  compiled code takes no keywords
    rows: Ints,
    buckets: Ints,
    bucket_weights: Floats,
    items: CodeLists,
    user: CodeLists,
    crosses: CrossTables,
    out: Floats,
) -> None:
    """Add the weights of the buckets and crosses that fire to `out`, (n,).

    Args:
        rows: Rows of the candidates in `items`, (n,).
        buckets: Codes of the buckets, (n, buckets).
        bucket_weights: Weights by bucket and code, (buckets, codes).
        items: Codes of the item's parts of crosses.
        user: Codes of the user's parts of crosses, one row.
        crosses: The weights of the crosses.
        out: The logits to add to.
    """
    for b in range(buckets.shape[1]):
        for i in range(len(rows)):
            out[i] += bucket_weights[b, buckets[i, b]]
    for c in range(len(crosses.slots)):
        part = slice(crosses.parts[c], crosses.parts[c + 1])
        slot = slice(crosses.slots[c], crosses.slots[c] + (1 << crosses.bits[c]))
        table = crosses.keys[slot], crosses.weights[slot]
        kind, feature, size = crosses.kind[part], crosses.feature[part], crosses.size[part]
        codes = np.empty((len(kind), max(items.longest, user.longest, 1)), np.int64)
        lengths, position = np.ones(len(kind), np.int64), np.zeros(len(kind), np.int64)
        for p in range(len(kind)):
            if kind[p] == FROM_USER:
                lengths[p] = _copy_known(user.values, user.offsets[feature[p]], 0, codes[p])
        for i in range(len(rows)):
            for p in range(len(kind)):
                if kind[p] == FROM_BUCKET:
                    codes[p, 0] = buckets[i, feature[p]]
                elif kind[p] == FROM_ITEM:
                    lengths[p] = _copy_known(
                        items.values, items.offsets[feature[p]], rows[i], codes[p]
                    )
            out[i] += _sum_of_combinations(codes, lengths, size, position, table, crosses.bits[c])


@compiled
def fill_slots(keys: Ints, weights: Floats, bits: int, out_keys: Ints, out_weights: Floats) -> None:
    """Fill the hash table of one cross, at most half full.

    `keys` and `weights` are (n,); `out_keys`, all `FREE`, and `out_weights` (2 ** bits,).
    """
    for i in range(len(keys)):
        slot = _slot(keys[i], bits)
        while out_keys[slot] != FREE:
            slot = (slot + 1) & ((1 << bits) - 1)
        out_keys[slot] = keys[i]
        out_weights[slot] = weights[i]


@compiled
def _quantile(value: float, quantiles: QuantileTables, j: int) -> int:
    """Return the quantile of number j, from 1 on, as `QuantileNormaliser.bucket`; 0 for NaN."""
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


@compiled
def _copy_known(values: Ints, offsets: Ints, row: int, out: Ints) -> int:
    """Copy the codes of a row except 0, out-of-vocabulary, which is in no combination."""
    count = 0
    for k in range(offsets[row], offsets[row + 1]):
        if values[k] > 0:
            out[count] = values[k]
            count += 1
    return count


@compiled
def _sum_of_combinations(  # noqa: PLR0917  compiled code takes no keywords
    codes: Ints, lengths: Ints, size: Ints, position: Ints, table: tuple[Ints, Floats], bits: int
) -> float:
    """Sum the weights of all combinations of one code a part, counted through like an odometer.

    `position` is all zeros before and after.
    """
    for p in range(len(size)):
        if lengths[p] == 0:
            return 0.0
    total, turned = 0.0, 0
    while turned >= 0:
        key = 0
        for p in range(len(size)):
            key = key * size[p] + codes[p, position[p]]
        total += _weight(table[0], table[1], bits, key)
        turned = len(size) - 1
        while turned >= 0 and position[turned] == lengths[turned] - 1:
            position[turned] = 0
            turned -= 1
        if turned >= 0:
            position[turned] += 1
    return total


@compiled
def _weight(keys: Ints, weights: Floats, bits: int, key: int) -> float:
    """Return the weight of a key, 0 if the table does not have it."""
    slot = _slot(key, bits)
    while keys[slot] != key:
        if keys[slot] == FREE:
            return 0.0
        slot = (slot + 1) & ((1 << bits) - 1)
    return float(weights[slot])


@compiled
def _slot(key: int, bits: int) -> int:
    """Hash a key by multiplication (Knuth, The Art of Computer Programming 3, section 6.4)."""
    return int(np.int64((np.uint64(key) * _GOLDEN) >> np.uint64(64 - bits)))

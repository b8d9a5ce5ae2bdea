"""Continuous values as quantiles: a value becomes a number in [0, 1] (paper, section 4.1).

`QuantileNormaliser` is fitted on one feature: it finds the boundaries of equal shares and says in
which quantile a value lies. `QuantisedNumbers` holds those quantiles for all numbers of many rows,
one byte each, and turns them into what a model reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import compiled

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bits = NDArray[np.unsignedinteger]

_BLOCK = 1024
"""Values that are compared at once: as many as fit into a core's first-level cache."""

_UPPER_BITS = 20
_MANY = 1 << 17
"""From this many values on, it pays to count values by their upper bits."""


@dataclass(frozen=True, slots=True)
class QuantileNormaliser:
    """x in the i-th of n_q quantiles becomes (i - 1) / (n_q - 1).

    `boundaries` (float64, ascending and distinct, shape (n_q - 1,)) separate the quantiles; a value
    equal to a boundary belongs above it. Values tied across a boundary share one quantile, so n_q
    may be smaller than the number of quantiles that was requested.
    """

    boundaries: NDArray[np.float64]

    @property
    def quantiles(self) -> int:
        """Number of quantiles n_q, at least 1."""
        return len(self.boundaries) + 1

    @classmethod
    def fit(cls, values: Floats, quantiles: int) -> Self:
        """Find the boundaries of `quantiles` equal shares of the finite `values`, shape (n,)."""
        finite = finite_values(values)
        return cls.from_rank_values(values_at_ranks(finite, boundary_ranks(len(finite), quantiles)))

    @classmethod
    def from_rank_values(cls, values: NDArray[np.float64]) -> Self:
        """Take the boundaries from the values at `boundary_ranks`, same shape."""
        distinct = np.unique(values[1:])
        return cls(distinct[distinct > values[:1]])

    def bucket(self, values: Floats) -> NDArray[np.int32]:
        """Return the quantile 1 … n_q of each value, int32 (n,); 0 where the value is missing."""
        quantiles = np.empty(len(values), np.int32)
        self.bucket_into(values, quantiles)
        return quantiles

    def bucket_into(self, values: Floats, out: NDArray[np.integer]) -> None:
        """Write the quantiles that `bucket` returns into `out`, an integer array (n,)."""
        _write_quantiles(self._lowest_above(values.dtype), values, out)

    def normalise(self, values: Floats) -> NDArray[np.float32]:
        """Return (i - 1) / (n_q - 1), float32 of shape (n,); 0 where the value is missing."""
        quantile = self.bucket(values)[:, None]
        return QuantisedNumbers(quantile, np.array([self.quantiles])).normalised()[:, 0]

    def _lowest_above(self, dtype: np.dtype[Any]) -> Floats:
        """Return the lowest value of the type that is not below each boundary."""
        lowest: Floats = self.boundaries.astype(dtype)
        is_below = lowest < self.boundaries
        lowest[is_below] = np.nextafter(lowest[is_below], dtype.type(np.inf))
        return lowest


@dataclass(frozen=True, slots=True)
class QuantisedNumbers:
    """`quantile` (n, numbers), uint8 or uint16: 1 … n_q, 0 where the number is missing.

    `counts` int64 (numbers,): n_q of each number. They are stored as bytes instead of floats
    because five million ratings make twelve million rows of forty numbers.
    """

    quantile: NDArray[Any]
    counts: Ints

    @classmethod
    def empty(cls, rows: int, counts: Sequence[int]) -> Self:
        """Allocate `rows` rows in the smallest unsigned type that holds the `counts`."""
        dtype = np.min_scalar_type(max(counts, default=0))
        return cls(np.empty((rows, len(counts)), dtype), np.array(counts, np.int64))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts, which one transform encoded, one part after another."""
        return cls(np.concatenate([part.quantile for part in parts]), parts[0].counts)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.quantile)

    def select_rows(self, rows: NDArray[Any]) -> "QuantisedNumbers":
        """Return the given rows (numbers or a mask), in that order."""
        return QuantisedNumbers(self.quantile[rows], self.counts)

    def normalised(self) -> NDArray[np.float32]:
        """Return what a model reads, float32 (n, 2 · numbers); paper, section 4.1.

        The first columns are (i - 1) / (n_q - 1) of each number, 0 where it is missing; the other
        columns are 1 where the number is missing, else 0.
        """
        numbers = len(self.counts)
        columns = np.empty((len(self), 2 * numbers), np.float32)
        share, missing = columns[:, :numbers], columns[:, numbers:]
        np.equal(self.quantile, 0, out=missing)
        np.subtract(self.quantile, 1, out=share, where=missing == 0, dtype=np.float32)
        share[missing != 0] = 0
        share /= np.maximum(self.counts - 1, 1).astype(np.float32)
        return columns


def boundary_ranks(count: int, quantiles: int) -> Ints:
    """Return the ranks, among `count` sorted values, of the lowest value and of the boundaries.

    int64 (quantiles,), ascending; shape (0,) if `count` is 0.
    """
    return np.arange(min(count, 1) * quantiles) * count // quantiles


@compiled
def finite_values(values: Floats) -> Floats:
    """Drop values that are not finite, (n,), and turn -0.0 into 0.0.

    Otherwise the result would depend on which of the two zeros comes first.
    """
    finite, n = np.empty(len(values), values.dtype), 0
    for value in values:
        finite[n] = value + type(value)(0)
        n += np.isfinite(value)
    return finite[:n]


def sorted_finite(values: Floats) -> NDArray[np.float64]:
    """Return the finite ones of `values` (n,) in ascending order, float64."""
    finite = finite_values(values)
    bits = finite.view(f"u{finite.itemsize}")
    return _radix_sort(bits, finite.itemsize).view(finite.dtype).astype(np.float64)


def values_at_ranks(values: Floats, ranks: Ints) -> NDArray[np.float64]:
    """Return the finite `values` (n,) at the `ranks` (m,), counted from 0 in ascending order.

    Sorting many values would take most of the time of fitting features. The upper bits of a float
    are ordered as the floats are: the values are counted by them, and only those that share their
    upper bits with a value at one of the ranks are sorted.
    """
    if len(values) < _MANY:
        return sorted_finite(values)[ranks]
    size = values.dtype.itemsize
    bits = values.view(f"u{size}")
    near, positions = _values_near_ranks(values, bits, 8 * size - _UPPER_BITS, ranks)
    at_ranks: NDArray[np.float64] = np.sort(near)[positions].astype(np.float64)
    return at_ranks


@compiled
def _write_quantiles(least: Floats, values: Floats, out: NDArray[np.integer]) -> None:
    """Write 1 + how many of `least` are not above each value; 0 for NaN.

    Comparing many values with each boundary uses vector instructions and is six times as fast as a
    binary search per value, whose branches cannot be predicted.
    """
    quantile = np.empty(_BLOCK, out.dtype)
    for begin in range(0, len(values), _BLOCK):
        block = values[begin : begin + _BLOCK].copy()
        quantile[:] = 1
        for bound in least:
            for i in range(len(block)):
                quantile[i] += block[i] >= bound
        for i in range(len(block)):
            out[begin + i] = 0 if np.isnan(block[i]) else quantile[i]


@compiled
def _radix_sort(bits: Bits, bytes_: int) -> Bits:
    """Sort the bits of finite floats in the order of the floats, from the last byte to the first.

    Numpy's sort is four times as slow on AMD processors with AVX-512 (Zen 4).
    """
    sign = 8 * bytes_ - 1
    keys, moved = np.empty_like(bits), np.empty_like(bits)
    counts = np.zeros((bytes_, 257), np.int64)
    for i in range(len(bits)):
        keys[i] = _ordered(bits[i], sign)
        for byte in range(bytes_):
            counts[byte, ((keys[i] >> (8 * byte)) & 255) + 1] += 1
    for byte in range(bytes_):
        position = np.cumsum(counts[byte])
        for key in keys:
            digit = (key >> (8 * byte)) & 255
            moved[position[digit]] = key
            position[digit] += 1
        keys, moved = moved, keys
    for i in range(len(keys)):
        keys[i] = keys[i] ^ (type(keys[i])(1) << sign) if keys[i] >> sign else ~keys[i]
    return keys


@compiled
def _values_near_ranks(values: Floats, bits: Bits, shift: int, ranks: Ints) -> tuple[Floats, Ints]:
    """Return the values that share a bin with a value at one of the `ranks` (ascending).

    The second result is the rank of each of these values among the returned ones, (len(ranks),).
    """
    counts = np.zeros(1 << _UPPER_BITS, np.int64)
    for i in range(len(bits)):
        counts[_bin(bits[i], shift)] += 1
    chosen, positions = np.zeros(len(counts), np.bool_), np.empty_like(ranks)
    bin_, below, near = 0, 0, 0
    for i in range(len(ranks)):
        while below + counts[bin_] <= ranks[i]:
            near += counts[bin_] * chosen[bin_]
            below += counts[bin_]
            bin_ += 1
        chosen[bin_] = True
        positions[i] = near + ranks[i] - below
    out = np.empty(near + counts[bin_], values.dtype)
    n = 0
    for i in range(len(values)):
        if chosen[_bin(bits[i], shift)]:
            out[n] = values[i]
            n += 1
    return out, positions


@compiled
def _bin(bits: int, shift: int) -> int:
    """Return the upper bits of a float as an integer, ordered as the floats are."""
    return int(_ordered(bits, shift + _UPPER_BITS - 1) >> shift)


@compiled
def _ordered(bits: int, sign: int) -> int:
    """Map the bits of a float, whose sign is bit `sign`, to an integer ordered as the floats."""
    unit = type(bits)(1)
    return ~bits if bits >> sign else bits | (unit << sign)

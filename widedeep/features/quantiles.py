"""Continuous value → its quantile in [0, 1] (paper, section 4.1).

Numbers as a model reads them, one byte each: in which quantile each lies.

Which value stands at a rank among values that lie in parts: exact, in two passes.

The first pass takes a sample of each part, every so-manieth of its values in order. Together the
samples tell between which two values each rank's lies: at most 2 / `SAMPLED` of all values are
there (ties aside). The second pass counts those, and finds the one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class QuantisedNumbers:
    """`quantile` (n, numbers), uint8 or uint16: 1 … n_q, 0 where the number is missing.

    `counts` int64 (numbers,): n_q of each. In bytes and not in floats, because five million
    ratings are twelve million rows of forty numbers.
    """

    quantile: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int, counts: Sequence[int]) -> Self:
        """Room for `rows` rows, in the least type that holds the `counts`."""
        dtype = np.min_scalar_type(max(counts, default=0))
        return cls(np.empty((rows, len(counts)), dtype), np.array(counts, np.int64))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.quantile)

    def select_rows(self, rows: NDArray[Any]) -> "QuantisedNumbers":
        """The named rows, in that order."""
        return QuantisedNumbers(self.quantile[rows], self.counts)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, which were made by one transform, one after another."""
        return cls(np.concatenate([part.quantile for part in parts]), parts[0].counts)

    def normalised(self) -> NDArray[np.float32]:
        """(i - 1) / (n_q - 1) of each number, and then 1 for each that is missing, else 0.

        Float32 (n, 2 · numbers); the share of a missing number is 0. Paper, section 4.1.
        """
        numbers = len(self.counts)
        found = np.empty((len(self), 2 * numbers), np.float32)
        share, missing = found[:, :numbers], found[:, numbers:]
        np.equal(self.quantile, 0, out=missing)
        np.subtract(self.quantile, 1, out=share, where=missing == 0, dtype=np.float32)
        share[missing != 0] = 0
        share /= np.maximum(self.counts - 1, 1).astype(np.float32)
        return found


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bits = NDArray[np.unsignedinteger]

_UPPER_BITS = 20
_MANY = 1 << 17
"""So many values are worth the counters of all upper bits."""

SAMPLED = 8000
"""So many values of a part, in order, stand in its sample; of a smaller one all."""


@dataclass(frozen=True, slots=True)
class RankSample:
    """Of `count` finite values, in order, the first, each `step` later one, and the last."""

    values: Floats
    step: int
    count: int

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Self:
        """Of a part's `values` (n,), those that are not finite left out."""
        known = sorted_finite(values)
        step = max(len(known) // SAMPLED, 1)
        places = np.union1d(np.arange(0, len(known), step), [len(known) - 1][: len(known)])
        return cls(known[places.astype(np.int64)], step, len(known))

    def steps(self) -> tuple[Ints, Ints]:
        """What each sampled value adds to what is known of the part's order, (len(values),) both.

        Added up over those less than x: how many of the part are less than x, at most. Over those
        not greater than x: how many of the part are not greater than x, at least.
        """
        most = np.minimum(np.arange(len(self.values) + 1) * self.step, self.count)
        least = np.concatenate([[0], most[:-1] + 1])[: len(most)]
        least[-1:] = self.count
        return np.diff(most), np.diff(least)


@dataclass(frozen=True, slots=True)
class RankBrackets:
    """For each of the `ranks` (m,), from 0, two values between which that rank's value lies."""

    ranks: Ints
    low: Floats
    high: Floats

    @classmethod
    def around(cls, ranks: Ints, samples: Sequence[RankSample]) -> Self:
        """As narrow as the samples of all parts allow."""
        sampled = np.concatenate([sample.values for sample in samples])
        most, least = (np.concatenate(of) for of in zip(*(s.steps() for s in samples), strict=True))
        order = np.argsort(sampled)
        values, first = np.unique(sampled[order], return_index=True)
        below = np.concatenate([[0], np.cumsum(most[order])])[first]
        up_to = np.concatenate([np.cumsum(least[order])[first[1:] - 1], [least.sum()]])
        low = values[np.searchsorted(below, ranks, side="right") - 1]
        return cls(ranks, low, values[np.searchsorted(up_to, ranks, side="right")])

    def count(self, values: NDArray[np.floating]) -> "BracketCounts":
        """What a part has below and within them."""
        known = sorted_finite(values)
        begin = np.searchsorted(known, self.low)
        end = np.searchsorted(known, self.high, side="right")
        parts = zip(begin.tolist(), end.tolist(), strict=True)
        within = [np.unique(known[first:last], return_counts=True) for first, last in parts]
        return BracketCounts(begin, within)

    def values(self, counted: Sequence["BracketCounts"]) -> Floats:
        """The value at each rank, (m,), from what all parts counted."""
        left = self.ranks - np.sum([part.below for part in counted], axis=0)
        return np.array([_at(i, rank, counted) for i, rank in enumerate(left.tolist())])


@dataclass(frozen=True, slots=True)
class BracketCounts:
    """`below` (m,) values of a part, and `within` each bracket the distinct values and counts."""

    below: Ints
    within: list[tuple[Floats, Ints]]


def sorted_finite(values: NDArray[np.floating]) -> Floats:
    """The finite ones, ascending."""
    known = finite_values(values)
    bits = known.view(f"u{known.itemsize}")
    return _sorted(bits, known.itemsize).view(known.dtype).astype(np.float64)


@njit(cache=True, nogil=True)
def finite_values(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Those that are; -0.0 is 0.0, or which one is met would decide."""
    known, found = np.empty(len(values), values.dtype), 0
    for value in values:
        known[found] = value + type(value)(0)
        found += np.isfinite(value)
    return known[:found]


def values_at_ranks(values: NDArray[np.floating], ranks: Ints) -> Floats:
    """Of finite `values` (n,), those at the `ranks` (m,) from 0 in ascending order.

    Sorting many would take most of the time of fitting features. The upper bits of a number stand
    in the order of the numbers: they are counted, and only what shares them with a value that is
    wanted is sorted.
    """
    if len(values) < _MANY:
        return sorted_finite(values)[ranks]
    size = values.dtype.itemsize
    bits = values.view(f"u{size}")
    near, places = _near(values, bits, 8 * size - _UPPER_BITS, ranks)
    found: Floats = np.sort(near)[places].astype(np.float64)
    return found


@njit(cache=True, nogil=True)
def _sorted(bits: Bits, bytes_: int) -> Bits:
    """Bits of finite numbers in order of the numbers: sorted by their last byte, … their first.

    Numpy's sort is four times as slow on processors of AMD with AVX-512 (Zen 4).
    """
    sign = 8 * bytes_ - 1
    keys, moved = np.empty_like(bits), np.empty_like(bits)
    places = np.zeros((bytes_, 257), np.int64)
    for i in range(len(bits)):
        keys[i] = _ordered(bits[i], sign)
        for byte in range(bytes_):
            places[byte, ((keys[i] >> (8 * byte)) & 255) + 1] += 1
    for byte in range(bytes_):
        place = np.cumsum(places[byte])
        for key in keys:
            digit = (key >> (8 * byte)) & 255
            moved[place[digit]] = key
            place[digit] += 1
        keys, moved = moved, keys
    for i in range(len(keys)):
        keys[i] = keys[i] ^ (type(keys[i])(1) << sign) if keys[i] >> sign else ~keys[i]
    return keys


@njit(cache=True, nogil=True)
def _near(
    values: NDArray[np.floating], bits: Bits, shift: int, ranks: Ints
) -> tuple[NDArray[np.floating], Ints]:
    """The values in one bin with one of the `ranks` (ascending), and where these are among them."""
    counts = np.zeros(1 << _UPPER_BITS, np.int64)
    for i in range(len(bits)):
        counts[_bin(bits[i], shift)] += 1
    wanted, places = np.zeros(len(counts), np.bool_), np.empty_like(ranks)
    bin_, below, near = 0, 0, 0
    for i in range(len(ranks)):
        while below + counts[bin_] <= ranks[i]:
            near += counts[bin_] * wanted[bin_]
            below += counts[bin_]
            bin_ += 1
        wanted[bin_] = True
        places[i] = near + ranks[i] - below
    held = np.empty(near + counts[bin_], values.dtype)
    found = 0
    for i in range(len(values)):
        if wanted[_bin(bits[i], shift)]:
            held[found] = values[i]
            found += 1
    return held, places


@njit(cache=True, nogil=True)
def _bin(bits: int, shift: int) -> int:
    """The upper bits of a number, as an integer in the order of the numbers."""
    return int(_ordered(bits, shift + _UPPER_BITS - 1) >> shift)


@njit(cache=True, nogil=True)
def _ordered(bits: int, sign: int) -> int:
    """The bits of a number, of which that at `sign` is the first, in the order of the numbers."""
    one = type(bits)(1)
    return ~bits if bits >> sign else bits | (one << sign)


def _at(bracket: int, rank: int, counted: Sequence[BracketCounts]) -> float:
    """The value at `rank` among those within one bracket."""
    values = np.concatenate([part.within[bracket][0] for part in counted])
    counts = np.concatenate([part.within[bracket][1] for part in counted])
    order = np.argsort(values, kind="stable")
    return float(values[order][np.searchsorted(np.cumsum(counts[order]), rank, side="right")])


quantile_normaliser_Floats = NDArray[np.floating]

_BLOCK = 1024
"""Values that are compared at once: as many as fit into a core's first cache."""


@dataclass(frozen=True, slots=True)
class QuantileNormaliser:
    """x in the i-th of n_q quantiles becomes (i - 1) / (n_q - 1).

    `boundaries` (float64, ascending and distinct, shape (n_q - 1,)) separate the quantiles; a value
    equal to a boundary belongs above it. Values tied over a boundary share one quantile, so n_q
    may be smaller than was asked for.
    """

    boundaries: NDArray[np.float64]

    @property
    def quantiles(self) -> int:
        """n_q, at least 1."""
        return len(self.boundaries) + 1

    @classmethod
    def fit(cls, values: quantile_normaliser_Floats, quantiles: int) -> Self:
        """Boundaries of `quantiles` equal shares of the finite `values`, shape (n,)."""
        known = finite_values(values)
        return cls.of_order(values_at_ranks(known, boundary_ranks(len(known), quantiles)))

    @classmethod
    def of_order(cls, values: NDArray[np.float64]) -> Self:
        """Boundaries from the values at `boundary_ranks`."""
        found = np.unique(values[1:])
        return cls(found[found > values[:1]])

    def bucket(self, values: quantile_normaliser_Floats) -> NDArray[np.int32]:
        """Quantile 1 … n_q of each value, int32 of shape (n,); 0 where the value is missing."""
        found = np.empty(len(values), np.int32)
        self.bucket_into(values, found)
        return found

    def normalise(self, values: quantile_normaliser_Floats) -> NDArray[np.float32]:
        """(i - 1) / (n_q - 1), float32 of shape (n,); 0 where the value is missing."""
        quantile = self.bucket(values)[:, None]
        return QuantisedNumbers(quantile, np.array([self.quantiles])).normalised()[:, 0]

    def bucket_into(self, values: quantile_normaliser_Floats, out: NDArray[np.integer]) -> None:
        """Write what `bucket` gives into `out`, shape (n,)."""
        _write_quantiles(self._least(values.dtype), values, out)

    def _least(self, dtype: np.dtype[Any]) -> quantile_normaliser_Floats:
        """The least value of the type above each boundary or on it."""
        least: quantile_normaliser_Floats = self.boundaries.astype(dtype)
        below = least < self.boundaries
        least[below] = np.nextafter(least[below], dtype.type(np.inf))
        return least


def boundary_ranks(count: int, quantiles: int) -> NDArray[np.int64]:
    """Of `count` values in order, the places of the least one and of those that are boundaries."""
    return np.arange(min(count, 1) * quantiles) * count // quantiles


@njit(cache=True, nogil=True)
def _write_quantiles(
    least: quantile_normaliser_Floats, values: quantile_normaliser_Floats, out: NDArray[np.integer]
) -> None:
    """One more than how many of `least` are not above each value; 0 for NaN.

    Comparing many values with each boundary is work for the processor's vectors, and six times as
    fast as searching the boundaries for each value, where no step can be foreseen.
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

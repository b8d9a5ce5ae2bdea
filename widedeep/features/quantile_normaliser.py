"""Continuous value → its quantile in [0, 1] (paper, section 4.1)."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.features.number_quantiles import NumberQuantiles
from widedeep.features.order_statistics import at_ranks, finite

Floats = NDArray[np.floating]

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
    def fit(cls, values: Floats, quantiles: int) -> Self:
        """Boundaries of `quantiles` equal shares of the finite `values`, shape (n,)."""
        known = finite(values)
        return cls.of_order(at_ranks(known, deciding_ranks(len(known), quantiles)))

    @classmethod
    def of_order(cls, values: NDArray[np.float64]) -> Self:
        """Boundaries from the values at `deciding_ranks`."""
        found = np.unique(values[1:])
        return cls(found[found > values[:1]])

    def bucket(self, values: Floats) -> NDArray[np.int32]:
        """Quantile 1 … n_q of each value, int32 of shape (n,); 0 where the value is missing."""
        found = np.empty(len(values), np.int32)
        self.bucket_into(values, found)
        return found

    def normalise(self, values: Floats) -> NDArray[np.float32]:
        """(i - 1) / (n_q - 1), float32 of shape (n,); 0 where the value is missing."""
        quantile = self.bucket(values)[:, None]
        return NumberQuantiles(quantile, np.array([self.quantiles])).normalised()[:, 0]

    def bucket_into(self, values: Floats, out: NDArray[np.integer]) -> None:
        """Write what `bucket` gives into `out`, shape (n,)."""
        _write_quantiles(self._least(values.dtype), values, out)

    def _least(self, dtype: np.dtype[Any]) -> Floats:
        """The least value of the type above each boundary or on it."""
        least: Floats = self.boundaries.astype(dtype)
        below = least < self.boundaries
        least[below] = np.nextafter(least[below], dtype.type(np.inf))
        return least


def deciding_ranks(count: int, quantiles: int) -> NDArray[np.int64]:
    """Of `count` values in order, the places of the least one and of those that are boundaries."""
    return np.arange(min(count, 1) * quantiles) * count // quantiles


@njit(cache=True, nogil=True)
def _write_quantiles(least: Floats, values: Floats, out: NDArray[np.integer]) -> None:
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

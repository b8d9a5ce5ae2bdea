"""Continuous value → its quantile in [0, 1] (paper, section 4.1)."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.features.order_statistics import in_order

Floats = NDArray[np.floating]


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
        known = in_order(values)
        return cls.of_order(known[deciding_ranks(len(known), quantiles)])

    @classmethod
    def of_order(cls, values: NDArray[np.float64]) -> Self:
        """Boundaries from the values at `deciding_ranks`."""
        found = np.unique(values[1:])
        return cls(found[found > values[:1]])

    def bucket(self, values: Floats) -> NDArray[np.int32]:
        """Quantile 1 … n_q of each value, int32 of shape (n,); 0 where the value is missing."""
        place = np.searchsorted(self.boundaries, values, side="right") + 1
        return np.where(np.isnan(values), 0, place).astype(np.int32)

    def normalise(self, values: Floats) -> NDArray[np.float32]:
        """(i - 1) / (n_q - 1), float32 of shape (n,); 0 where the value is missing."""
        position = np.maximum(self.bucket(values) - 1, 0)
        return (position / max(self.quantiles - 1, 1)).astype(np.float32)


def deciding_ranks(count: int, quantiles: int) -> NDArray[np.int64]:
    """Of `count` values in order, the places of the least one and of those that are boundaries."""
    return np.arange(min(count, 1) * quantiles) * count // quantiles

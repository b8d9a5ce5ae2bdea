"""Sparse rows of weights, some of which are added up to scores."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Columns = NDArray[np.int32]
Weights = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightedLists:
    """List i has `weights` at `columns`, both from `offsets[i]` to `offsets[i + 1]`."""

    offsets: Ints
    columns: Columns
    weights: Weights

    @classmethod
    def of(cls, lists: Ints, columns: Ints, weights: Weights, count: int) -> Self:
        """Of entries in any order, (n,) each; `count` lists."""
        order = np.argsort(lists, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=count))])
        return cls(offsets, columns[order].astype(np.int32), weights[order].astype(np.float32))

    def added(self, lists: Ints, factors: Scores, width: int) -> Scores:
        """The sum of the named lists, each times its factor (n,), as one row (width,)."""
        total = np.zeros(width)
        _add(self.offsets, self.columns, self.weights, (lists, factors), total)
        return total


@njit(cache=True, nogil=True)
def _add(
    offsets: Ints, columns: Columns, weights: Weights, named: tuple[Ints, Scores], total: Scores
) -> None:
    lists, factors = named
    for i in range(len(lists)):
        for j in range(offsets[lists[i]], offsets[lists[i] + 1]):
            total[columns[j]] += factors[i] * weights[j]

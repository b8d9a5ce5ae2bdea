"""Numbers as a model reads them, one byte each: in which quantile each lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NumberQuantiles:
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

    def take(self, rows: NDArray[Any]) -> "NumberQuantiles":
        """The named rows, in that order."""
        return NumberQuantiles(self.quantile[rows], self.counts)

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

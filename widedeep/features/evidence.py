"""What the wide part's weights rest on: how often each of its features fired in training."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from widedeep.features.ragged import Ragged

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Counts of training rows, stale copies left out.

    Attributes:
        support: int64 (wide_size,), rows that fire each wide id, once each however often it stands
            in a row.
        positives: int64 (wide_size,), those of them with a positive label.
        rows: All rows.
        positive_rows: All rows with a positive label.
    """

    support: Counts
    positives: Counts
    rows: int
    positive_rows: int

    @classmethod
    def count(cls, wide: Ragged, label: NDArray[np.bool_], wide_size: int) -> Self:
        """Count rows of fired ids (as `Encoded.wide`) and their labels, shape (rows,)."""
        support, positives = np.zeros((2, wide_size), np.int64)
        _tally(wide.values, wide.row_numbers(), label, support, positives)
        return cls(support, positives, len(label), int(label.sum()))

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """That of all parts together, no row of which is in two of them; one is held at a time."""

        def both(one: Self, other: Self) -> Self:
            return cls(
                one.support + other.support,
                one.positives + other.positives,
                one.rows + other.rows,
                one.positive_rows + other.positive_rows,
            )

        return reduce(both, parts)

    @property
    def positive_rate(self) -> NDArray[np.float64]:
        """Share of positive labels where each wide id fires, (wide_size,); NaN where none does."""
        return share(self.positives, self.support)

    @property
    def overall_rate(self) -> float:
        """Share of positive labels of all rows, NaN if there are none."""
        return float(share(np.array(self.positive_rows), np.array(self.rows)))

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        total = np.array([self.rows, self.positive_rows], np.int64)
        save_file({"support": self.support, "positives": self.positives, "total": total}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        held = load_file(path)
        return cls(held["support"], held["positives"], *held["total"].tolist())


def share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """`part` / `whole`, float64; NaN where `whole` is 0."""
    nowhere = np.full(np.shape(part), np.nan)
    found: NDArray[np.float64] = np.divide(part, whole, out=nowhere, where=whole != 0)
    return found


@njit(cache=True)
def _tally(
    fired: NDArray[np.int32],
    row: Counts,
    label: NDArray[np.bool_],
    support: Counts,
    positives: Counts,
) -> None:
    last = np.full(len(support), -1)
    for i in range(len(fired)):
        if last[fired[i]] != row[i]:
            last[fired[i]] = row[i]
            support[fired[i]] += 1
            positives[fired[i]] += label[row[i]]

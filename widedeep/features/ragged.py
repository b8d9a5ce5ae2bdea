"""Rows of varying length: one flat array of values, and the offsets at which the rows begin.

`Ragged` holds bags of ids or codes and the wide features that fire in each row. Its methods cost
no Python loop over rows: select, concatenate and stack are numpy operations or compiled code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.parallel import drain, parallel_map, worker_count

Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ragged:
    """`values[offsets[i]:offsets[i + 1]]` is row i; `offsets` are int64 of shape (rows + 1,)."""

    values: NDArray[Any]
    offsets: Offsets

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each row, int64 (rows,)."""
        return np.diff(self.offsets)

    @classmethod
    def from_lengths(cls, values: NDArray[Any], lengths: NDArray[np.integer]) -> Self:
        """Cut `values` into consecutive rows of the given `lengths`, (rows,)."""
        return cls(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    @classmethod
    def one_per_row(cls, values: NDArray[Any]) -> Self:
        """Make each of the `values` (n,) a row of its own."""
        return cls(values, np.arange(len(values) + 1))

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[Any]], dtype: Any) -> Self:  # noqa: ANN401
        """Build rows from Python sequences; meant for small tables and tests."""
        flat = [value for row in rows for value in row]
        lengths = np.array([len(row) for row in rows], np.int64)
        return cls.from_lengths(np.array(flat, dtype), lengths)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts, one part after another."""
        values = np.concatenate([part.values for part in parts])
        return cls.from_lengths(values, np.concatenate([part.lengths for part in parts]))

    @classmethod
    def concatenate_and_clear(cls, parts: list[Self]) -> Self:
        """Concatenate as above, but empty the list on the way, so that no row is held twice."""
        lengths, filled = np.concatenate([part.lengths for part in parts]), 0
        values = np.empty(lengths.sum(), parts[0].values.dtype)
        for part in drain(parts):
            values[filled : filled + len(part.values)] = part.values
            filled += len(part.values)
        return cls.from_lengths(values, lengths)

    @classmethod
    def hstack(cls, blocks: Sequence[Self], rows: int) -> Self:
        """Join blocks of int32 values side by side: row i is row i of each block, in their order.

        Args:
            blocks: Each has `rows` rows; there may be no block at all.
            rows: Number of rows of the result.
        """
        lengths = np.zeros(rows, np.int64)
        for block in blocks:
            lengths += block.lengths
        joined = cls.from_lengths(np.empty(lengths.sum(), np.int32), lengths)
        filled = joined.offsets[:-1].copy()

        def append(part: NDArray[np.int64]) -> None:
            for block in blocks:
                _append_rows(block.values, block.offsets, joined.values, filled, part[0], part[-1])

        parts = [part for part in np.array_split(np.arange(rows), worker_count()) if len(part)]
        parallel_map(append, parts)
        return joined

    def select_rows(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Ragged":
        """Return the given rows, as indexing an array would.

        Args:
            rows: Row numbers (n,), in any order, repeated or counted from the end; or a mask
                (len(self),).

        Raises:
            IndexError: A row number is out of range.
        """
        run = as_slice(rows, len(self))
        if isinstance(run, slice):
            offsets = self.offsets[run.start : run.stop + 1]
            return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        # The cost depends on the selected rows only, because every minibatch selects from all rows.
        numbers = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        lengths = self.offsets[numbers + 1] - self.offsets[numbers]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Ragged(_gather(self.values, self.offsets, numbers, offsets), offsets)

    def row_numbers(self) -> NDArray[np.int64]:
        """Return the row in which each value stands, int64 (len(values),)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def with_values(self, values: NDArray[Any]) -> "Ragged":
        """Return rows of the same lengths with other `values`, (len(self.values),)."""
        return Ragged(values, self.offsets)


def as_slice(rows: NDArray[Any], count: int) -> slice | NDArray[Any]:
    """Return `rows` as a slice if they follow one another, because a slice selects without a copy.

    Args:
        rows: Row numbers (n,) or a mask (count,); returned unchanged unless they are consecutive
            row numbers between 0 and `count`.
        count: Number of rows of the array that is to be indexed.
    """
    if rows.dtype == bool or not len(rows) or rows[0] < 0 or rows[-1] >= count:
        return rows
    if rows[-1] - rows[0] + 1 != len(rows) or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


def _gather(
    values: NDArray[Any], offsets: Offsets, rows: NDArray[np.int64], target: Offsets
) -> NDArray[Any]:
    if values.dtype.kind in "OUT":  # numba knows no strings
        starts = np.repeat(offsets[rows] - target[:-1], np.diff(target))
        strings: NDArray[Any] = values[starts + np.arange(target[-1])]
        return strings
    out = np.empty(target[-1], values.dtype)
    _copy_rows(values, offsets, rows, target, out)
    return out


@compiled
def _copy_rows(
    values: NDArray[Any],
    offsets: Offsets,
    rows: NDArray[np.int64],
    target: Offsets,
    out: NDArray[Any],
) -> None:
    for i in range(len(rows)):
        start = offsets[rows[i]]
        for j in range(target[i + 1] - target[i]):
            out[target[i] + j] = values[start + j]


@compiled
def _append_rows(  # noqa: PLR0917  compiled code takes no keywords
    values: NDArray[Any],
    offsets: Offsets,
    out: NDArray[Any],
    filled: Offsets,
    first: int,
    last: int,
) -> None:
    """Copy rows `first` … `last` to `out`, each to where `filled` says; advance `filled`."""
    for i in range(first, last + 1):
        for j in range(offsets[i], offsets[i + 1]):
            out[filled[i]] = values[j]
            filled[i] += 1

"""Rows of varying length: one flat array and the places where each row begins.

Ragged rows and matrices as Arrow columns, and back, equal to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from widedeep.parallel import drain, parallel_map, worker_count

Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ragged:
    """`values[offsets[i]:offsets[i + 1]]` is row i; offsets are int64 of shape (rows + 1,)."""

    values: NDArray[Any]
    offsets: Offsets

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each row, shape (rows,)."""
        return np.diff(self.offsets)

    @classmethod
    def from_lengths(cls, values: NDArray[Any], lengths: NDArray[np.integer]) -> Self:
        """Cut `values` into consecutive rows of the given lengths."""
        return cls(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    @classmethod
    def singles(cls, values: NDArray[Any]) -> Self:
        """A row for each value."""
        return cls(values, np.arange(len(values) + 1))

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[Any]], dtype: Any) -> Self:  # noqa: ANN401
        """Build from Python sequences; for small tables and tests."""
        flat = [value for row in rows for value in row]
        lengths = np.array([len(row) for row in rows], np.int64)
        return cls.from_lengths(np.array(flat, dtype), lengths)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, one after another."""
        values = np.concatenate([part.values for part in parts])
        return cls.from_lengths(values, np.concatenate([part.lengths for part in parts]))

    @classmethod
    def drained(cls, parts: list[Self]) -> Self:
        """As `concatenate`, but the list is emptied on the way, so that no row is held twice."""
        lengths, filled = np.concatenate([part.lengths for part in parts]), 0
        values = np.empty(lengths.sum(), parts[0].values.dtype)
        for part in drain(parts):
            values[filled : filled + len(part.values)] = part.values
            filled += len(part.values)
        return cls.from_lengths(values, lengths)

    @classmethod
    def side_by_side(cls, blocks: Sequence[Self], rows: int) -> Self:
        """Row i is row i of each of the blocks (int32 values), in their order."""
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
        """The named rows, in that order (repeats allowed), as indexing an array names them."""
        run = consecutive(rows, len(self))
        if isinstance(run, slice):
            offsets = self.offsets[run.start : run.stop + 1]
            return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        # Of the cost of the named rows only: every minibatch takes its rows out of all.
        places = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        places = np.where(places < 0, places + len(self), places)
        lengths = self.offsets[places + 1] - self.offsets[places]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Ragged(_gather(self.values, self.offsets, places, offsets), offsets)

    def row_numbers(self) -> NDArray[np.int64]:
        """For each value, the row it stands in; shape (len(values),)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def replace(self, values: NDArray[Any]) -> "Ragged":
        """The same shape with other values."""
        return Ragged(values, self.offsets)


def consecutive(rows: NDArray[Any], count: int) -> slice | NDArray[Any]:
    """Rows of `count` that follow one another as a slice, which names them without a copy.

    Others are given back as they are.
    """
    if rows.dtype == bool or not len(rows) or rows[0] < 0 or rows[-1] >= count:
        return rows
    if rows[-1] - rows[0] + 1 != len(rows) or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


def _gather(
    values: NDArray[Any], offsets: Offsets, rows: NDArray[np.int64], target: Offsets
) -> NDArray[Any]:
    if values.dtype.kind in "OUT":
        starts = np.repeat(offsets[rows] - target[:-1], np.diff(target))
        gathered: NDArray[Any] = values[starts + np.arange(target[-1])]
        return gathered
    out = np.empty(target[-1], values.dtype)
    _copy_rows(values, offsets, rows, target, out)
    return out


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _append_rows(  # noqa: PLR0917  compiled code takes no keywords
    values: NDArray[Any],
    offsets: Offsets,
    out: NDArray[Any],
    filled: Offsets,
    first: int,
    last: int,
) -> None:
    """Put the rows `first` … `last` of `values` where their row of `out` is filled up to."""
    for i in range(first, last + 1):
        for j in range(offsets[i], offsets[i + 1]):
            out[filled[i]] = values[j]
            filled[i] += 1


Scalar = TypeVar("Scalar", bound=np.generic)


def list_array(bag: Ragged) -> pa.Array:
    """A list a row."""
    return pa.LargeListArray.from_arrays(bag.offsets, pa.array(bag.values))


def prefixed_columns(table: pa.Table, prefix: str) -> list[pa.ChunkedArray]:
    """The columns of that prefix, in the order in which they were written."""
    return [table[name] for name in table.column_names if name.startswith(prefix)]


def matrix_of_columns(table: pa.Table, prefix: str, dtype: type[Scalar]) -> NDArray[Scalar]:
    """The columns of that prefix, side by side: (rows, columns)."""
    found = prefixed_columns(table, prefix)
    values = np.empty((len(table), len(found)), dtype)
    for i, column in enumerate(found):
        values[:, i] = column.to_numpy()
    return values


def ragged_from_lists(column: pa.ChunkedArray) -> Ragged:
    """The reverse of `list_array`."""
    array = column.combine_chunks()
    offsets = array.offsets.to_numpy().astype(np.int64)
    return Ragged(np.array(array.flatten()), offsets - offsets[0])

"""Ragged rows and matrices as Arrow columns, and back, equal to the bit."""

from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.features.ragged import Ragged

Scalar = TypeVar("Scalar", bound=np.generic)


def list_array(bag: Ragged) -> pa.Array:
    """A list a row."""
    return pa.LargeListArray.from_arrays(bag.offsets, pa.array(bag.values))


def columns(table: pa.Table, prefix: str) -> list[pa.ChunkedArray]:
    """The columns of that prefix, in the order in which they were written."""
    return [table[name] for name in table.column_names if name.startswith(prefix)]


def matrix(table: pa.Table, prefix: str, dtype: type[Scalar]) -> NDArray[Scalar]:
    """The columns of that prefix, side by side: (rows, columns)."""
    found = columns(table, prefix)
    values = np.empty((len(table), len(found)), dtype)
    for i, column in enumerate(found):
        values[:, i] = column.to_numpy()
    return values


def ragged(column: pa.ChunkedArray) -> Ragged:
    """The reverse of `list_array`."""
    array = column.combine_chunks()
    offsets = array.offsets.to_numpy().astype(np.int64)
    return Ragged(np.array(array.flatten()), offsets - offsets[0])

"""Rows as a model reads them: ids, bags of ids, numbers in [0, 1], and fired wide features."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.features.ragged import Ragged


@dataclass(frozen=True, slots=True)
class Encoded:
    """`categories` int32 (n, categories); `bags` of int32 ids, one a bag feature;

    `numbers` float32 (n, columns); `wide` int32 ids of fired features in one id space.
    """

    categories: NDArray[np.int32]
    bags: tuple[Ragged, ...]
    numbers: NDArray[np.float32]
    wide: Ragged

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.categories)

    def take(self, rows: NDArray[Any]) -> "Encoded":
        """The named rows, in that order."""
        bags = tuple(bag.take(rows) for bag in self.bags)
        return Encoded(self.categories[rows], bags, self.numbers[rows], self.wide.take(rows))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, one after another."""
        return cls(
            np.concatenate([part.categories for part in parts]),
            tuple(Ragged.concatenate(bags) for bags in zip(*(p.bags for p in parts), strict=True)),
            np.concatenate([part.numbers for part in parts]),
            Ragged.concatenate([part.wide for part in parts]),
        )

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        table = pa.table(
            {
                "categories": _fixed(self.categories),
                **{f"bag_{i}": _list(bag) for i, bag in enumerate(self.bags)},
                "numbers": _fixed(self.numbers),
                "wide": _list(self.wide),
            }
        )
        pq.write_table(table, path, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, equal to the bit."""
        table = pq.read_table(path).combine_chunks()
        bags = sorted(
            (name for name in table.column_names if name.startswith("bag_")),
            key=lambda name: int(name.removeprefix("bag_")),
        )
        return cls(
            _matrix(table["categories"]),
            tuple(_ragged(table[name]) for name in bags),
            _matrix(table["numbers"]),
            _ragged(table["wide"]),
        )


def _fixed(matrix: NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def _list(bag: Ragged) -> pa.Array:
    return pa.LargeListArray.from_arrays(bag.offsets, pa.array(bag.values))


def _matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    array = column.combine_chunks()
    return np.array(array.flatten()).reshape(len(array), array.type.list_size)


def _ragged(column: pa.ChunkedArray) -> Ragged:
    array = column.combine_chunks()
    offsets = array.offsets.to_numpy().astype(np.int64)
    return Ragged(np.array(array.flatten()), offsets - offsets[0])

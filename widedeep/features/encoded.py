"""Rows as a model reads them: ids, bags, quantiles of numbers, fired wide features, an offset."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.features.arrow import columns, list_array, matrix, ragged
from widedeep.features.cores import on_all_cores
from widedeep.features.number_quantiles import NumberQuantiles
from widedeep.features.ragged import Ragged

_QUANTILES = b"quantiles"
"""Under it the file tells in how many quantiles each number is."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Columns of n rows.

    `categories`: int32 (n, categories). `bags`: int32 ids, one a bag feature. `wide`: int32 ids of
    fired features in one id space. `offset`: float32 (n,), a logit from which the model starts.
    """

    categories: NDArray[np.int32]
    bags: tuple[Ragged, ...]
    numbers: NumberQuantiles
    wide: Ragged
    offset: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.categories)

    def take(self, rows: NDArray[Any]) -> "Encoded":
        """The named rows, in that order."""
        bags = tuple(bag.take(rows) for bag in self.bags)
        return Encoded(
            self.categories[rows],
            bags,
            self.numbers.take(rows),
            self.wide.take(rows),
            self.offset[rows],
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> Self:
        """The rows of all parts, one after another; what nobody else holds is freed on the way."""
        columns = ((p.wide, *p.bags, p.numbers, p.categories, p.offset) for p in parts)
        wide, *bags, numbers, categories, offset = on_all_cores(
            _drained, map(list, zip(*columns, strict=True))
        )
        return cls(categories, tuple(bags), numbers, wide, offset)

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        table = pa.table(
            {
                **{f"category_{i}": column for i, column in enumerate(self.categories.T)},
                **{f"bag_{i}": list_array(bag) for i, bag in enumerate(self.bags)},
                **{f"number_{i}": column for i, column in enumerate(self.numbers.quantile.T)},
                "wide": list_array(self.wide),
                "offset": self.offset,
            }
        )
        quantiles = {_QUANTILES: json.dumps(self.numbers.counts.tolist())}
        pq.write_table(table.replace_schema_metadata(quantiles), path, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, equal to the bit."""
        table = pq.read_table(path)
        counts = json.loads(table.schema.metadata[_QUANTILES])
        numbers = NumberQuantiles.empty(len(table), counts)
        for i, column in enumerate(columns(table, "number_")):
            numbers.quantile[:, i] = column.to_numpy()
        return cls(
            matrix(table, "category_", np.int32),
            tuple(ragged(column) for column in columns(table, "bag_")),
            numbers,
            ragged(table["wide"]),
            table["offset"].to_numpy().copy(),
        )


def _drained(parts: list[Any]) -> Any:  # noqa: ANN401
    """The parts of a column joined; the list is empty then."""
    if isinstance(parts[0], Ragged):
        return Ragged.drained(parts)
    numbers = isinstance(parts[0], NumberQuantiles)
    found = NumberQuantiles.concatenate(parts) if numbers else np.concatenate(parts)
    parts.clear()
    return found

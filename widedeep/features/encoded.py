"""Rows as a model reads them: ids, bags, quantiles of numbers, fired wide features, an offset.

Rows to learn from or to be judged by.

What the wide part's weights rest on: how often each of its features fired in training.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from widedeep.features.quantiles import QuantisedNumbers
from widedeep.features.ragged import (
    Ragged,
    list_array,
    matrix_of_columns,
    prefixed_columns,
    ragged_from_lists,
)
from widedeep.parallel import parallel_map

_QUANTILES = b"quantiles"
"""Under it the file tells in how many quantiles each number is."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Columns of n rows.

    `categories`: int32 (n, categories). `bags`: int32 ids, one a bag feature. `wide`: int32 ids of
    fired features in one id space. `offset`: float32 (n,), a logit from which the model starts.
    """

    categories: NDArray[np.int32]
    bags: tuple[Ragged, ...]
    numbers: QuantisedNumbers
    wide: Ragged
    offset: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.categories)

    def select_rows(self, rows: NDArray[Any]) -> "EncodedRows":
        """The named rows, in that order."""
        bags = tuple(bag.select_rows(rows) for bag in self.bags)
        return EncodedRows(
            self.categories[rows],
            bags,
            self.numbers.select_rows(rows),
            self.wide.select_rows(rows),
            self.offset[rows],
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> Self:
        """The rows of all parts, one after another; what nobody else holds is freed on the way."""
        columns = ((p.wide, *p.bags, p.numbers, p.categories, p.offset) for p in parts)
        wide, *bags, numbers, categories, offset = parallel_map(
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
        numbers = QuantisedNumbers.empty(len(table), counts)
        for i, column in enumerate(prefixed_columns(table, "number_")):
            numbers.quantile[:, i] = column.to_numpy()
        return cls(
            matrix_of_columns(table, "category_", np.int32),
            tuple(ragged_from_lists(column) for column in prefixed_columns(table, "bag_")),
            numbers,
            ragged_from_lists(table["wide"]),
            table["offset"].to_numpy().copy(),
        )


def _drained(parts: list[Any]) -> Any:  # noqa: ANN401
    """The parts of a column joined; the list is empty then."""
    if isinstance(parts[0], Ragged):
        return Ragged.drained(parts)
    numbers = isinstance(parts[0], QuantisedNumbers)
    found = QuantisedNumbers.concatenate(parts) if numbers else np.concatenate(parts)
    parts.clear()
    return found


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded rows with label (bool) and weight (float32), shape (rows,) each."""

    rows: EncodedRows
    label: NDArray[np.bool_]
    weight: NDArray[np.float32]

    @classmethod
    def unweighted(cls, rows: EncodedRows, label: NDArray[np.bool_]) -> Self:
        """Each row with a weight of 1."""
        return cls(rows, label, np.ones(len(rows), np.float32))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def select_rows(self, rows: NDArray[np.int64]) -> "Examples":
        """The named rows, in that order."""
        return Examples(self.rows.select_rows(rows), self.label[rows], self.weight[rows])

    def save(self, folder: Path) -> None:
        """Write Parquet files into a new `folder`."""
        folder.mkdir()
        self.rows.save(folder / "rows.parquet")
        pq.write_table(
            pa.table({"label": self.label, "weight": self.weight}), folder / "labels.parquet"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        labels = pq.read_table(folder / "labels.parquet")
        rows = EncodedRows.load(folder / "rows.parquet")
        return cls(rows, *(labels[name].to_numpy().copy() for name in ("label", "weight")))


Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FeatureSupport:
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
        return safe_ratio(self.positives, self.support)

    @property
    def overall_rate(self) -> float:
        """Share of positive labels of all rows, NaN if there are none."""
        return float(safe_ratio(np.array(self.positive_rows), np.array(self.rows)))

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        total = np.array([self.rows, self.positive_rows], np.int64)
        save_file({"support": self.support, "positives": self.positives, "total": total}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        held = load_file(path)
        return cls(held["support"], held["positives"], *held["total"].tolist())


def safe_ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
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

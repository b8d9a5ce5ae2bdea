"""Rows as a model reads them, rows to learn from, and the support of wide features.

`EncodedRows` holds codes, bags, quantiles of numbers, fired wide features and a prior logit.
`Examples` adds labels and weights. `FeatureSupport` counts how often each wide feature fired in
training, which is what the weights of the wide part rest on.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from widedeep.compiled import compiled
from widedeep.features.quantiles import QuantisedNumbers
from widedeep.features.ragged import Ragged
from widedeep.parallel import parallel_map

Ints = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)

_QUANTILES = b"quantiles"
"""Key of the Parquet metadata that holds the number of quantiles of each number, as JSON."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Columns of n rows.

    Attributes:
        categories: Codes, int32 (n, categories).
        bags: Codes (int32) by row, one `Ragged` per bag feature.
        numbers: The quantile of each number.
        wide: Wide ids (int32) of the features that fire in each row, all in one id space.
        prior_logit: float32 (n,), the logit from which the model starts.
    """

    categories: NDArray[np.int32]
    bags: tuple[Ragged, ...]
    numbers: QuantisedNumbers
    wide: Ragged
    prior_logit: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.categories)

    def select_rows(self, rows: NDArray[Any]) -> "EncodedRows":
        """Return the given rows (numbers or a mask), in that order."""
        bags = tuple(bag.select_rows(rows) for bag in self.bags)
        return EncodedRows(
            self.categories[rows],
            bags,
            self.numbers.select_rows(rows),
            self.wide.select_rows(rows),
            self.prior_logit[rows],
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> Self:
        """Return the rows of all parts, one part after another.

        A column of a part is freed once it is copied, unless the caller still holds the part.
        """
        columns = ((p.wide, *p.bags, p.numbers, p.categories, p.prior_logit) for p in parts)
        wide, *bags, numbers, categories, prior_logit = parallel_map(
            _concatenate_and_clear, map(list, zip(*columns, strict=True))
        )
        return cls(categories, tuple(bags), numbers, wide, prior_logit)

    def save(self, path: Path) -> None:
        """Write one Parquet file to `path`."""
        table = pa.table(
            {
                **{f"category_{i}": column for i, column in enumerate(self.categories.T)},
                **{f"bag_{i}": _list_array(bag) for i, bag in enumerate(self.bags)},
                **{f"number_{i}": column for i, column in enumerate(self.numbers.quantile.T)},
                "wide": _list_array(self.wide),
                "prior_logit": self.prior_logit,
            }
        )
        quantiles = {_QUANTILES: json.dumps(self.numbers.counts.tolist())}
        pq.write_table(table.replace_schema_metadata(quantiles), path, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file that `save` wrote, equal to the bit."""
        table = pq.read_table(path)
        counts = json.loads(table.schema.metadata[_QUANTILES])
        categories = _prefixed_columns(table, "category_")
        numbers = QuantisedNumbers.empty(len(table), counts)
        _fill_columns(numbers.quantile, _prefixed_columns(table, "number_"))
        return cls(
            _fill_columns(np.empty((len(table), len(categories)), np.int32), categories),
            tuple(_read_lists(column) for column in _prefixed_columns(table, "bag_")),
            numbers,
            _read_lists(table["wide"]),
            table["prior_logit"].to_numpy().copy(),
        )


def _concatenate_and_clear(parts: list[Any]) -> Any:  # noqa: ANN401
    """Join the parts of one column and empty the list."""
    if isinstance(parts[0], Ragged):
        return Ragged.concatenate_and_clear(parts)
    is_quantised = isinstance(parts[0], QuantisedNumbers)
    joined = QuantisedNumbers.concatenate(parts) if is_quantised else np.concatenate(parts)
    parts.clear()
    return joined


def _list_array(bag: Ragged) -> pa.Array:
    return pa.LargeListArray.from_arrays(bag.offsets, pa.array(bag.values))


def _read_lists(column: pa.ChunkedArray) -> Ragged:
    array = column.combine_chunks()
    offsets = array.offsets.to_numpy().astype(np.int64)
    return Ragged(np.array(array.flatten()), offsets - offsets[0])


def _prefixed_columns(table: pa.Table, prefix: str) -> list[pa.ChunkedArray]:
    """Return the columns of that prefix, in the order in which they were written."""
    return [table[name] for name in table.column_names if name.startswith(prefix)]


def _fill_columns(out: NDArray[Scalar], columns: list[pa.ChunkedArray]) -> NDArray[Scalar]:
    for i, column in enumerate(columns):
        out[:, i] = column.to_numpy()
    return out


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded rows with their `label` (bool) and `weight` (float32), shape (rows,) each."""

    rows: EncodedRows
    label: NDArray[np.bool_]
    weight: NDArray[np.float32]

    @classmethod
    def unweighted(cls, rows: EncodedRows, label: NDArray[np.bool_]) -> Self:
        """Give each row a weight of 1; `label` is bool (rows,)."""
        return cls(rows, label, np.ones(len(rows), np.float32))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def select_rows(self, rows: Ints) -> "Examples":
        """Return the given rows, in that order."""
        return Examples(self.rows.select_rows(rows), self.label[rows], self.weight[rows])

    def save(self, folder: Path) -> None:
        """Write two Parquet files into `folder`, which must not exist yet."""
        folder.mkdir()
        self.rows.save(folder / "rows.parquet")
        pq.write_table(
            pa.table({"label": self.label, "weight": self.weight}), folder / "labels.parquet"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files that `save` wrote, equal to the bit."""
        labels = pq.read_table(folder / "labels.parquet")
        rows = EncodedRows.load(folder / "rows.parquet")
        return cls(rows, *(labels[name].to_numpy().copy() for name in ("label", "weight")))


@dataclass(frozen=True, slots=True)
class FeatureSupport:
    """In how many training rows each wide feature fired; stale copies are left out.

    Attributes:
        counts: int64 (wide_size,), rows in which each wide id fires; a row counts once however
            often the id stands in it.
        positives: int64 (wide_size,), those of them with a positive label.
        rows: Number of all rows.
        positive_rows: Number of all rows with a positive label.
    """

    counts: Ints
    positives: Ints
    rows: int
    positive_rows: int

    @classmethod
    def count(cls, wide: Ragged, label: NDArray[np.bool_], wide_size: int) -> Self:
        """Count rows of fired wide ids (as `EncodedRows.wide`) and their labels, shape (rows,)."""
        counts, positives = np.zeros((2, wide_size), np.int64)
        _tally(wide.values, wide.row_numbers(), label, counts, positives)
        return cls(counts, positives, len(label), int(label.sum()))

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """Add up the counts of parts that share no row; one part is in memory at a time."""

        def add(left: Self, right: Self) -> Self:
            return cls(
                left.counts + right.counts,
                left.positives + right.positives,
                left.rows + right.rows,
                left.positive_rows + right.positive_rows,
            )

        return reduce(add, parts)

    @property
    def positive_rate(self) -> NDArray[np.float64]:
        """Share of positive labels where each wide id fires, (wide_size,); NaN if it never does."""
        return safe_ratio(self.positives, self.counts)

    @property
    def overall_rate(self) -> float:
        """Share of positive labels of all rows, NaN if there are none."""
        return float(safe_ratio(np.array(self.positive_rows), np.array(self.rows)))

    def save(self, path: Path) -> None:
        """Write one safetensors file to `path`."""
        total = np.array([self.rows, self.positive_rows], np.int64)
        save_file({"counts": self.counts, "positives": self.positives, "total": total}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file that `save` wrote, equal to the bit."""
        arrays = load_file(path)
        return cls(arrays["counts"], arrays["positives"], *arrays["total"].tolist())


def safe_ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return `part` / `whole`, float64 of their common shape; NaN where `whole` is 0."""
    undefined = np.full(np.shape(part), np.nan)
    ratio: NDArray[np.float64] = np.divide(part, whole, out=undefined, where=whole != 0)
    return ratio


@compiled
def _tally(
    fired: NDArray[np.int32],
    row: Ints,
    label: NDArray[np.bool_],
    counts: Ints,
    positives: Ints,
) -> None:
    last = np.full(len(counts), -1)
    for i in range(len(fired)):
        if last[fired[i]] != row[i]:
            last[fired[i]] = row[i]
            counts[fired[i]] += 1
            positives[fired[i]] += label[row[i]]

"""Rows to learn from or to be judged by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.features.encoded import Encoded


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded rows with label (bool) and weight (float32), shape (rows,) each."""

    rows: Encoded
    label: NDArray[np.bool_]
    weight: NDArray[np.float32]

    @classmethod
    def unweighted(cls, rows: Encoded, label: NDArray[np.bool_]) -> Self:
        """Each row with a weight of 1."""
        return cls(rows, label, np.ones(len(rows), np.float32))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        """The named rows, in that order."""
        return Examples(self.rows.take(rows), self.label[rows], self.weight[rows])

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
        rows = Encoded.load(folder / "rows.parquet")
        return cls(rows, *(labels[name].to_numpy().copy() for name in ("label", "weight")))

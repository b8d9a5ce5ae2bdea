"""Records of arrays as Parquet: a column for each attribute."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def save_columns(record: Any, path: Path) -> None:  # noqa: ANN401  a dataclass with slots
    """Write one Parquet file; every attribute of `record` is an array (n,)."""
    pq.write_table(pa.table({name: getattr(record, name) for name in record.__slots__}), path)


def read_small(path: Path) -> pa.Table:
    """A small Parquet file, without a data set around it and without threads to wait for."""
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)

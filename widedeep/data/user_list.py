"""A file that names users."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.errors import InputError

COLUMN = "user"


def read_users(path: Path) -> NDArray[np.int64]:
    """The users in the column `user` of a CSV or Parquet file, each once, as they first come.

    Raises:
        InputError: There is no such file, it is of another kind, or its users are not integers.
    """
    column = _column(path)
    if not len(column):
        raise InputError(f"{path} has no row; at least one user is wanted")
    if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type)):
        raise InputError(f"{path}: users are of type {column.type}; integers are wanted")
    texts = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    good = pc.fill_null(pc.match_substring_regex(texts, r"^-?[0-9]{1,18}$"), False)
    if not pc.all(good).as_py():
        row = pc.index(good, False).as_py()
        found = column[row].as_py()
        raise InputError(f"{path}: user {found!r} in row {row + 1}; an integer is wanted")
    users: NDArray[np.int64] = pd.unique(texts.cast(pa.int64()).to_numpy())
    return users


def _column(path: Path) -> pa.ChunkedArray:
    if not path.is_file():
        raise InputError(f"{path} is no file; one with a column {COLUMN!r} is wanted")
    readers = {".csv": _read_csv, ".parquet": pq.read_table}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} ends in {path.suffix!r}; .csv or .parquet is wanted")
    try:
        table = readers[path.suffix.lower()](path)
    except (pa.ArrowException, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {reason}") from error
    if table.column_names.count(COLUMN) != 1:
        raise InputError(f"{path} has columns {table.column_names}; one named {COLUMN!r} is wanted")
    return table[COLUMN]


def _read_csv(path: Path) -> pa.Table:
    """With users as text: what is an integer is for us to judge."""
    options = pa_csv.ConvertOptions(column_types={COLUMN: pa.string()})
    return pa_csv.read_csv(path, convert_options=options)

"""Many small files of one form, read and checked together.

A folder may gain a file an hour. Each step on the way to checked rows costs a fixed time, however
few rows it is given, so the rows of such files are joined before they are cut into columns. What
becomes of a row does not depend on that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.files import DataFile, DelimitedFile, FileRange, ParquetFile, Rows
from widedeep.data.values import recognise_unit, recognise_units

_LARGEST = 1 << 22
_MOST_BYTES = 1 << 23

SmallFile = DelimitedFile | ParquetFile


@dataclass(frozen=True, slots=True)
class JoinedFile:
    """Small files of one form, read as one: many parts cost as much as one file.

    Its rows are numbered from 0 through all files; `locate` returns where they stand.

    Attributes:
        files: The files, in order.
        rows: Number of rows in each, (files,) int64.
    """

    files: tuple[SmallFile, ...]
    rows: NDArray[np.int64]

    @property
    def path(self) -> Path:
        """The path of the first file, for messages."""
        return self.files[0].path

    @property
    def size(self) -> int:
        """Number of bytes that are read."""
        return sum(file.size for file in self.files)

    @classmethod
    def of(cls, files: Sequence[SmallFile]) -> Self:
        """Count the rows of files of one form."""
        return cls(tuple(files), np.array([file.count_rows() for file in files], np.int64))

    def count_rows(self) -> int:
        """Return the number of rows, good or bad."""
        return int(self.rows.sum())

    def ranges(self) -> Iterator[FileRange]:
        """Yield all files as one part, whatever their number."""
        yield FileRange(0, len(self.files), 0)

    def read(self, part: FileRange) -> Rows:
        """Return the rows of all files; raise InputError if a line has another encoding."""
        del part
        number = np.arange(self.count_rows())
        first = self.files[0]
        if isinstance(first, DelimitedFile):
            text = [f.read_text(f.whole) for f in self.files if isinstance(f, DelimitedFile)]
            return first.cut("\n".join(text), number)
        parts = [file.read(file.whole) for file in self.files]
        columns = pa.concat_tables([part.columns for part in parts])
        return Rows(pa.array(number), columns, pa.nulls(len(number), pa.string()), None)

    def locate(self, number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return for each row number the position of its file, and its line there; (n,) each."""
        ends = np.cumsum(self.rows)
        file = np.searchsorted(ends, number, side="right")
        return file, number - (ends - self.rows)[file] + self.files[0].whole.number

    def with_units(self, column: str) -> list[tuple["JoinedFile", TimeUnit]]:
        """Return runs of files whose times, in a column, have one unit, and that unit."""
        rows = self.read(next(self.ranges()))
        part, _ = self.locate(rows.line.to_numpy())
        units = recognise_units(rows.columns[column], part)
        runs = groupby(zip(self.files, self.rows, units, strict=True), itemgetter(2))
        joined = []
        for unit, run in runs:
            files, counts, _ = zip(*run, strict=True)
            joined.append((JoinedFile(files, np.array(counts, np.int64)), unit))
        return joined


def join_small_files(files: Sequence[DataFile]) -> Iterator[DataFile]:
    """Yield the files, with neighbours that are small and of one form as `JoinedFile`."""
    for _, group in groupby(files, _Grouping()):
        alike = tuple(group)
        small = [file for file in alike if isinstance(file, DelimitedFile | ParquetFile)]
        yield from (JoinedFile.of(small),) if len(small) == len(alike) > 1 else alike


def members(file: DataFile) -> tuple[DataFile, ...]:
    """Return the files that are read together as `file`, or `file` alone."""
    return file.files if isinstance(file, JoinedFile) else (file,)


def with_units(file: DataFile, spec: DatasetSpec) -> Sequence[tuple[DataFile, TimeUnit]]:
    """Return a file with the unit of its times; joined files whose units differ are separated.

    If the spec does not state the unit, it is recognised in the first part of each file.
    """
    table = spec.interactions
    if table.time_unit is not None:
        return [(file, table.time_unit)]
    if isinstance(file, JoinedFile):
        return file.with_units(table.time)
    first = file.read(next(file.ranges()))
    return [(file, recognise_unit(first.columns[table.time]))]


class _Grouping:
    """A key for neighbouring files: equal for those that are to be joined."""

    def __init__(self) -> None:
        self._group = self._size = 0
        self._form: tuple[object, ...] | None = None

    def __call__(self, file: DataFile) -> int:
        form = file.form if isinstance(file, DelimitedFile | ParquetFile) else None
        if file.size >= _LARGEST:
            form = None
        self._size += file.size
        if form is None or form != self._form or self._size > _MOST_BYTES:
            self._group, self._size, self._form = self._group + 1, file.size, form
        return self._group

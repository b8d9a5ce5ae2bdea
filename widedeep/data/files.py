"""The files of a data folder: which ones a table has, and how their rows are read.

`open_table` finds the files of one table of a `DatasetSpec` and checks their columns, `open_tables`
those of all tables. A
`DelimitedFile` (CSV, TSV, `::`, the typed headers of RecBole) is read line by line, a `ParquetFile`
row group by row group; both yield `Rows`: numbered rows with the columns that were asked for, as
text. The number of a row leads back to the file: it is the line of a delimited file, from 1 with
the header, and the row of a Parquet file, from 1.

Comma- and semicolon-separated files may quote a field (`"12"`) within a line; others may not,
because a title may hold any character but a tab.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec
from widedeep.data.dataset_tables import ExtraTable, Table
from widedeep.data.reading.header import (
    BOM,
    LONGEST_QUOTE,
    QUOTING,
    column_names,
    recognise_separator,
    refuse_other_columns,
    refuse_other_forms,
    unquote,
)
from widedeep.inputs import InputError, close_name

_BLOCK = 1 << 23
_LONGEST_HEADER = 1 << 16
_EXACT = float(1 << 53)
_LAST_LINE_ENDS = re.compile(rb"(?:\r?\n){0,2}\Z")


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How the files of a table are read: the columns asked for, and what the spec says of the form.

    Attributes:
        columns: Columns that must be there.
        separator: Between columns; recognised from the header if None.
        names: All columns in order, for files without a header.
        encoding: Of a text file.
    """

    columns: tuple[str, ...]
    separator: str | None = None
    names: tuple[str, ...] | None = None
    encoding: str = "utf-8"

    @classmethod
    def of_table(cls, spec: DatasetSpec, name: str) -> Self:
        """Return the format of a table of the spec."""
        table = spec.named_tables[name]
        return cls(spec.columns_of(name), table.separator, table.columns, table.encoding)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a file.

    Attributes:
        line: Number of each row, (n,) int64.
        columns: The columns asked for, (n,) each: text, or lists where a Parquet file holds lists.
        faults: Why a row cannot be cut into columns, (n,) string, null where it can; the columns of
            such a row are null.
        text: The rows as they stand in the file, (n,); None for a file that is not text.
    """

    line: pa.Array
    columns: pa.Table
    faults: pa.Array
    text: pa.Array | None

    def quote(self, rows: pa.Array) -> pa.Array:
        """Return some rows as text, to show what is wrong with them."""
        if self.text is not None:
            return self.text.take(rows)
        values = self.columns.take(rows).to_pylist()
        return pa.array([json.dumps(row, ensure_ascii=False) for row in values], pa.string())


@dataclass(frozen=True, slots=True)
class FileRange:
    """A part of a file that can be read by itself: its begin, end, and the first row's number."""

    start: int
    end: int
    number: int


class DataFile(Protocol):
    """A file of a table whose columns have been checked."""

    @property
    def path(self) -> Path:
        """Where the file lies on the disk."""

    @property
    def size(self) -> int:
        """Number of bytes that are read."""

    def count_rows(self) -> int:
        """Return the number of rows, good or bad."""

    def ranges(self) -> Iterator[FileRange]:
        """Yield the parts of the file, in order; each has some hundred thousand rows."""

    def read(self, part: FileRange) -> Rows:
        """Return the rows of a part of the file."""


def open_table(spec: DatasetSpec, name: str, folder: Path) -> list["DelimitedFile | ParquetFile"]:
    """Return the files of a table, in the order of its globs; an optional table may have none.

    Raises:
        InputError: A file is missing or is not what the spec says.
    """
    table, file_format = spec.named_tables[name], FileFormat.of_table(spec, name)
    return [open_file(path, file_format) for path in table_paths(table, name, folder)]


def open_tables(spec: DatasetSpec, folder: Path) -> dict[str, list["DelimitedFile | ParquetFile"]]:
    """Return the files of all tables, by table; no row is read.

    Raises:
        InputError: Files are missing or are not what the spec says; a file of each table is named.
    """
    tables, problems = {}, []
    for name in spec.named_tables:
        try:
            tables[name] = open_table(spec, name, folder)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; and ".join(dict.fromkeys(problems)))
    return tables


def table_paths(table: Table, name: str, folder: Path) -> list[Path]:
    """Return the paths of a table's files, in the order of its globs.

    Raises:
        InputError: No file matches, and the table is not optional.
    """
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {problem}; expected a folder of data")
    paths: dict[Path, None] = {}
    for pattern in table.files:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise InputError(f"[{name}] files: {pattern!r} leads out of {folder}")
        paths |= dict.fromkeys(path for path in sorted(folder.glob(pattern)) if path.is_file())
    optional = isinstance(table, ExtraTable) and table.optional
    if not paths and not optional:
        present = sorted(path.name for path in folder.iterdir() if path.is_file())
        hint = close_name(table.files[0], present)
        names = ", ".join(present)[:LONGEST_QUOTE] or "no file"
        raise InputError(
            f"{folder}: [{name}] {' and '.join(table.files)} missing{hint}; found {names}"
        )
    return [*paths]


def open_file(
    path: Path, file_format: FileFormat, size: int | None = None
) -> "DelimitedFile | ParquetFile":
    """Check the columns of one file; its rows are not read yet.

    With `size`, only that many bytes of a delimited file are used, which end with a line end.

    Raises:
        InputError: The file cannot be read, has no row, or lacks a column.
    """
    if path.suffix == ".parquet":
        return ParquetFile.open(path, file_format)
    return DelimitedFile.open(path, file_format, size)


def read_all(file: DataFile) -> Rows:
    """Return all rows at once, for a file that is small beside the interactions."""
    parts = [file.read(part) for part in file.ranges()]
    texts = [part.text for part in parts if part.text is not None]
    return Rows(
        pa.concat_arrays([part.line for part in parts]),
        pa.concat_tables([part.columns for part in parts]),
        pa.concat_arrays([part.faults for part in parts]),
        pa.concat_arrays(texts) if len(texts) == len(parts) else None,
    )


@dataclass(frozen=True, slots=True)
class DelimitedFile:
    """A text file with one row a line, whose header has been checked.

    Attributes:
        path: Where it is.
        columns: The columns asked for.
        separator: Between columns.
        encoding: Of its text.
        header: Its first line; empty without one.
        names: All columns in their order.
        start: Byte at which the first row begins.
        end: Byte behind the last row, without its line end and without one blank line behind that.
        size: Number of bytes that are used.
    """

    path: Path
    columns: tuple[str, ...]
    separator: str
    encoding: str
    header: str
    names: tuple[str, ...]
    start: int
    end: int
    size: int

    @classmethod
    def open(cls, path: Path, file_format: FileFormat, size: int | None = None) -> Self:
        """Check that `path` has the columns; see `open_file`.

        Raises:
            InputError: The file is empty, has another encoding or only a header, or the header
                has another separator, lacks a column or has one twice.
        """
        with path.open("rb") as file:
            first = file.readline(_LONGEST_HEADER)
            size = file.seek(0, 2) if size is None else size
            file.seek(max(size - 4, 0))
            last_ends = _LAST_LINE_ENDS.search(file.read(min(size, 4)))
        end = size - len(last_ends.group() if last_ends else b"")
        refuse_other_forms(path, first)
        encoding = file_format.encoding
        line = _decode(first.removeprefix(BOM), encoding, path, 1).rstrip("\r\n")
        separator = file_format.separator or recognise_separator(line)
        if file_format.names is None:
            names = column_names(line, path, file_format.columns, separator)
            header, start = line, len(first)
        else:
            names, header, start = file_format.names, "", 0
            refuse_other_columns(path, names, file_format.columns)
        if end <= start:
            raise InputError(f"{path} has only a header; expected at least one row")
        columns = file_format.columns
        return cls(path, columns, separator, encoding, header, names, start, end, size)

    def count_rows(self) -> int:
        """Return the number of rows, good or bad."""
        return sum(1 + block.count(b"\n") for block in self._blocks())

    @property
    def whole(self) -> FileRange:
        """All rows, for a file that is small."""
        return FileRange(self.start, self.end, 2 if self.header else 1)

    @property
    def form(self) -> tuple[object, ...]:
        """What files have in common whose rows can be cut into columns together."""
        return (self.header, self.names, self.columns, self.separator, self.encoding)

    def ranges(self) -> Iterator[FileRange]:
        """Yield ranges of bytes, each of whole lines."""
        start, number = self.whole.start, self.whole.number
        for block in self._blocks():
            yield FileRange(start, start + len(block), number)
            start += len(block) + 1
            number += block.count(b"\n") + 1

    def read(self, part: FileRange) -> Rows:
        """Return the rows of a range of bytes.

        Raises:
            InputError: A line has another encoding.
        """
        text = self.read_text(part)
        return self.cut(text, np.arange(part.number, part.number + 1 + text.count("\n")))

    def read_text(self, part: FileRange) -> str:
        """Return the lines of a range of bytes, which `cut` cuts into columns."""
        with self.path.open("rb") as file:
            file.seek(part.start)
            block = file.read(part.end - part.start)
        return _decode(block, self.encoding, self.path, part.number)

    def cut(self, lines: str, number: NDArray[np.int64]) -> Rows:
        """Return lines of files with these columns as rows with these numbers, (n,)."""
        text = _split_lines(lines)
        fields = _split_fields(text, self.separator)
        faults = self._faults(text, fields)
        return Rows(pa.array(number), self._cut(fields, faults), faults, text)

    def _cut(self, fields: pa.ListArray, faults: pa.Array) -> pa.Table:
        """Return the columns asked for; null in rows with a fault."""
        formed = pc.is_null(faults)
        whole = fields if faults.null_count == len(faults) else fields.filter(formed)
        values, width = whole.flatten(), len(self.names)
        first = width * np.arange(len(whole))
        columns = {
            name: values.take(pa.array(first + self.names.index(name))) for name in self.columns
        }
        if len(whole) < len(fields):
            rows = np.cumsum(formed.to_numpy(zero_copy_only=False)) - 1
            at = pc.if_else(formed, pa.array(rows), pa.scalar(None, pa.int64()))
            columns = {name: column.take(at) for name, column in columns.items()}
        return pa.table(columns)

    def _faults(self, text: pa.StringArray, fields: pa.ListArray) -> pa.Array:
        """Return why lines cannot be cut into columns, (n,) string, null where they can."""
        count, none = pc.list_value_length(fields), pa.scalar(None, pa.string())
        wrong = pc.not_equal(count, len(self.names))
        if self.header:
            wrong = pc.or_(wrong, pc.equal(text, self.header))
        if not pc.any(wrong).as_py():
            return pa.nulls(len(text), pa.string())
        miscounted = pc.binary_join_element_wise(
            "wrong number of columns: found ",
            count.cast(pa.string()),
            f", expected {len(self.names)}",
            "",
        )
        reason = pc.if_else(pc.equal(text, self.header), "repeated header", miscounted)
        reason = pc.if_else(pc.equal(text, ""), "blank line", reason)
        return pc.if_else(wrong, reason, none)

    def _blocks(self) -> Iterator[bytes]:
        """Yield blocks of whole lines, without the line end of the last line in each."""
        rest = b""
        with self.path.open("rb") as file:
            file.seek(self.start)
            for offset in range(self.start, self.end, _BLOCK):
                piece = file.read(min(_BLOCK, self.end - offset))
                block, newline, rest = (rest + piece).rpartition(b"\n")
                if newline:
                    yield block
        yield rest


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A Parquet file whose columns have been checked.

    Attributes:
        path: Where it is.
        columns: The columns asked for.
        types: Their types.
        names: All of its columns.
        groups: Number of row groups.
        rows: Number of rows.
        size: Number of bytes.
    """

    path: Path
    columns: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    names: tuple[str, ...]
    groups: int
    rows: int
    size: int

    @classmethod
    def open(cls, path: Path, file_format: FileFormat) -> Self:
        """Check that `path` has the columns; see `open_file`."""
        try:
            with pq.ParquetFile(path) as file:
                schema, metadata = file.schema_arrow, file.metadata
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} is not a readable Parquet file: {error}") from error
        columns, names = file_format.columns, tuple(schema.names)
        refuse_other_columns(path, names, columns)
        types = tuple(schema.field(name).type for name in columns)
        for name, kind in zip(columns, types, strict=True):
            if not is_readable(kind):
                raise InputError(
                    f"{path}: column {name} is of type {kind}; expected values or lists of values"
                )
        if not metadata.num_rows:
            raise InputError(f"{path} has no row; expected at least one")
        groups, rows = metadata.num_row_groups, metadata.num_rows
        return cls(path, columns, types, names, groups, rows, path.stat().st_size)

    @property
    def whole(self) -> FileRange:
        """All rows, for a file that is small."""
        return FileRange(0, self.groups, 1)

    @property
    def form(self) -> tuple[object, ...]:
        """What files have in common whose rows can be joined."""
        return (self.columns, self.types)

    def count_rows(self) -> int:
        """Return the number of rows, good or bad."""
        return self.rows

    def ranges(self) -> Iterator[FileRange]:
        """Yield one row group after another; `start` is its number."""
        with pq.ParquetFile(self.path) as file:
            number = 1
            for group in range(self.groups):
                yield FileRange(group, group + 1, number)
                number += file.metadata.row_group(group).num_rows

    def read(self, part: FileRange) -> Rows:
        """Return the rows of some row groups."""
        with pq.ParquetFile(self.path) as file:
            table = file.read_row_groups([*range(part.start, part.end)], columns=[*self.columns])
        columns = pa.table({name: _as_text(table[name]) for name in self.columns})
        line = pa.array(np.arange(part.number, part.number + len(table)))
        faults = pa.nulls(len(table), pa.string())
        return Rows(line, columns, faults, None)


def is_readable(kind: pa.DataType) -> bool:
    """Return whether a Parquet column holds values, or lists of values, that are read as text."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return not pa.types.is_nested(kind.value_type)
    return not pa.types.is_nested(kind)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as text, as a CSV file would hold it; lists stay lists, of text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.cast(kind.value_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return column.cast(pa.list_(pa.string()))
    if pa.types.is_floating(kind):
        return _float_text(column.cast(pa.float64()))
    return column.cast(pa.string())


def _float_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers as text, whole ones below 2^53 as integers: there a float is exact."""
    whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), _EXACT))
    integers = pc.if_else(whole, column, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.coalesce(integers.cast(pa.string()), column.cast(pa.string()))


def _decode(block: bytes, encoding: str, path: Path, number: int) -> str:
    try:
        return block.decode(encoding)
    except UnicodeDecodeError as error:
        line = number + block.count(b"\n", 0, error.start)
        where = f"byte 0x{block[error.start]:02x} found in line {line}"
        raise InputError(
            f"{path} is not {encoding.upper()}: {where}; save the file as UTF-8, or name its "
            "encoding in dataset.toml"
        ) from error


def _split_lines(block: str) -> pa.StringArray:
    lines = pc.split_pattern(pa.array([block]), "\n").flatten()
    return pc.utf8_rtrim(lines, "\r") if "\r" in block else lines


def _split_fields(text: pa.StringArray, separator: str) -> pa.ListArray:
    if separator in QUOTING and pc.any(pc.match_substring(text, '"')).as_py():
        fields = [unquote(line, separator) for line in text.to_pylist()]
        return pa.array(fields, pa.list_(pa.string()))
    return pc.split_pattern(text, separator)

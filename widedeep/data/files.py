"""Files in KMRD's form: which ones a folder holds, and how their lines are read.

`open_folder` checks the headers and returns a `DelimitedFile` for each file, which reads its lines
as record batches with the columns

| column | content |
|---|---|
| line | int64, the line's number in the file from 1, the header being line 1 |
| text | string, the line without its line end |
| fields | list of strings, as many as the line has |

One row is one line, so the number of a line is known whatever its content. The comma-separated
files may quote a field (`"12"`); the tab-separated files may not, because a title may hold any
character but a tab. Ratings may come in parts: beside or instead of rates.csv a folder may hold
rates-….csv, with which a new export adds ratings without touching those that are there.

Outside the checks of the files themselves, KMRD's column names are not used: `with_internal_names`
is the one place that translates them.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from widedeep.inputs import InputError

_BLOCK = 1 << 23
_LONGEST_HEADER = 1 << 16
_LONGEST_QUOTE = 120
_BOM = b"\xef\xbb\xbf"
_LAST_LINE_ENDS = re.compile(rb"(?:\r?\n){0,2}\Z")
_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}
_INTERNAL_NAMES = {"movie": "item", "rate": "value"}


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What one of KMRD's files looks like: UTF-8 with a header, one row a line."""

    name: str
    separator: str
    columns: tuple[str, ...]
    required: bool = False

    @property
    def stem(self) -> str:
        """The beginning of the names of all files of this format, and of no other format."""
        return self.name.partition(".")[0]


RATES = FileFormat("rates.csv", ",", ("user", "movie", "rate", "time"), required=True)
ITEMS = FileFormat(
    "movies.txt", "\t", ("movie", "title", "title_eng", "year", "grade"), required=True
)
GENRES = FileFormat("genres.csv", ",", ("movie", "genre"))
COUNTRIES = FileFormat("countries.csv", ",", ("movie", "country"))
CASTINGS = FileFormat("castings.csv", ",", ("movie", "people", "order", "leading"))
PEOPLES = FileFormat("peoples.txt", "\t", ("people", "korean", "original"))
FORMATS = (RATES, ITEMS, GENRES, COUNTRIES, CASTINGS, PEOPLES)


def with_internal_names(table: pa.Table) -> pa.Table:
    """Rename KMRD's columns to the words used everywhere else: movie → item, rate → value."""
    return table.rename_columns([_INTERNAL_NAMES.get(name, name) for name in table.column_names])


def open_folder(folder: Path) -> Mapping[str, "DelimitedFile"]:
    """Return the folder's files by name, rates.csv before its parts; optional ones may be absent.

    Raises:
        InputError: The folder or a required file is missing, or a file is not in KMRD's form.
    """
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {problem}; expected a folder with KMRD's files")
    paths = {file_format: _parts(folder, file_format) for file_format in FORMATS}
    missing = [
        file_format.name
        for file_format in FORMATS
        if file_format.required and not paths[file_format]
    ]
    if missing:
        names = [path.name for parts in paths.values() for path in parts]
        present = ", ".join(names) or "none of KMRD's files"
        raise InputError(f"{folder}: {' and '.join(missing)} missing; found {present}")
    return {
        path.name: DelimitedFile.open(path, file_format)
        for file_format in FORMATS
        for path in paths[file_format]
    }


def files_of(
    files: Mapping[str, "DelimitedFile"], file_format: FileFormat
) -> list["DelimitedFile"]:
    """Return the files of one format, in their order."""
    return [file for file in files.values() if file.format is file_format]


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Whole lines of a file: its bytes from `start` to `end`, the first line having `number`."""

    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True)
class DelimitedFile:
    """A file whose header has been checked; its rows are read by `lines`.

    Attributes:
        format: What the file is expected to look like.
        path: Where it is.
        header: Its first line.
        names: The columns of the header in their order; there may be more than expected.
        start: Byte at which the first row begins.
        end: Byte behind the last row, without its line end and without one blank line behind that.
        size: Number of bytes of the whole file.
    """

    format: FileFormat
    path: Path
    header: str
    names: tuple[str, ...]
    start: int
    end: int
    size: int

    @classmethod
    def open(cls, path: Path, file_format: FileFormat, size: int | None = None) -> Self:
        """Check that `path` is a file of that format; its rows are not read yet.

        With `size`, only that many bytes are used, which must end with a line end.

        Raises:
            InputError: The file is empty, is not UTF-8, has only a header, or the header has
                another separator, lacks a column or has one twice.
        """
        with path.open("rb") as file:
            first = file.readline(_LONGEST_HEADER)
            size = file.seek(0, 2) if size is None else size
            file.seek(max(size - 4, 0))
            last_ends = _LAST_LINE_ENDS.search(file.read(min(size, 4)))
        end = size - len(last_ends.group() if last_ends else b"")
        if not first.removeprefix(_BOM).strip():
            raise InputError(f"{path} is empty or starts with a blank line; expected a header")
        header = _decode(first.removeprefix(_BOM), path, 1).rstrip("\r\n")
        names = _column_names(header, path, file_format)
        if end <= len(first):
            raise InputError(f"{path} has only a header; expected at least one row")
        return cls(file_format, path, header, names, len(first), end, size)

    def count_rows(self) -> int:
        """Return the number of rows, good or bad."""
        return sum(1 + block.count(b"\n") for block in self._blocks())

    def lines(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows in their order, some hundred thousand at a time.

        Raises:
            InputError: A line is not UTF-8.
        """
        number = 2
        for block in self._blocks():
            lines = self._parse(block, number)
            yield lines
            number += len(lines)

    def all_lines(self) -> pa.RecordBatch:
        """Return all rows at once, for a file that is small beside the ratings."""
        return pa.concat_batches(self.lines())

    def byte_ranges(self) -> Iterator[ByteRange]:
        """Yield where in the file the batches of `lines` are, so that others can read them."""
        start, number = self.start, 2
        for block in self._blocks():
            yield ByteRange(start, start + len(block), number)
            start += len(block) + 1
            number += block.count(b"\n") + 1

    def read(self, byte_range: ByteRange) -> pa.RecordBatch:
        """Return the rows of one byte range; raises InputError as `lines` does."""
        with self.path.open("rb") as file:
            file.seek(byte_range.start)
            return self._parse(file.read(byte_range.end - byte_range.start), byte_range.number)

    def columns(self, lines: pa.RecordBatch) -> pa.Table:
        """Return the expected columns of `lines` as strings.

        Every line must have as many fields as the header.
        """
        fields, width = lines["fields"].flatten(), len(self.names)
        first = width * np.arange(len(lines))
        positions = {name: first + self.names.index(name) for name in self.format.columns}
        return pa.table({name: fields.take(pa.array(at)) for name, at in positions.items()})

    def _parse(self, block: bytes, number: int) -> pa.RecordBatch:
        """Return the lines of a block; `number` is that of the first one."""
        text = _split_lines(_decode(block, self.path, number))
        numbers = pa.array(np.arange(number, number + len(text)))
        fields = _split_fields(text, self.format.separator)
        return pa.record_batch([numbers, text, fields], names=["line", "text", "fields"])

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


def _parts(folder: Path, file_format: FileFormat) -> list[Path]:
    others = sorted(folder.glob(f"{file_format.stem}-*.csv")) if file_format is RATES else ()
    return [path for path in (folder / file_format.name, *others) if path.is_file()]


def _column_names(header: str, path: Path, file_format: FileFormat) -> tuple[str, ...]:
    names = _split_header(header, file_format.separator)
    twice = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in file_format.columns if name not in names]
    if missing:
        _refuse_other_separator(header, path, file_format)
        raise InputError(
            f"{path}: column {', '.join(missing)} missing; "
            f"found {', '.join(names)[:_LONGEST_QUOTE]}; expected {', '.join(file_format.columns)}"
        )
    if twice:
        raise InputError(f"{path}: column {', '.join(twice)} is in the header more than once")
    return names


def _refuse_other_separator(header: str, path: Path, file_format: FileFormat) -> None:
    for separator, word in _SEPARATORS.items():
        names = _split_header(header, separator)
        if separator != file_format.separator and set(file_format.columns) <= set(names):
            expected = _SEPARATORS[file_format.separator]
            raise InputError(f"{path}: columns are separated by {word}; expected {expected}")


def _split_header(header: str, separator: str) -> tuple[str, ...]:
    return tuple(_unquote(header, separator) if separator == "," else header.split(separator))


def _decode(block: bytes, path: Path, number: int) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        line = number + block.count(b"\n", 0, error.start)
        raise InputError(
            f"{path} is not UTF-8: byte 0x{block[error.start]:02x} found in line {line}; "
            "save the file as UTF-8"
        ) from error


def _split_lines(block: str) -> pa.StringArray:
    lines = pc.split_pattern(pa.array([block]), "\n").flatten()
    return pc.utf8_rtrim(lines, "\r") if "\r" in block else lines


def _split_fields(text: pa.StringArray, separator: str) -> pa.ListArray:
    if separator == "," and pc.any(pc.match_substring(text, '"')).as_py():
        fields = [_unquote(line, separator) for line in text.to_pylist()]
        return pa.array(fields, pa.list_(pa.string()))
    return pc.split_pattern(text, separator)


def _unquote(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True)) or [""]
    except csv.Error:  # a quote is not closed, so the line cannot be split
        return [line]

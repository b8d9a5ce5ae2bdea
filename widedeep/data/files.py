"""KMRD's form: which files a folder holds, and how their lines are read.

One row is one line, so a line's number is known whatever its content. The comma files may quote a
field (`"12"`); the tab files may not, because a title may hold any character but a tab. Ratings may
come in parts: beside or instead of rates.csv a folder may hold rates-….csv, which a new export adds
to without touching what is there.
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


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How one of KMRD's files looks: UTF-8, a header, one row a line."""

    name: str
    separator: str
    columns: tuple[str, ...]
    required: bool = False

    @property
    def stem(self) -> str:
        """What the name of each of its files begins with, and no other form's."""
        return self.name.partition(".")[0]


RATES = FileFormat("rates.csv", ",", ("user", "movie", "rate", "time"), required=True)
ITEMS = FileFormat(
    "movies.txt", "\t", ("movie", "title", "title_eng", "year", "grade"), required=True
)
GENRES = FileFormat("genres.csv", ",", ("movie", "genre"))
COUNTRIES = FileFormat("countries.csv", ",", ("movie", "country"))
CASTINGS = FileFormat("castings.csv", ",", ("movie", "people", "order", "leading"))
PEOPLES = FileFormat("peoples.txt", "\t", ("people", "korean", "original"))
FORMS = (RATES, ITEMS, GENRES, COUNTRIES, CASTINGS, PEOPLES)


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Consecutive lines of a file.

    Attributes:
        number: int64 (n,), the line in the file, counted from 1, the header being line 1.
        text: string (n,), without the line end.
        fields: list<string> (n,), as many a line as it has.
    """

    number: pa.Int64Array
    text: pa.StringArray
    fields: pa.ListArray

    def filter(self, rows: pa.BooleanArray) -> Self:
        """Keep the lines for which `rows`, shape (n,), is true."""
        if pc.all(rows).as_py():
            return self
        return type(self)(*(part.filter(rows) for part in (self.number, self.text, self.fields)))

    def select_rows(self, rows: pa.Int64Array) -> Self:
        """Take the lines at the positions `rows`."""
        return type(self)(*(part.take(rows) for part in (self.number, self.text, self.fields)))


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes `start` … `end` of a file: whole lines, the first of which has the `number`."""

    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True)
class DelimitedFile:
    """A file whose header is as wanted.

    Attributes:
        form: What is wanted of it.
        path: Where it is.
        header: Its first line.
        names: The columns found, in their order; more than wanted is fine.
        start: Byte at which the first row begins.
        end: Byte behind the last row, without its line end and without one blank line behind that.
        size: Bytes of it all.
    """

    form: FileFormat
    path: Path
    header: str
    names: tuple[str, ...]
    start: int
    end: int
    size: int

    @classmethod
    def open(cls, path: Path, form: FileFormat, size: int | None = None) -> Self:
        """Check that `path` is a file of that form; its rows are not read yet.

        With `size` only that many bytes of it, which end a line, are meant.

        Raises:
            InputError: It is empty, not UTF-8, has only a header, or the header has another
                separator, lacks a column or has one twice.
        """
        with path.open("rb") as file:
            first = file.readline(_LONGEST_HEADER)
            size = file.seek(0, 2) if size is None else size
            file.seek(max(size - 4, 0))
            last_ends = _LAST_LINE_ENDS.search(file.read(min(size, 4)))
        end = size - len(last_ends.group() if last_ends else b"")
        if not first.removeprefix(_BOM).strip():
            raise InputError(f"{path} is empty or starts with a blank line; a header is wanted")
        header = _decode(first.removeprefix(_BOM), path, 1).rstrip("\r\n")
        names = _names(header, path, form)
        if end <= len(first):
            raise InputError(f"{path} has only a header; at least one row is wanted")
        return cls(form, path, header, names, len(first), end, size)

    def count(self) -> int:
        """Number of rows, good or bad."""
        return sum(1 + block.count(b"\n") for block in self._blocks())

    def lines(self) -> Iterator[LineBlock]:
        """All rows in their order, some hundred thousand at a time.

        Raises:
            InputError: A line is not UTF-8.
        """
        number = 2
        for block in self._blocks():
            lines = self._cut(block, number)
            yield lines
            number += len(lines.text)

    def stretches(self) -> Iterator[ByteRange]:
        """Where what `lines` gives at a time stands in the file."""
        start, number = self.start, 2
        for block in self._blocks():
            yield ByteRange(start, start + len(block), number)
            start += len(block) + 1
            number += block.count(b"\n") + 1

    def read(self, stretch: ByteRange) -> LineBlock:
        """The rows that stand there; raises as `lines` does."""
        with self.path.open("rb") as file:
            file.seek(stretch.start)
            return self._cut(file.read(stretch.end - stretch.start), stretch.number)

    def all_lines(self) -> LineBlock:
        """All rows at once, for a file that is small beside the ratings."""
        batches = list(self.lines())
        parts = zip(*((batch.number, batch.text, batch.fields) for batch in batches), strict=True)
        return LineBlock(*(pa.concat_arrays(part) for part in parts))

    def columns(self, lines: LineBlock) -> pa.Table:
        """The wanted columns, as strings, of lines that have as many fields as the header."""
        flat, width = lines.fields.flatten(), len(self.names)
        places = {name: self.names.index(name) for name in self.form.columns}
        rows = width * np.arange(len(lines.text))
        return pa.table({name: flat.take(pa.array(rows + j)) for name, j in places.items()})

    def _cut(self, block: bytes, number: int) -> LineBlock:
        """The lines of a block, the first of which has the number."""
        text = _split_lines(_decode(block, self.path, number))
        numbers = pa.array(np.arange(number, number + len(text)))
        return LineBlock(numbers, text, _split_fields(text, self.form.separator))

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, without the line end of the last one in each block."""
        rest = b""
        with self.path.open("rb") as file:
            file.seek(self.start)
            for offset in range(self.start, self.end, _BLOCK):
                piece = file.read(min(_BLOCK, self.end - offset))
                block, newline, rest = (rest + piece).rpartition(b"\n")
                if newline:
                    yield block
        yield rest


def open_folder(folder: Path) -> Mapping[str, DelimitedFile]:
    """The folder's files by their name, rates.csv before its parts; optional ones may be absent.

    Raises:
        InputError: The folder or a required file is missing, or a file is not in KMRD's form.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(f"{folder}: {found} found, a folder with KMRD's files wanted")
    paths = {form: _parts(folder, form) for form in FORMS}
    missing = [form.name for form in FORMS if form.required and not paths[form]]
    if missing:
        names = [path.name for parts in paths.values() for path in parts]
        found = ", ".join(names) or "none of KMRD's files"
        raise InputError(f"{folder}: {' and '.join(missing)} missing; {found} found")
    return {path.name: DelimitedFile.open(path, form) for form in FORMS for path in paths[form]}


def parts_of(files: Mapping[str, DelimitedFile], form: FileFormat) -> tuple[DelimitedFile, ...]:
    """Those of one form, in their order."""
    return tuple(file for file in files.values() if file.form is form)


def _parts(folder: Path, form: FileFormat) -> list[Path]:
    others = sorted(folder.glob(f"{form.stem}-*.csv")) if form is RATES else ()
    return [path for path in (folder / form.name, *others) if path.is_file()]


def _names(header: str, path: Path, form: FileFormat) -> tuple[str, ...]:
    names = _split_header(header, form.separator)
    twice = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in form.columns if name not in names]
    if missing:
        _refuse_other_separator(header, path, form)
        raise InputError(
            f"{path}: column {', '.join(missing)} missing; "
            f"{', '.join(names)[:_LONGEST_QUOTE]} found, {', '.join(form.columns)} wanted"
        )
    if twice:
        raise InputError(f"{path}: column {', '.join(twice)} is in the header more than once")
    return names


def _refuse_other_separator(header: str, path: Path, form: FileFormat) -> None:
    for separator, word in _SEPARATORS.items():
        names = _split_header(header, separator)
        if separator != form.separator and set(form.columns) <= set(names):
            wanted = _SEPARATORS[form.separator]
            raise InputError(f"{path}: {word} found between the columns, {wanted} wanted")


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


def _split_header(header: str, separator: str) -> tuple[str, ...]:
    return tuple(_unquote(header, separator) if separator == "," else header.split(separator))


def _unquote(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True)) or [""]
    except csv.Error:  # a quote that isn't closed: the line has no fields to speak of
        return [line]

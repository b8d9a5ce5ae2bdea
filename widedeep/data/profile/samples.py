"""The first rows of the files in a folder, from which `describe` guesses what they mean.

`read_samples` groups files by their columns. Files of MovieLens without a header are known by their
names.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from widedeep.data.dataset import Side
from widedeep.data.files import FileFormat, is_readable, open_file
from widedeep.data.profile.columns import Column
from widedeep.data.reading.header import recognise_separator, split_header, typed_name
from widedeep.data.values import without_missing_words
from widedeep.inputs import InputError

SAMPLE_ROWS = 200_000
"""Rows of a file that are looked at."""

_ENCODING_BYTES = 1 << 24
_NUMBER = re.compile(r"^\s*-?[0-9]*\.?[0-9]*\s*$")
_FEWEST_OWNERS = 20
_MOST_VALUES_AN_OWNER = 1.001
_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".item", ".user", ".inter", ".parquet")
_MAY_BE_PROSE = (".txt", ".dat", ".data")
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
_WITHOUT_HEADER: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "u.data": ("\t", ("user_id", "item_id", "rating", "timestamp")),
    "u.item": (
        "|",
        ("item_id", "title", "release_date", "video_release_date", "imdb_url", *_GENRES),
    ),
    "u.user": ("|", ("user_id", "age", "gender", "occupation", "zip_code")),
    "ratings.dat": ("::", ("user_id", "movie_id", "rating", "timestamp")),
    "movies.dat": ("::", ("movie_id", "title", "genres")),
    "users.dat": ("::", ("user_id", "gender", "age", "occupation", "zip_code")),
}
"""Files of MovieLens without a header: their separator, and their columns by its documentation."""


@dataclass(frozen=True)
class Sample:
    """The first rows of files with the same columns.

    Attributes:
        paths: The files; the rows are those of the first one.
        columns: Columns by name.
        separator: Between columns; empty for Parquet.
        has_header: Whether the first line holds the names.
        encoding: Of a text file.
        unread: The types of Parquet columns that are neither values nor lists of values, by name.
    """

    paths: tuple[Path, ...]
    columns: Mapping[str, Column]
    separator: str = ""
    has_header: bool = True
    encoding: str = "utf-8"
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows that were looked at."""
        return min(len(column.values) for column in self.columns.values())

    @property
    def path(self) -> Path:
        """The first of the files, whose rows these are."""
        return self.paths[0]

    def owner_of(self, column: Column, user: str | None, item: str) -> Side | None:
        """Return whether a column has one value in all rows of a user, or of an item.

        Args:
            column: One of these columns.
            user: Column of the user's id, if there is one.
            item: Column of the item's id.
        """
        for side, name in ((Side.USER, user), (Side.ITEM, item)):
            if name is None:
                continue
            frame = pd.DataFrame({"owner": self.columns[name].keys, "value": column.keys})
            frame = frame[column.is_present]
            repeated = frame[frame["owner"].duplicated(keep=False)]
            owners, pairs = repeated["owner"].nunique(), len(repeated.drop_duplicates())
            if owners >= _FEWEST_OWNERS and pairs <= _MOST_VALUES_AN_OWNER * owners:
                return side
        return None

    @classmethod
    def read(cls, path: Path, names: Sequence[str] | None = None, separator: str = "") -> Self:
        """Read the first rows of a file; `names` are its columns if it has no header.

        Raises:
            InputError: The file is no table.
        """
        if path.suffix == ".parquet":
            return cls._read_parquet(path)
        encoding = _recognise_encoding(path)
        with path.open("rb") as file:
            first = file.readline(1 << 16).decode(encoding, "replace").rstrip("\r\n")
        first = first.removeprefix("\ufeff")
        separator = separator or recognise_separator(first)
        header = split_header(first, separator)
        if names is None and all(map(_NUMBER.match, header)):
            raise InputError(
                f"{path} has no header: its first line is {first[:80]}; put a line with the names "
                "of the columns above it, or write dataset.toml by hand with columns = […]"
            )
        columns = tuple(names or (typed_name(name, path) for name in header))
        form = FileFormat(columns, separator, columns if names else None, encoding)
        rows = _first_rows(path, form)
        types = [
            name.rpartition(":")[2] if typed_name(name, path) != name else "" for name in header
        ]
        by_name = {
            name: Column(name, without_missing_words(rows[name]), declared)
            for name, declared in zip(columns, types, strict=False)
        }
        return cls((path,), by_name, separator, names is None, encoding)

    @classmethod
    def _read_parquet(cls, path: Path) -> Self:
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} is not a readable Parquet file: {error}") from error
        unread = {entry.name: str(entry.type) for entry in schema if not _is_described(entry.type)}
        columns = tuple(name for name in schema.names if name not in unread)
        if not columns:
            raise InputError(f"{path} has no column of values; found {unread}")
        rows = _first_rows(path, FileFormat(columns))
        return cls((path,), {name: Column(name, rows[name]) for name in columns}, unread=unread)


def _recognise_encoding(path: Path) -> str:
    """Return the encoding that the beginning of a text file can be read in; UTF-8 if there is none.

    A byte over 0x7f alone between ASCII letters, as in Western European text, is not CP949.
    """
    with path.open("rb") as file:
        start = file.read(_ENCODING_BYTES)
    lines = start.rpartition(b"\n")[0] or start
    for encoding in ("utf-8", "cp949", "cp1252"):
        with suppress(UnicodeDecodeError):
            if "\0" not in lines.decode(encoding):
                return encoding
    return "utf-8"


def _is_described(kind: pa.DataType) -> bool:
    """Return whether a Parquet column holds values of which something can be guessed."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return is_readable(kind) and _is_described(kind.value_type)
    return is_readable(kind) and not (pa.types.is_binary(kind) or pa.types.is_null(kind))


def _first_rows(path: Path, file_format: FileFormat) -> pa.Table:
    """Return the first rows that can be cut into columns."""
    file, parts, rows = open_file(path, file_format), [], 0
    for part in file.ranges():
        read = file.read(part)
        parts.append(read.columns.filter(pc.is_null(read.faults)))
        rows += len(parts[-1])
        if rows >= SAMPLE_ROWS:
            break
    if not rows:
        raise InputError(
            f"{path}: none of its rows has as many columns as its header; write each row on one "
            "line, and quote fields that hold the separator"
        )
    return pa.concat_tables(parts).slice(0, SAMPLE_ROWS)


def data_files(folder: Path) -> list[Path]:
    """Return the files in a folder that may hold data."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {problem}; expected a folder of data")
    present = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in present if path.is_file() and path.suffix in _SUFFIXES]
    if not files:
        folders = [path.name for path in present if path.is_dir()]
        hint = f"; is it one of its folders, {', '.join(folders[:5])}?" if folders else ""
        raise InputError(
            f"{folder} has no file of data; expected one of {', '.join(_SUFFIXES)}{hint}"
        )
    return files


def read_samples(files: Sequence[Path]) -> tuple[list[Sample], dict[str, str]]:
    """Return the tables, of which each has the files with the same columns.

    Also return why other files are ignored.
    """
    groups: dict[tuple[str, ...], list[Sample]] = {}
    ignored: dict[str, str] = {}
    for path in files:
        try:
            sample = _read_sample(path)
        except InputError as error:
            if path.suffix not in _MAY_BE_PROSE or path.name in _WITHOUT_HEADER:
                raise
            ignored[path.name] = f"no table: {error}"
            continue
        if len(sample.columns) == 1:
            ignored[path.name] = "one column only"
        else:
            groups.setdefault((*sample.columns, path.suffix), []).append(sample)
    if not groups:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in ignored.items())
        raise InputError(f"{files[0].parent} has no table of data: {reasons}")
    return [
        replace(group[0], paths=tuple(sample.path for sample in group)) for group in groups.values()
    ], ignored


def _read_sample(path: Path) -> Sample:
    separator, names = _WITHOUT_HEADER.get(path.name, ("", ()))
    if not names:
        return Sample.read(path)
    with path.open("rb") as file:
        first = file.readline().decode("utf-8", "replace").split(separator)
    if len(first) != len(names) or not first[0].isdecimal():
        return Sample.read(path)
    return Sample.read(path, names, separator)

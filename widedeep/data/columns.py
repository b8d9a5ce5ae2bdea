"""What the columns of a file look like: the facts from which `describe` guesses what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from widedeep.data.dataset import TimeUnit
from widedeep.data.files import (
    DelimitedFile,
    FileFormat,
    open_file,
    recognise_separator,
    split_header,
    typed_name,
)
from widedeep.data.ids import FIRST_TEXT_KEY, Keys, composed, id_keys
from widedeep.data.validation import parse_numbers, parse_times, recognise_unit
from widedeep.inputs import InputError

SAMPLE_ROWS = 200_000
"""Rows of a file that are looked at."""

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".item", ".user", ".inter", ".parquet")

_YEAR_1980, _YEAR_2100 = 315_532_800, 4_102_444_800
_TYPED_HEADER = (".inter", ".item", ".user")
_TRUTHS = {"0", "1", "0.0", "1.0", "true", "false", "True", "False", ""}
_FEW_IDS = 10
_BAG_SEPARATORS = ("|", ";", ",", " ")


@dataclass(frozen=True)
class Column:
    """A column of a sample of rows: its `name` and its values as text (n,), or as lists."""

    name: str
    values: pa.ChunkedArray
    declared: str = ""

    @property
    def is_list(self) -> bool:
        """Whether each row holds a list of values."""
        return bool(pa.types.is_list(self.values.type))

    @cached_property
    def texts(self) -> pa.ChunkedArray:
        """The values as text, composed and trimmed; lists joined by commas; "" where missing."""
        column = pc.binary_join(self.values, ",") if self.is_list else self.values
        return composed(column.fill_null(""))

    @cached_property
    def missing(self) -> float:
        """The share of rows without a value."""
        return float(pc.mean(pc.equal(self.texts, "").cast(pa.float64())).as_py() or 0.0)

    @cached_property
    def present(self) -> pa.ChunkedArray:
        """The texts of the rows that have a value."""
        return self.texts.filter(pc.not_equal(self.texts, ""))

    @cached_property
    def distinct(self) -> int:
        """Number of different values, without the missing one."""
        return len(self.present.unique())

    @cached_property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return bool(len(self.present)) and not np.isnan(parse_numbers(self.present)).any()

    @cached_property
    def numbers(self) -> np.ndarray:
        """The values as float64 (n,), NaN where missing or no number."""
        return parse_numbers(self.texts)

    @cached_property
    def integers(self) -> bool:
        """Whether all values are plain integers, as ids may be."""
        return bool(len(self.present)) and bool((id_keys(self.present) < FIRST_TEXT_KEY).all())

    @cached_property
    def keys(self) -> Keys:
        """The values as keys of ids, int64 (n,)."""
        return id_keys(self.texts)

    @cached_property
    def may_be_id(self) -> bool:
        """Whether the values can be ids: integers or text, and not only a few in many rows."""
        fractions = self.numeric and not self.integers
        few = self.distinct < _FEW_IDS and len(self.present) > 100 * _FEW_IDS
        return not (self.is_list or fractions or few)

    @cached_property
    def counts_rows(self) -> bool:
        """Whether the values are one integer after another."""
        return self.integers and len(self.keys) > 1 and bool((np.diff(self.keys) == 1).all())

    @cached_property
    def is_flag(self) -> bool:
        """Whether the values are 0 and 1, or true and false."""
        return self.distinct <= 2 and {*self.texts.unique().to_pylist()} <= _TRUTHS  # noqa: PLR2004

    @cached_property
    def time_unit(self) -> TimeUnit | None:
        """The unit in which the values are times from 1980 to 2100; None if they are none."""
        present = self.present
        if not len(present) or (self.numeric and float(np.nanmedian(self.numbers)) < _YEAR_1980):
            return None
        unit = recognise_unit(present)
        seconds = parse_times(present, unit)
        plausible = (seconds >= _YEAR_1980) & (seconds < _YEAR_2100)
        return unit if plausible.mean() > 0.9 else None  # noqa: PLR2004

    @cached_property
    def is_year(self) -> bool:
        """Whether nearly all values are years of the last two centuries."""
        numbers = self.numbers[~np.isnan(self.numbers)]
        if len(numbers) < 0.9 * len(self.present) or not len(numbers):
            return False
        years = (numbers >= 1800) & (numbers <= 2100) & (numbers == np.floor(numbers))  # noqa: PLR2004
        return bool(years.mean() > 0.95 and np.ptp(numbers) > 0)  # noqa: PLR2004

    @cached_property
    def bag_separator(self) -> str | None:
        """What separates several values in a field, if the parts repeat as categories do."""
        if self.numeric or self.is_list:
            return None
        if self.declared == "token_seq":
            return " "
        for separator in _BAG_SEPARATORS:
            if self._is_separated_by(separator):
                return separator
        return None

    def _is_separated_by(self, separator: str) -> bool:
        rows = self.present.unique().slice(0, 5000)
        counts = pc.count_substring(rows, separator)
        if (pc.mean(pc.greater(counts, 0).cast(pa.float64())).as_py() or 0) < 0.2:  # noqa: PLR2004
            return False
        parts = pc.split_pattern(rows, separator).flatten()
        lengths = pc.mean(pc.utf8_length(parts)).as_py() or 0
        distinct = len(parts.unique())
        if separator in {" ", ","}:
            return bool(distinct < 0.05 * len(parts) and lengths < 20)  # noqa: PLR2004
        return bool(distinct < 0.5 * len(parts) and lengths < 30)  # noqa: PLR2004


@dataclass(frozen=True)
class Sample:
    """The first rows of a file.

    Attributes:
        path: The file.
        columns: Its columns by name.
        separator: Between columns; empty for Parquet.
        has_header: Whether the first line holds the names.
        rows: Number of rows in the sample.
    """

    path: Path
    columns: dict[str, Column]
    separator: str
    has_header: bool
    rows: int

    @classmethod
    def read(cls, path: Path, names: Sequence[str] | None = None) -> Self:
        """Read the first rows of a file; `names` are its columns if it has no header.

        Raises:
            InputError: The file is no table.
        """
        if path.suffix == ".parquet":
            return cls._read_parquet(path)
        with path.open("rb") as file:
            first = file.readline(1 << 16).decode("utf-8", "replace").rstrip("\r\n")
        separator = recognise_separator(first.removeprefix("\ufeff"))
        header = split_header(first.removeprefix("\ufeff"), separator)
        declared = {}
        if path.suffix in _TYPED_HEADER and all(":" in name for name in header):
            declared = {typed_name(name, path): name.rpartition(":")[2] for name in header}
        columns = tuple(names or (typed_name(name, path) for name in header))
        file_format = FileFormat(columns, separator, columns if names else None)
        opened = open_file(path, file_format)
        if not isinstance(opened, DelimitedFile):
            raise InputError(f"{path} is no text file")
        table = _first_rows(opened)
        by_name = {n: Column(n, table[n], declared.get(n, "")) for n in columns}
        return cls(path, by_name, separator, names is None, len(table))

    @classmethod
    def _read_parquet(cls, path: Path) -> Self:
        names = tuple(pq.read_schema(path).names)
        opened = open_file(path, FileFormat(names))
        parts, rows = [], 0
        for part in opened.ranges():
            parts.append(opened.read(part).columns)
            rows += len(parts[-1])
            if rows >= SAMPLE_ROWS:
                break
        table = pa.concat_tables(parts).slice(0, SAMPLE_ROWS)
        return cls(path, {n: Column(n, table[n]) for n in names}, "", True, len(table))


def _first_rows(file: DelimitedFile) -> pa.Table:
    """Return the first rows that can be cut into columns."""
    parts, rows = [], 0
    for part in file.ranges():
        read = file.read(part)
        parts.append(read.columns.filter(pc.is_null(read.faults)))
        rows += len(parts[-1])
        if rows >= SAMPLE_ROWS:
            break
    return pa.concat_tables(parts).slice(0, SAMPLE_ROWS)


def tells(column: Column, label: np.ndarray) -> float:
    """Return the AUC with which a column alone tells the label, bool (n,), from .5 to 1.

    The values of a category are ordered by the share of positive labels of other rows with the
    same value, so that a value that occurs once tells nothing.
    """
    if label.all() or not label.any():
        return 0.5
    if column.numeric and column.distinct > 50:  # noqa: PLR2004
        score = np.nan_to_num(column.numbers, nan=float(np.nanmedian(column.numbers)))
    else:
        codes, _ = pd.factorize(np.asarray(column.texts.to_pylist(), object))
        total = np.bincount(codes, label)
        count = np.bincount(codes)
        others = count[codes] - 1
        score = (total[codes] - label + label.mean()) / (others + 1.0)
    ranks = pd.Series(score).rank().to_numpy()
    positives = int(label.sum())
    area = (ranks[label].sum() - positives * (positives + 1) / 2) / (
        positives * (len(label) - positives)
    )
    return float(max(area, 1 - area))


def ids_follow_activity(column: Column) -> bool:
    """Return whether integer ids are ordered by how often they occur, which tells the future."""
    if not column.integers or column.distinct < 100:  # noqa: PLR2004
        return False
    counts = pd.Series(column.keys).value_counts()
    rank = pd.Series(counts.index.to_numpy(float)).corr(
        pd.Series(counts.to_numpy(float)), method="spearman"
    )
    return bool(abs(rank) > 0.8)  # noqa: PLR2004

"""What the columns of a file look like: the facts from which `describe` guesses what they mean."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.ids import FIRST_TEXT_KEY, Keys, composed, id_keys
from widedeep.data.values import parse_numbers, parse_times, recognise_unit

YEAR_1980, YEAR_2100 = 315_532_800, 4_102_444_800
"""UNIX seconds; no interaction of a data set is earlier, and none later."""

SECONDS_A_YEAR = 31_556_952.0
_FIRST_YEAR, _LAST_YEAR = 1800, 2100
_TRUTHS = {"0", "1", "0.0", "1.0", "true", "false", "True", "False", "TRUE", "FALSE", ""}
_NESTED = r"^\s*[\[{].*[\]}]\s*$"
_YEAR = r"((?:18|19|20)[0-9]{2})"
_YEAR_PATTERNS = (rf"\({_YEAR}\)\s*$", rf"(?:^|[-/. ]){_YEAR}$")
_LONGEST_AGO = 1e10
_SHOWN_TEXTS = 5_000
_MOST_DIFFERENT = {
    "|": (0.6, 30, 10**6),
    ";": (0.6, 30, 10**6),
    ",": (0.3, 25, 10**4),
    " ": (0.05, 20, 200),
}
"""By separator of a bag: how many different parts there are at most, as a share of all parts; their
mean length; and how many at most."""

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """A column of a sample of rows.

    Attributes:
        name: As in the file.
        values: Text or lists of text, (n,).
        declared: The type in RecBole's header, such as token_seq; else empty.
    """

    name: str
    values: pa.ChunkedArray
    declared: str = ""

    def take(self, rows: Keys) -> "Column":
        """Return the column of some rows, int64 (m,); the value of row -1 is missing."""
        at = pa.array(rows, mask=rows < 0)
        return Column(self.name, self.values.take(at), self.declared)

    @property
    def is_list(self) -> bool:
        """Whether each row holds a list of values."""
        return bool(pa.types.is_list(self.values.type))

    @cached_property
    def texts(self) -> pa.ChunkedArray:
        """The values as text, composed and trimmed; lists joined by commas; "" where missing."""
        column = pc.binary_join(self.values, ",") if self.is_list else self.values
        return composed(pc.fill_null(column, ""))

    @cached_property
    def is_present(self) -> Mask:
        """Which rows have a value, (n,)."""
        mask: Mask = pc.not_equal(self.texts, "").to_numpy()
        return mask

    @cached_property
    def missing(self) -> float:
        """The share of rows without a value."""
        return 1.0 - float(self.is_present.mean()) if len(self.is_present) else 0.0

    @cached_property
    def present(self) -> pa.ChunkedArray:
        """The texts of the rows that have a value."""
        return self.texts.filter(pa.array(self.is_present))

    @cached_property
    def different(self) -> pa.Array:
        """The different texts, without the missing one, in the order of the file."""
        return self.present.unique()

    @cached_property
    def distinct(self) -> int:
        """Number of different values, without the missing one."""
        return len(self.different)

    @cached_property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return self.distinct > 0 and not np.isnan(parse_numbers(_chunked(self.different))).any()

    @cached_property
    def numbers(self) -> Numbers:
        """The values as float64 (n,), NaN where missing or no number."""
        return parse_numbers(self.texts)

    @cached_property
    def integers(self) -> bool:
        """Whether all values are plain integers, as ids may be."""
        keys = id_keys(_chunked(self.different))
        return self.distinct > 0 and bool((keys < FIRST_TEXT_KEY).all())

    @cached_property
    def fractional(self) -> bool:
        """Whether a value is a number with a fraction."""
        numbers = self.numbers[~np.isnan(self.numbers)]
        return bool((numbers != np.floor(numbers)).any())

    @cached_property
    def keys(self) -> Keys:
        """The values as keys of ids, int64 (n,)."""
        return id_keys(self.texts)

    @cached_property
    def is_flag(self) -> bool:
        """Whether the values are 0 and 1, or true and false, and both occur."""
        return self.distinct == 2 and {*self.different.to_pylist()} <= _TRUTHS  # noqa: PLR2004

    @cached_property
    def time_unit(self) -> TimeUnit | None:
        """The unit in which the values are times from 1980 to 2100; None if they are none."""
        if not self.distinct or (self.numeric and float(np.nanmedian(self.numbers)) < YEAR_1980):
            return None
        unit = recognise_unit(self.present)
        seconds = parse_times(self.present, unit)
        plausible = (seconds >= YEAR_1980) & (seconds < YEAR_2100)
        return unit if plausible.mean() > 0.9 else None  # noqa: PLR2004

    @cached_property
    def seconds(self) -> Keys:
        """The values as UNIX seconds by the recognised unit, int64 (n,); the lowest if none."""
        return parse_times(self.texts, self.time_unit or TimeUnit.SECONDS)

    @cached_property
    def year_pattern(self) -> str | None:
        """The pattern of a year that most texts end with, as in `Toy Story (1995)`."""
        if self.numeric or not self.distinct:
            return None
        for pattern in _YEAR_PATTERNS:
            if _share(pc.match_substring_regex(self.different, pattern)) > 0.9:  # noqa: PLR2004
                return pattern
        return None

    @cached_property
    def years(self) -> Numbers:
        """The values as years, float64 (n,), NaN where they are none.

        A number is a year, an ISO date a year and its fraction, and a text may end with a year.
        """
        if self.numeric:
            return self.numbers
        encoded = self.texts.combine_chunks().dictionary_encode()
        if self.year_pattern is not None:
            pattern = re.compile(self.year_pattern)
            matches = [pattern.search(text) for text in encoded.dictionary.to_pylist()]
            years = np.array([float(match[1]) if match else np.nan for match in matches])
        else:
            seconds = parse_times(_chunked(encoded.dictionary), TimeUnit.ISO).astype(np.float64)
            dated = np.abs(seconds) < _LONGEST_AGO
            years = np.where(dated, 1970.0 + seconds / SECONDS_A_YEAR, np.nan)
        of_rows: Numbers = years[encoded.indices.to_numpy()]
        return of_rows

    @cached_property
    def is_year(self) -> bool:
        """Whether nearly all values are years, or dates, of the last two centuries."""
        years = self.years[self.is_present]
        if not len(years):
            return False
        plausible = (years >= _FIRST_YEAR) & (years <= _LAST_YEAR)
        if self.numeric:
            plausible &= years == np.floor(years)
        return bool(plausible.mean() > 0.95 and np.ptp(years[plausible]) > 0)  # noqa: PLR2004

    @cached_property
    def is_nested(self) -> bool:
        """Whether the texts are lists or objects as Python or JSON write them."""
        return self.distinct > 0 and _share(pc.match_substring_regex(self.different, _NESTED)) > 0.5  # noqa: PLR2004

    @cached_property
    def parts(self) -> pa.Array:
        """The different values in all fields of a bag."""
        if self.is_list:
            return pc.drop_null(pc.list_flatten(self.values)).unique()
        return _split(self.different, self.bag_separator or "").unique()

    @cached_property
    def bag_separator(self) -> str | None:
        """What separates several values in a field, if the parts repeat as categories do."""
        if self.numeric or self.is_list or self.is_nested or not self.distinct:
            return None
        separators = " " if self.declared == "token_seq" else _MOST_DIFFERENT
        return next((mark for mark in separators if self._is_separated_by(mark)), None)

    def _is_separated_by(self, separator: str) -> bool:
        """Return whether the separator cuts texts into parts that occur again and again."""
        rows = self.different.slice(0, _SHOWN_TEXTS)
        parts = _split(rows, separator)
        distinct = len(parts.unique())
        if self.declared == "token_seq":
            return distinct < 0.5 * len(parts)
        separated = _share(pc.match_substring(rows, separator))
        share, length, most = _MOST_DIFFERENT[separator]
        short = (pc.mean(pc.utf8_length(parts)).as_py() or 0.0) < length
        return separated > 0.2 and distinct <= min(share * len(parts), most) and short  # noqa: PLR2004


def _chunked(texts: pa.Array) -> pa.ChunkedArray:
    return pa.chunked_array([texts], pa.string())


def _share(mask: pa.Array) -> float:
    """Return the share of rows that are true."""
    return float(pc.mean(mask.cast(pa.int8())).as_py() or 0.0)


def _split(texts: pa.Array, separator: str) -> pa.Array:
    """Return the trimmed parts of texts that are not empty."""
    parts = pc.split_pattern(texts, separator).flatten() if separator else texts
    trimmed = pc.utf8_trim_whitespace(parts)
    return trimmed.filter(pc.not_equal(trimmed, ""))

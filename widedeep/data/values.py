"""How the text of a file's fields becomes values: numbers, times, labels, bags and titles.

Text that is none is NaN, or the time `NOT_A_TIME`; `validation` sets such rows aside.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.dataset import Feature
from widedeep.data.dataset_tables import LabelRule, TimeUnit, TitleColumn
from widedeep.data.ids import UNKNOWN_KEY, Keys, composed, id_keys

_INTEGER = r"^-?0*[0-9]{1,18}$"
_LONG = r"^-?[0-9]+$"
_WHOLE = r"^(-?[0-9]{1,15})\.0+$"
_ROUNDED = r"^-?[0-9]{16,}\.0+$|^-?[0-9]\.[0-9]+[eE]\+?[0-9]+$"
_MISSING = ("NaN", "nan", "NULL", "null", "None", "<NA>", "\\N")
"""What pandas, SQL and Hive write for a missing value. NA is left out: it is Namibia's code."""
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TRUE, _FALSE = ("1", "1.0", "true", "True", "TRUE"), ("0", "0.0", "false", "False", "FALSE")
_PER_SECOND = {
    TimeUnit.SECONDS: 1,
    TimeUnit.MILLISECONDS: 10**3,
    TimeUnit.MICROSECONDS: 10**6,
    TimeUnit.NANOSECONDS: 10**9,
}
_LATEST_SECONDS = 10**11
NOT_A_TIME = np.iinfo(np.int64).min
_TOO_LARGE = 2.0**63
_SECONDS_A_YEAR = 31_556_952.0
Mask = NDArray[np.bool_]
Texts: TypeAlias = pa.ChunkedArray


def without_missing_words(texts: Texts) -> Texts:
    """Return texts, (n,), empty where a program wrote a word for a missing value, such as NaN."""
    return pc.if_else(pc.is_in(texts, pa.array(_MISSING)), "", texts)


def whole_numbers(texts: Texts) -> Texts:
    """Return texts, (n,), with 5 for 5.0: pandas writes integers so once one of them is missing.

    A number of 16 digits or more stays as it is, since it may have been rounded.
    """
    if not pc.any(pc.match_substring(texts, ".0")).as_py():
        return texts
    return pc.replace_substring_regex(texts, _WHOLE, r"\1")


def were_rounded(texts: Texts) -> Mask:
    """Return which texts, (n,), are integers that were rounded to a float, such as 1.2345e+18."""
    if not pc.any(pc.match_substring(texts, ".")).as_py():
        return np.zeros(len(texts), np.bool_)
    rounded = pc.match_substring_regex(texts, _ROUNDED).fill_null(False)
    return np.asarray(rounded.to_numpy(zero_copy_only=False))


def parse_integers(texts: Texts) -> NDArray[np.float64]:
    """Return float64 (n,), NaN where the text is not an integer of at most 18 digits."""
    numbers: NDArray[np.float64] = _integers(whole_numbers(texts)).to_numpy().astype(np.float64)
    return numbers


def parse_integer_ids(texts: Texts) -> Keys:
    """Return the keys of ids, int64 (n,), `UNKNOWN_KEY` where the text is not an integer."""
    integers = _integers(texts)
    keys: Keys = integers.fill_null(UNKNOWN_KEY).to_numpy()
    if integers.null_count or (keys < 0).any():
        # Negative and longer integers have the keys of their texts.
        others = pc.and_(pc.invert(pc.is_valid(integers)), pc.match_substring_regex(texts, _LONG))
        others = pc.or_(others.fill_null(False), pc.less(integers, 0).fill_null(False))
        keys = keys.copy()
        keys[others.to_numpy(zero_copy_only=False)] = id_keys(texts.filter(others))
    return keys


def parse_numbers(texts: Texts) -> NDArray[np.float64]:
    """Return float64 (n,), NaN where the text is not a finite number."""
    trimmed = pc.utf8_trim_whitespace(texts)
    readable = pc.match_substring_regex(trimmed, _NUMBER)
    if not pc.all(readable, skip_nulls=False).as_py():
        trimmed = pc.if_else(readable, trimmed, pa.scalar(None, pa.string()))
    numbers: NDArray[np.float64] = trimmed.cast(pa.float64()).to_numpy()
    return numbers


def parse_times(texts: Texts, unit: TimeUnit) -> Keys:
    """Return UNIX seconds, int64 (n,), the lowest int64 where the text is not a time.

    Fractions of a second are cut off. ISO-8601 text without a zone is UTC.
    """
    if unit is TimeUnit.ISO:
        encoded = pc.utf8_trim_whitespace(texts).fill_null("").combine_chunks().dictionary_encode()
        parsed = pd.to_datetime(
            pd.Series(encoded.dictionary.to_pylist(), dtype=object),
            utc=True,
            errors="coerce",
            format="ISO8601",
        )
        seconds = np.where(
            parsed.isna(), NOT_A_TIME, parsed.to_numpy("datetime64[s]").astype(np.int64)
        )
        iso: Keys = seconds[encoded.indices.to_numpy()]
        return iso
    numbers = _integers(texts)
    if numbers.null_count:
        fractional = parse_numbers(texts)
        is_time = np.abs(fractional) < _TOO_LARGE  # False for NaN
        whole = np.floor(np.where(is_time, fractional, 0)).astype(np.int64)
        return np.where(is_time, whole // _PER_SECOND[unit], NOT_A_TIME)
    values: Keys = numbers.to_numpy() // _PER_SECOND[unit]
    return values


def recognise_unit(texts: Texts) -> TimeUnit:
    """Return the unit that makes most of the times plausible: ISO text, or by their size."""
    return recognise_units(texts, np.zeros(len(texts), np.int64))[0]


def recognise_units(texts: Texts, part: NDArray[np.int64]) -> list[TimeUnit]:
    """Return the unit of each part of the times; `part` (n,) ascends from 0 without gaps."""
    sizes = np.abs(parse_numbers(texts))
    parts = pd.Series(sizes).groupby(part)
    is_text = (parts.count() < parts.size() / 2).to_numpy()
    bounds = [_LATEST_SECONDS * scale for scale in _PER_SECOND.values()][:-1]
    units = [*_PER_SECOND]
    by_size = np.searchsorted(bounds, parts.median().to_numpy(), side="right")
    known = zip(by_size.tolist(), is_text.tolist(), strict=True)
    return [TimeUnit.ISO if text else units[size] for size, text in known]


def read_labels(rule: LabelRule, texts: Texts) -> tuple[Mask, Mask]:
    """Return the labels and which rows have a readable one, bool (n,) each."""
    texts = pc.utf8_trim_whitespace(plain_column(texts))
    if rule.at_least is not None:
        numbers = parse_numbers(texts)
        return numbers >= rule.at_least, ~np.isnan(numbers)
    if rule.equals is not None:
        text = str(rule.equals).lower() if isinstance(rule.equals, bool) else str(rule.equals)
        equal = pc.fill_null(pc.equal(texts, text), False).to_numpy(zero_copy_only=False)
        return equal, np.ones(len(equal), np.bool_)
    positive = pc.is_in(texts, pa.array(_TRUE)).to_numpy(zero_copy_only=False)
    negative = pc.is_in(texts, pa.array(_FALSE)).to_numpy(zero_copy_only=False)
    return positive, positive | negative


def parse_years(texts: Texts) -> NDArray[np.float64]:
    """Return years, float64 (n,): a number is a year, an ISO date a year and its fraction."""
    years = parse_numbers(texts)
    unread = np.isnan(years)
    if unread.any():
        seconds = parse_times(texts, TimeUnit.ISO).astype(np.float64)
        dated = unread & (seconds != NOT_A_TIME)
        years = np.where(dated, 1970.0 + seconds / _SECONDS_A_YEAR, years)
    return years


def _integers(text: Texts) -> pa.ChunkedArray:
    """Return int64 (n,), null where the text is not an integer of at most 18 digits."""
    plain = pc.and_(pc.ascii_is_decimal(text), pc.less_equal(pc.binary_length(text), 18))
    if not pc.all(plain, skip_nulls=False).as_py():
        text = pc.utf8_trim_whitespace(text)
        readable = pc.match_substring_regex(text, _INTEGER)
        text = pc.if_else(readable, text, pa.scalar(None, pa.string()))
    return text.cast(pa.int64())


def bags(feature: Feature, column: Texts) -> pa.Array:
    """Return the values of a bag, (n,) list of strings, each value once, none empty."""
    if pa.types.is_list(column.type):
        lists = column.to_pylist()
    else:
        texts = without_missing_words(column).fill_null("").to_pylist()
        cut = [text.split(feature.separator) if feature.separator else [text] for text in texts]
        lists = list(cut)
    rows = [
        [*dict.fromkeys(v for value in row or () if (v := str(value or "").strip()))]
        for row in lists
    ]
    values = composed(pa.chunked_array([pa.array([v for row in rows for v in row], pa.string())]))
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values.combine_chunks())


def titles(title: TitleColumn, column: Texts) -> pa.ChunkedArray:
    """Return the display names in a column, (n,) string, "" where there is none."""
    parts = _title_parts(title)
    return map_texts(plain_column(column), lambda text: parts(text)[-1])


def other_titles(title: TitleColumn, column: Texts) -> pa.ChunkedArray:
    """Return the other titles in a column, (n,) string, one a line."""
    parts = _title_parts(title)
    return map_texts(plain_column(column), lambda text: "\n".join(parts(text)[:-1]))


def _title_parts(title: TitleColumn) -> Callable[[str], list[str]]:
    """Return a function that cuts a text into titles, the one to display last."""
    matched = matcher(title.pattern) if title.pattern is not None else None

    def cut(text: str) -> list[str]:
        text = (matched(text) or "") if matched is not None else text
        parts = text.split(title.last_of) if title.last_of is not None else [text]
        return [part for entry in parts if (part := entry.strip())] or [""]

    return cut


def matcher(pattern: str) -> Callable[[str], str | None]:
    """Return a function that finds what the first group of a pattern matches."""
    compiled = re.compile(pattern)

    def match(text: str) -> str | None:
        part = compiled.search(text)
        return part[1] if part is not None else None

    return match


def map_texts(texts: Texts, function: Callable[[str], str | None]) -> pa.ChunkedArray:
    """Return `function` of each text, (n,), called once for each distinct one."""
    encoded = texts.fill_null("").combine_chunks().dictionary_encode()
    values = pa.array([function(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([values.take(encoded.indices)])


def plain_column(column: Texts) -> pa.ChunkedArray:
    """Return a column of text; a list in a cell becomes its values with commas between."""
    if pa.types.is_list(column.type):
        return pc.binary_join(column, ", ")
    return column

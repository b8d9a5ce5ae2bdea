"""What a row of each table must be, and why a row is quarantined.

`InteractionRules` and `AttributeRules` split rows of a file into good rows, with typed columns, and
bad rows, with all of their reasons. The reasons speak of the file, so they use its column names;
the good rows have the names of roles and features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec, Feature, FeatureType, Side
from widedeep.data.dataset_tables import TimeUnit, ValueColumn
from widedeep.data.files import DataFile, Rows
from widedeep.data.ids import (
    UNKNOWN_KEY,
    Keys,
    category_texts,
    composed,
    id_keys,
    text_keys,
)
from widedeep.data.values import (
    NOT_A_TIME,
    Mask,
    Texts,
    bags,
    map_texts,
    matcher,
    other_titles,
    parse_integer_ids,
    parse_integers,
    parse_numbers,
    parse_times,
    parse_years,
    plain_column,
    read_labels,
    titles,
    were_rounded,
    whole_numbers,
    without_missing_words,
)

QUARANTINE = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "text": pa.string(),
        "reason": pa.string(),
        "time": pa.int64(),
    }
)
"""Rows that cannot be used: the `file`'s name, the `line` counted from 1 with the header, its raw
`text`, and as `reason` each fault as `what is wrong: "value found"`. `time` is null where the row
has no credible time.
"""

IN_FUTURE = "time is in the future"

_LONGEST_QUOTE = 40


@dataclass(frozen=True, slots=True)
class RowCheck:
    """The good and the bad rows of some lines.

    Attributes:
        good: `line` (int64), and a column for each role and feature.
        bad: Rows with their reasons, with the columns of `QUARANTINE`.
        texts: The ids among the good rows that are not integers: `key` int64, `id` string.
    """

    good: pa.Table
    bad: pa.Table
    texts: pa.Table


@dataclass(slots=True)
class _Faults:
    """The rows of a file that can be cut into columns, and what is wrong with some of them."""

    rows: Rows
    noted: list[tuple[Mask, str, Texts]] = field(default_factory=list)

    def add(self, wrong: Mask, what: str, texts: Texts) -> None:
        """Note that the `wrong` rows, (n,), have this fault; `texts` (n,) hold what was found."""
        known = any(other == what and (wrong <= mask).all() for mask, other, _ in self.noted)
        if wrong.any() and not known:
            self.noted.append((wrong, what, texts))

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column of the file by its name."""
        return self.rows.columns[name]

    def split(
        self, file: DataFile, good: Mapping[str, Any], time: Keys | None, texts: list[pa.Table]
    ) -> RowCheck:
        """Return the rows without a fault, with the columns `good`, and the others."""
        faulty = np.zeros(len(self.rows.line), np.bool_)
        for wrong, _, _ in self.noted:
            faulty |= wrong
        uncut = pc.is_valid(self.rows.faults).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(faulty | uncut)
        passed = pa.array(~(faulty | uncut))
        table = pa.table({"line": self.rows.line, **good})
        if len(bad):
            table = table.filter(passed)
        return RowCheck(table, self._quarantined(file, bad, uncut, time), pa.concat_tables(texts))

    def _quarantined(
        self, file: DataFile, bad: NDArray[np.int64], uncut: Mask, time: Keys | None
    ) -> pa.Table:
        rows = pa.array(bad)
        faults = [self.rows.faults.take(rows)]
        for wrong, what, texts in self.noted:
            at = np.flatnonzero(wrong[bad] & ~uncut[bad])
            quoted = pc.utf8_slice_codeunits(
                pc.fill_null(texts.take(pa.array(bad[at])), ""), 0, _LONGEST_QUOTE
            )
            reasons = np.full(len(bad), None, object)
            reasons[at] = [f'{what}: "{text}"' for text in quoted.to_pylist()]
            faults.append(pa.array(reasons, pa.string()))
        reason = pc.binary_join_element_wise(*faults, "; ", null_handling="skip")
        times = pa.nulls(len(bad), pa.int64())
        if time is not None:
            credible = (time[bad] != NOT_A_TIME) & ~uncut[bad]
            future = pc.match_substring(reason, IN_FUTURE).to_numpy(zero_copy_only=False)
            times = pa.array(time[bad], mask=~credible | future)
        columns = {
            "file": pa.repeat(file.path.name, len(bad)),
            "line": self.rows.line.take(rows),
            "text": self.rows.quote(rows),
            "reason": reason,
            "time": times,
        }
        return pa.table(columns, schema=QUARANTINE)


@dataclass(frozen=True, slots=True)
class InteractionRules:
    """The rules of interactions.

    Attributes:
        spec: The data set.
        items: Keys of the items that may occur; None: any may.
        items_file: Name of the file that lists them, for messages.
        now: UNIX seconds; no time is later.
        unit: Of the time column.
    """

    spec: DatasetSpec
    items: Keys | None
    items_file: str
    now: int
    unit: TimeUnit

    def check(self, file: DataFile, rows: Rows) -> RowCheck:
        """Split rows into good and bad ones.

        The good ones have user and item (int64 keys), time (int64 UNIX seconds), label (bool),
        value (float32), weight (float32, if declared), and a column for each feature that stands in
        the interactions.
        """
        table, faults = self.spec.interactions, _Faults(rows)
        texts = []
        good: dict[str, Any] = {}
        if table.user is not None:
            good["user"], user_texts = _ids(faults, table.user, table.integer_ids)
            texts.append(user_texts)
        good["item"], item_texts = _ids(faults, table.item, table.integer_ids)
        texts.append(item_texts)
        if self.items is not None:
            unknown = ~pd.Series(good["item"]).isin(pd.Index(self.items)).to_numpy()
            unknown &= good["item"] != UNKNOWN_KEY
            faults.add(
                unknown, f"{table.item} is not in {self.items_file}", faults.column(table.item)
            )
        good["time"] = self._times(faults)
        good["label"] = self._labels(faults)
        good["value"] = self._values(faults, good["label"])
        if table.weight is not None:
            good["weight"] = _weights(faults, table.weight)
        for feature in self.spec.features:
            if feature.table == "interactions":
                good[feature.name] = feature_column(feature, faults.column(feature.column), faults)
        return faults.split(file, good, good["time"], texts)

    def _times(self, faults: _Faults) -> Keys:
        column = self.spec.interactions.time
        texts = faults.column(column)
        seconds = parse_times(texts, self.unit)
        unreadable = seconds == NOT_A_TIME
        faults.add(unreadable, f"{column} is not a time", texts)
        faults.add((seconds < 0) & ~unreadable, f"{column} is negative", texts)
        faults.add(seconds > self.now, IN_FUTURE, texts)
        return seconds

    def _labels(self, faults: _Faults) -> Mask:
        table = self.spec.interactions
        if table.label is None:
            return np.ones(len(faults.rows.line), np.bool_)
        texts = faults.column(table.label.column)
        labels, readable = read_labels(table.label, texts)
        if table.value is None or table.value.column != table.label.column:
            expected = "0 or 1" if table.label.at_least is None else "a number"
            faults.add(~readable, f"{table.label.column} is not {expected}", texts)
        return labels

    def _values(self, faults: _Faults, labels: Mask) -> NDArray[np.float32]:
        value = self.spec.interactions.value
        if value is None:
            return labels.astype(np.float32)
        texts = faults.column(value.column)
        numbers = parse_integers(texts) if value.integer else parse_numbers(texts)
        missing = np.isnan(numbers)
        kind = "an integer" if value.integer else "a number"
        faults.add(missing, f"{value.column} is not {kind}", texts)
        outside, words = _outside(value, numbers)
        faults.add(outside & ~missing, f"{value.column} is not {words}", texts)
        return numbers.astype(np.float32)


def _outside(value: ValueColumn, numbers: NDArray[np.float64]) -> tuple[Mask, str]:
    """Return which values are out of range, and the range in words."""
    low, high = value.minimum, value.maximum
    outside = np.zeros(len(numbers), np.bool_)
    if low is not None:
        outside |= numbers < low
    if high is not None:
        outside |= numbers > high
    if low is None or high is None:
        return outside, f"at most {high:g}" if high is not None else f"at least {low or 0:g}"
    return outside, f"from {low:g} to {high:g}"


def _weights(faults: _Faults, column: str) -> NDArray[np.float32]:
    texts = faults.column(column)
    numbers = parse_numbers(texts)
    wrong = ~(np.isfinite(numbers) & (numbers > 0))
    faults.add(wrong, f"{column} is not a positive number", texts)
    return numbers.astype(np.float32)


def _ids(faults: _Faults, column: str, integers: bool) -> tuple[Keys, pa.Table]:  # noqa: FBT001
    """Return the keys of a column of ids, and the texts of those that are no integers."""
    texts = whole_numbers(without_missing_words(composed(plain_column(faults.column(column)))))
    keys = parse_integer_ids(texts) if integers else id_keys(texts)
    rounded = were_rounded(texts)
    if rounded.any():
        faults.add(rounded, f"{column} was rounded when it was written as a float", texts)
        keys = np.where(rounded, UNKNOWN_KEY, keys)
    what = f"{column} is not an integer" if integers else f"{column} is empty"
    faults.add((keys == UNKNOWN_KEY) & ~rounded, what, texts)
    return keys, text_keys(texts, keys)


@dataclass(frozen=True, slots=True)
class AttributeRules:
    """The rules of a table of items, users, values of a bag, or names.

    Attributes:
        spec: The data set.
        table: Name of the table.
        unique: Whether an id may occur once only.
        known: Keys of the ids that may occur; None: any may.
        known_file: Name of the file that lists them, for messages.
    """

    spec: DatasetSpec
    table: str
    unique: bool = True
    known: Keys | None = None
    known_file: str = ""

    def check(self, file: DataFile, rows: Rows) -> RowCheck:
        """Split rows into good and bad ones.

        The good ones have `key` (int64), a column `title_<language>` for each language (and
        `also_<language>` with other titles), and one for each feature of the table.
        """
        table, faults = self.spec.named_tables[self.table], _Faults(rows)
        integers = self.spec.interactions.integer_ids
        column: str = table.id  # type: ignore[union-attr]
        key, texts = _ids(faults, column, integers)
        if self.unique:
            repeated = pd.Series(key).duplicated().to_numpy() & (key != UNKNOWN_KEY)
            what = f"{column} repeats that of an earlier line"
            faults.add(repeated, what, faults.column(column))
        if self.known is not None:
            unknown = ~pd.Series(key).isin(pd.Index(self.known)).to_numpy() & (key != UNKNOWN_KEY)
            faults.add(unknown, f"{column} is not in {self.known_file}", faults.column(column))
        good: dict[str, Any] = {"key": key}
        for language, title in table.title.items():  # type: ignore[union-attr]
            texts_of_title = faults.column(title.column)
            good[f"title_{language}"] = titles(title, texts_of_title)
            if title.last_of is not None:
                good[f"also_{language}"] = other_titles(title, texts_of_title)
        for feature in self.spec.features:
            if feature.table == self.table:
                good |= self._feature(feature, faults)
        return faults.split(file, good, None, [texts])

    def _feature(self, feature: Feature, faults: _Faults) -> dict[str, Any]:
        """Return a feature's column; that of a table of values has one value a row."""
        texts = faults.column(feature.column)
        if self.unique:
            return {feature.name: feature_column(feature, texts, faults)}
        values = composed(plain_column(texts))
        selected = _selected(feature, faults.rows.columns)
        empty = pc.fill_null(pc.equal(values, ""), True).to_numpy(zero_copy_only=False)
        faults.add(empty & selected, f"{feature.column} is empty", texts)
        columns = {
            feature.name: pc.if_else(pa.array(selected), values, pa.scalar(None, pa.string()))
        }
        if feature.order_by is not None:
            order = parse_numbers(faults.column(feature.order_by))
            wrong = np.isnan(order) & selected
            faults.add(
                wrong, f"{feature.order_by} is not a number", faults.column(feature.order_by)
            )
            columns[f"{feature.name} order"] = pa.array(order)
        return columns


def _selected(feature: Feature, columns: pa.Table) -> Mask:
    """Return which rows the feature's `where` selects, (n,)."""
    selected = np.ones(len(columns), np.bool_)
    for name, value in feature.where.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        equal = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(columns[name]), text), False)
        selected &= equal.to_numpy(zero_copy_only=False)
    return selected


def feature_column(feature: Feature, column: Texts, faults: _Faults) -> pa.ChunkedArray | pa.Array:
    """Return a feature's values, (n,): string, float64, or a list of strings; null where missing.

    Values that do not fit the type are noted as faults.
    """
    if feature.type is FeatureType.BAG:
        return bags(feature, column)
    texts = plain_column(column)
    if feature.pattern is not None:
        texts = map_texts(texts, matcher(feature.pattern))
    texts = without_missing_words(composed(texts))
    if feature.type is FeatureType.CATEGORY:
        texts = category_texts(texts)
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    numbers = parse_years(texts) if feature.type is FeatureType.AGE else parse_numbers(texts)
    present = pc.fill_null(pc.not_equal(texts, ""), False).to_numpy(zero_copy_only=False)
    kind = "a year or a date" if feature.type is FeatureType.AGE else "a number"
    wrong = ~np.isfinite(numbers) & present
    faults.add(wrong, f"{feature.column} is not {kind}", texts)
    return pa.array(numbers, mask=~np.isfinite(numbers))


def reason_class(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the first fault of each reason, (n,) string, without the value found."""
    return pc.list_element(pc.split_pattern(reasons, ": "), 0)


SIDES_IN_INTERACTIONS = (Side.ITEM, Side.USER)
"""Sides whose attributes may stand in the interactions' own table."""

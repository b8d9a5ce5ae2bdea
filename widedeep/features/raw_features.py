"""The raw features of queries: what interactions and tables say, before any fitting.

`RawFeatures.compute` looks up history and attributes of each query; a `Transform` is fitted on the
result and encodes it. As an Arrow table (`to_table`) raw features can lie on disk or on another
machine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.dataset import Feature, FeatureType
from widedeep.data.tables import (
    CONTEXT,
    MISSING,
    Categories,
    Interactions,
    context_columns,
    read_context_columns,
)
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import (
    BAGS,
    ColumnSelection,
    HistoryColumns,
    HistoryConfig,
    Queries,
    compute_history,
)
from widedeep.features.ragged import Ragged, as_slice
from widedeep.features.vocabulary import IndexedBag
from widedeep.inputs import InputError

SECONDS_A_YEAR = 31_556_952.0
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_COLUMNS = ("user", "item", "time", "known_until")
_NUMBER = "number_"
"""Prefix of the numeric columns of `to_table`."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RawFeatures:
    """Features of `queries` by name; no label is among them.

    Attributes of items and users stay in their tables and are reached by `item_rows` and
    `user_rows`, int64 (n,), so each is encoded once per item or user and not once per row.
    """

    queries: Queries
    history: HistoryColumns
    tables: FeatureTables
    item_rows: Ints
    user_rows: Ints

    @classmethod
    def compute(
        cls,
        interactions: Interactions,
        queries: Queries,
        tables: FeatureTables,
        config: HistoryConfig,
        prior: float,
        *,
        columns: ColumnSelection | None = None,
    ) -> "RawFeatures":
        """Look up the attributes and the history of each query, of the latter only `columns`.

        Raises:
            InputError: The interactions are not in order of time.
        """
        history = compute_history(
            interactions, queries, tables.items, config, prior, selection=columns
        )
        return cls.from_history(queries, history, tables)

    @classmethod
    def from_history(
        cls, queries: Queries, history: HistoryColumns, tables: FeatureTables
    ) -> "RawFeatures":
        """Add the attributes to a history that was computed elsewhere."""
        items, users = tables.items.find_rows(queries.item), tables.users.find_rows(queries.user)
        return cls(queries, history, tables, items, users)

    @classmethod
    def from_table(cls, table: pa.Table, tables: FeatureTables) -> "RawFeatures":
        """Read what `to_table` returned, equal to the bit; a bag without a column is empty."""
        user, item, time, known_until = (table[name].to_numpy() for name in _COLUMNS)
        queries = Queries(user, item, time, known_until, read_context_columns(table))
        numbers = [name for name in table.column_names if name.startswith(_NUMBER)]
        # Fortran order, because each number is read by itself, as it is in the table.
        numeric = np.empty((len(table), len(numbers)), np.float32, order="F")
        for i, column in enumerate(numbers):
            numeric[:, i] = table[column].to_numpy()
        names = tuple(column.removeprefix(_NUMBER) for column in numbers)
        liked, disliked = (_read_bag(table, name) for name in BAGS)
        return cls.from_history(queries, HistoryColumns(numeric, liked, disliked, names), tables)

    def to_table(self) -> pa.Table:
        """Return a row per query: its columns, one column per number, and the bags as lists."""
        history = self.history
        queries = {name: getattr(self.queries, name) for name in _COLUMNS}
        by_name = zip(history.names, history.numeric.T, strict=True)
        numbers = {f"{_NUMBER}{name}": column for name, column in by_name}
        bags = {name: _list_array(getattr(history, name)) for name in BAGS}
        context = context_columns(self.queries.context)
        return pa.table({**queries, **numbers, **bags, **context})

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.queries)

    def select_rows(self, rows: Ints) -> "RawFeatures":
        """Return the given rows, in that order; without a copy if they follow one another."""
        run = as_slice(rows, len(self))
        return RawFeatures(
            self.queries.select_rows(rows),
            self.history.select_rows(rows),
            self.tables,
            self.item_rows[run],
            self.user_rows[run],
        )

    def category(self, name: str) -> tuple[NDArray[Any], NDArray[np.integer] | None]:
        """Return the ids of a category, (k,), and the position of each row's id in them, (n,).

        Positions that are None stand for 0, 1, …: each row has its own id.

        Raises:
            InputError: There is no such category.
        """
        ids = {"user": self.queries.user, "item": self.queries.item}.get(name)
        if ids is not None:
            return ids, None
        if name in self.tables.items.categories:
            return self.tables.items.categories[name], self.item_rows
        if name in self.tables.users.categories:
            return self.tables.users.categories[name], self.user_rows
        feature = self.tables.context.get(name)
        if feature is None:
            raise InputError(f"no category {name!r}; expected one of {self._names('categories')}")
        column = self._context_category(feature)
        return column.ids, column.codes

    def bag(self, name: str) -> tuple[Ragged, Ints] | IndexedBag:
        """Return a bag: the liked or disliked items by row, or a table's bags and each row's in it.

        Raises:
            InputError: There is no such bag.
        """
        remembered = {"liked": self.history.liked, "disliked": self.history.disliked}.get(name)
        if remembered is not None:
            return remembered
        if name in self.tables.items.bags:
            return self.tables.items.bags[name], self.item_rows
        if name in self.tables.users.bags:
            return self.tables.users.bags[name], self.user_rows
        raise InputError(f"no bag {name!r}; expected one of {self._names('bags')}")

    def number(self, name: str) -> NDArray[np.floating]:
        """Return a numeric feature, shape (n,), NaN where missing.

        Raises:
            InputError: There is no such number, or it was not among the computed columns.
        """
        if name in self.history.names:
            return self.history.column(name)
        items, users = (self.tables.items, self.item_rows), (self.tables.users, self.user_rows)
        for table, rows in (items, users):
            if name in table.numbers:
                return table.numbers[name][rows]
            if name in table.years:
                return years_since(table.years[name][rows], self.queries.time)
        feature = self.tables.context.get(name)
        if feature is None or feature.type is not FeatureType.NUMBER:
            known = [*self.history.names, *self._names("numbers"), *self._names("years")]
            raise InputError(f"no numeric feature {name!r}; expected one of {known}")
        column = self.queries.context.get(name)
        if isinstance(column, np.ndarray):
            return column
        return np.full(len(self), np.nan)

    def _context_category(self, feature: Feature) -> Categories:
        if feature.derived_from_time:
            return calendar_category(feature, self.queries.time)
        column = self.queries.context.get(feature.name)
        if isinstance(column, Categories):
            return column
        return Categories.repeated(MISSING, len(self))

    def _names(self, kind: str) -> list[str]:
        """Return the names of the tables' features of a kind, for messages."""
        tables = self.tables
        names = [*getattr(tables.items, kind), *getattr(tables.users, kind)]
        return sorted([*names, *tables.context])


def calendar_category(feature: Feature, time: Ints) -> Categories:
    """Return the hour (0 to 23), weekday (Mon to Sun) or month (1 to 12) of UNIX seconds, (n,)."""
    local = pd.DatetimeIndex(pd.to_datetime(time, unit="s", utc=True)).tz_convert(feature.time_zone)
    match feature.type:
        case FeatureType.HOUR:
            codes, names = local.hour, tuple(str(hour) for hour in range(24))
        case FeatureType.WEEKDAY:
            codes, names = local.day_of_week, WEEKDAYS
        case _:
            codes, names = local.month - 1, tuple(str(month) for month in range(1, 13))
    return Categories(np.asarray(codes, np.int32), np.array(names, np.dtypes.StringDType()))


def years_since(year: NDArray[np.float64], time: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Return the years from each `year` (n,) to `time`, float64 (n,); NaN if unknown.

    `time` is in UNIX seconds: a scalar or (n,).
    """
    age: NDArray[np.float64] = 1970.0 + time / SECONDS_A_YEAR - year
    return age


def is_table_column(name: str, columns: ColumnSelection | None) -> bool:
    """Return whether a column of `to_table` holds a query or is among the history `columns`."""
    if columns is None or name in _COLUMNS or name.startswith(CONTEXT):
        return True
    return name in columns.bags or name.removeprefix(_NUMBER) in columns.numbers


def _list_array(bag: IndexedBag) -> pa.Array:
    values = pa.DictionaryArray.from_arrays(bag.codes.values, bag.ids)
    return pa.LargeListArray.from_arrays(bag.codes.offsets, values)


def _read_bag(table: pa.Table, name: str) -> IndexedBag:
    if name not in table.column_names:
        return IndexedBag.empty(len(table))
    lists = table[name].combine_chunks()
    values, offsets = lists.flatten(), lists.offsets.to_numpy()
    codes = Ragged(values.indices.to_numpy(), offsets - offsets[0])
    return IndexedBag(codes, values.dictionary.to_numpy())

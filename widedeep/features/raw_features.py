"""The raw features of queries: what the interactions and the item table say, before any fitting.

`RawFeatures.compute` looks up history and attributes of each query; a `Transform` is fitted on the
result and encodes it. As an Arrow table (`to_table`) raw features can lie on disk or on another
machine.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.history import (
    ALL_COLUMNS,
    BAGS,
    NUMERIC,
    ColumnSelection,
    HistoryColumns,
    HistoryConfig,
    Queries,
    compute_history,
)
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged, as_slice
from widedeep.features.vocabulary import IndexedBag
from widedeep.inputs import InputError

Attribute = TypeVar("Attribute")

SECONDS_A_YEAR = 31_556_952.0
ITEM_AGE = "item_age"
NUMBERS = (*NUMERIC, ITEM_AGE)
"""Every numeric raw feature; `item_age` is in years since the original release."""

_NUMBER = "number_"
"""Prefix of the numeric columns of `to_table`."""


@dataclass(frozen=True, slots=True)
class RawFeatures:
    """Features of `queries` by name; no label is among them.

    Attributes of items stay in the item table and are reached by `item_rows`, int64 (n,), so each
    is encoded once per item and not once per row.
    """

    queries: Queries
    history: HistoryColumns
    item_table: ItemTable
    item_rows: NDArray[np.int64]

    @classmethod
    def compute(
        cls,
        interactions: Interactions,
        queries: Queries,
        item_table: ItemTable,
        config: HistoryConfig,
        prior: float,
        *,
        columns: ColumnSelection = ALL_COLUMNS,
    ) -> "RawFeatures":
        """Look up the attributes and the history of each query, of the latter only `columns`.

        Raises:
            InputError: The interactions are not in order of time.
        """
        history = compute_history(
            interactions, queries, item_table, config, prior, selection=columns
        )
        return cls.from_history(queries, history, item_table)

    @classmethod
    def from_history(
        cls, queries: Queries, history: HistoryColumns, item_table: ItemTable
    ) -> "RawFeatures":
        """Add the item attributes to a history that was computed elsewhere."""
        return cls(queries, history, item_table, item_table.find_rows(queries.item))

    @classmethod
    def from_table(cls, table: pa.Table, item_table: ItemTable) -> "RawFeatures":
        """Read what `to_table` returned, equal to the bit; a bag without a column is empty."""
        queries = Queries(*(table[name].to_numpy() for name in Queries.__slots__))
        columns = [name for name in table.column_names if name.startswith(_NUMBER)]
        # Fortran order, because each number is read by itself, as it is in the table.
        numeric = np.empty((len(table), len(columns)), np.float32, order="F")
        for i, column in enumerate(columns):
            numeric[:, i] = table[column].to_numpy()
        names = tuple(column.removeprefix(_NUMBER) for column in columns)
        liked, disliked = (_read_bag(table, name) for name in BAGS)
        return cls.from_history(
            queries, HistoryColumns(numeric, liked, disliked, names), item_table
        )

    def to_table(self) -> pa.Table:
        """Return a row per query: its columns, one column per number, and the bags as lists."""
        history = self.history
        queries = {name: getattr(self.queries, name) for name in Queries.__slots__}
        by_name = zip(history.names, history.numeric.T, strict=True)
        numbers = {f"{_NUMBER}{name}": column for name, column in by_name}
        bags = {name: _list_array(getattr(history, name)) for name in BAGS}
        return pa.table({**queries, **numbers, **bags})

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.queries)

    def select_rows(self, rows: NDArray[np.int64]) -> "RawFeatures":
        """Return the given rows, in that order; without a copy if they follow one another."""
        return RawFeatures(
            self.queries.select_rows(rows),
            self.history.select_rows(rows),
            self.item_table,
            self.item_rows[as_slice(rows, len(self))],
        )

    def entity_ids(self, name: str) -> NDArray[np.int64] | None:
        """Return the `user` or `item` ids, (n,); None if `name` is an attribute of items."""
        return {"user": self.queries.user, "item": self.queries.item}.get(name)

    def history_bag(self, name: str) -> IndexedBag | None:
        """Return the `liked` or `disliked` items by row; None if `name` is an item attribute."""
        return {"liked": self.history.liked, "disliked": self.history.disliked}.get(name)

    def item_category(self, name: str) -> NDArray[Any]:
        """Return a category by row of the item table, shape (items + 1,).

        Raises:
            InputError: The item table has no such category.
        """
        return _attribute(self.item_table.categories, name)

    def item_bag(self, name: str) -> Ragged:
        """Return a bag by row of the item table.

        Raises:
            InputError: The item table has no such bag.
        """
        return _attribute(self.item_table.bags, name)

    def number(self, name: str) -> NDArray[np.floating]:
        """Return a numeric feature, shape (n,), NaN where missing.

        Raises:
            InputError: There is no such number, or it was not among the computed columns.
        """
        if name == ITEM_AGE:
            year = self.item_table.numbers["original_year"][self.item_rows]
            return item_age(year, self.queries.time)
        if name not in self.history.names:
            names = [*self.history.names, ITEM_AGE]
            raise InputError(f"no numeric feature {name!r}; expected one of {names}")
        return self.history.column(name)


def item_age(original_year: NDArray[np.float64], time: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Return the years from each `original_year` (n,) to `time`, float64 (n,); NaN if unknown.

    `time` is in UNIX seconds: a scalar or (n,).
    """
    age: NDArray[np.float64] = 1970.0 + time / SECONDS_A_YEAR - original_year
    return age


def table_columns(columns: ColumnSelection) -> set[str]:
    """Return the names of the columns of `to_table` that hold a query and these history columns."""
    return {*Queries.__slots__, *(_NUMBER + name for name in columns.numbers), *columns.bags}


def _attribute(table: dict[str, Attribute], name: str) -> Attribute:
    if name not in table:
        raise InputError(f"no feature {name!r} in the item table; expected one of {sorted(table)}")
    return table[name]


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

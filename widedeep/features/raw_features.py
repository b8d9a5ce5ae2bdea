"""The raw features of queries: what stands in the log and the item table, before any fitting.

Raw columns as an Arrow table, a row a query; attributes of items stay in the item table.
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
    ColumnSelection,
    HistoryColumns,
    HistoryConfig,
    Queries,
    history_columns,
)
from widedeep.features.history_state import NUMERIC
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged, consecutive
from widedeep.features.vocabulary import IndexedBag
from widedeep.inputs import InputError

Column = TypeVar("Column")

SECONDS_A_YEAR = 31_556_952.0
ITEM_AGE = "item_age"
NUMBERS = (*NUMERIC, ITEM_AGE)
"""Every numeric raw feature; `item_age` is in years since the original release."""


@dataclass(frozen=True, slots=True)
class RawFeatures:
    """Features of `queries` by name; no label is among them.

    Attributes of items stay in the item table and are reached by `item_rows`, so they are encoded
    once a item and not once a row.
    """

    queries: Queries
    history: HistoryColumns
    item_table: ItemTable
    item_rows: NDArray[np.int64]

    @classmethod
    def describe(
        cls,
        interactions: Interactions,
        queries: Queries,
        item_table: ItemTable,
        config: HistoryConfig,
        prior: float,
        *,
        wanted: ColumnSelection = ALL_COLUMNS,
    ) -> "RawFeatures":
        """Look up history, as far as it is wanted, and attributes of each query."""
        history = history_columns(interactions, queries, item_table, config, prior, wanted=wanted)
        return cls.of(queries, history, item_table)

    @classmethod
    def of(cls, queries: Queries, history: HistoryColumns, item_table: ItemTable) -> "RawFeatures":
        """With a history that was looked up elsewhere."""
        return cls(queries, history, item_table, item_table.rows(queries.item))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.queries)

    def select_rows(self, rows: NDArray[np.int64]) -> "RawFeatures":
        """The named rows, in that order; without a copy if they follow one another."""
        return RawFeatures(
            self.queries.select_rows(rows),
            self.history.select_rows(rows),
            self.item_table,
            self.item_rows[consecutive(rows, len(self))],
        )

    def token(self, name: str) -> NDArray[np.int64] | None:
        """User or item tokens, shape (n,); None if `name` is an attribute of items."""
        return {"user": self.queries.user, "item": self.queries.item}.get(name)

    def attribute(self, name: str) -> NDArray[Any]:
        """A category of the item table by item table row, shape (items + 1,)."""
        return _find(self.item_table.categories, name)

    def attribute_bag(self, name: str) -> Ragged:
        """A bag of the item table by item table row."""
        return _find(self.item_table.bags, name)

    def history_bag(self, name: str) -> IndexedBag | None:
        """Items liked or disliked before, by row; None if `name` is an attribute of items."""
        return {"liked": self.history.liked, "disliked": self.history.disliked}.get(name)

    def number(self, name: str) -> NDArray[np.floating]:
        """A numeric feature, shape (n,), NaN where missing."""
        if name == ITEM_AGE:
            year = self.item_table.numbers["original_year"][self.item_rows]
            return item_age(year, self.queries.time)
        if name not in self.history.names:
            held = [*self.history.names, ITEM_AGE]
            raise InputError(f"no numeric feature {name!r}; there are {held}")
        return self.history.column(name)


def item_age(original_year: NDArray[np.float64], time: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Years since the item was new at UNIX seconds `time` (one, or n), shape (n,); NaN: unknown."""
    age: NDArray[np.float64] = 1970.0 + time / SECONDS_A_YEAR - original_year
    return age


def _find(table: dict[str, Column], name: str) -> Column:
    if name not in table:
        raise InputError(f"no feature {name!r} in the catalogue; there are {sorted(table)}")
    return table[name]


_NUMBER = "number_"


def raw_to_table(rows: RawFeatures) -> pa.Table:
    """Columns user, item, time, known_until, one a number, and the lists liked and disliked."""
    queries, history = rows.queries, rows.history
    asked = {name: getattr(queries, name) for name in Queries.__slots__}
    named = zip(history.names, history.numeric.T, strict=True)
    numbers = {f"{_NUMBER}{name}": column for name, column in named}
    bags = {name: _list_array(getattr(history, name)) for name in BAGS}
    return pa.table({**asked, **numbers, **bags})


def table_columns(wanted: ColumnSelection) -> set[str]:
    """The table's columns that tell this of a query's history, and the query's own."""
    return {*Queries.__slots__, *(_NUMBER + name for name in wanted.numbers), *wanted.bags}


def raw_from_table(table: pa.Table, item_table: ItemTable) -> RawFeatures:
    """The reverse of `raw_to_table`, equal to the bit; a bag that is no column of it is empty."""
    queries = Queries(*(table[name].to_numpy() for name in Queries.__slots__))
    names = [name for name in table.column_names if name.startswith(_NUMBER)]
    # Number by number, as they are in the table: each is read by itself.
    numeric = np.empty((len(table), len(names)), np.float32, order="F")
    for i, name in enumerate(names):
        numeric[:, i] = table[name].to_numpy()
    own = tuple(name.removeprefix(_NUMBER) for name in names)
    liked, disliked = (_bag(table, name) for name in BAGS)
    history = HistoryColumns(numeric, liked, disliked, own)
    return RawFeatures.of(queries, history, item_table)


def _list_array(bag: IndexedBag) -> pa.Array:
    values = pa.DictionaryArray.from_arrays(bag.codes.values, bag.tokens)
    return pa.LargeListArray.from_arrays(bag.codes.offsets, values)


def _bag(table: pa.Table, name: str) -> IndexedBag:
    if name not in table.column_names:
        return IndexedBag.empty(len(table))
    lists = table[name].combine_chunks()
    values, offsets = lists.flatten(), lists.offsets.to_numpy()
    codes = Ragged(values.indices.to_numpy(), offsets - offsets[0])
    return IndexedBag(codes, values.dictionary.to_numpy())

"""The raw features of queries: what stands in the log and the catalogue, before any fitting.

Raw columns as an Arrow table, a row a query; attributes of movies stay in the catalogue.
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
from widedeep.features.items import Items
from widedeep.features.ragged import Ragged, consecutive
from widedeep.features.vocabulary import IndexedBag
from widedeep.inputs import InputError

Column = TypeVar("Column")

SECONDS_A_YEAR = 31_556_952.0
FILM_AGE = "film_age"
NUMBERS = (*NUMERIC, FILM_AGE)
"""Every numeric raw feature; `item_age` is in years since the original release."""


@dataclass(frozen=True, slots=True)
class RawFeatures:
    """Features of `queries` by name; no label is among them.

    Attributes of movies stay in the catalogue and are reached by `movie_rows`, so they are encoded
    once a movie and not once a row.
    """

    queries: Queries
    history: HistoryColumns
    catalogue: Items
    movie_rows: NDArray[np.int64]

    @classmethod
    def describe(
        cls,
        log: Interactions,
        queries: Queries,
        catalogue: Items,
        config: HistoryConfig,
        prior: float,
        *,
        wanted: ColumnSelection = ALL_COLUMNS,
    ) -> "RawFeatures":
        """Look up history, as far as it is wanted, and attributes of each query."""
        history = history_columns(log, queries, catalogue, config, prior, wanted=wanted)
        return cls.of(queries, history, catalogue)

    @classmethod
    def of(cls, queries: Queries, history: HistoryColumns, catalogue: Items) -> "RawFeatures":
        """With a history that was looked up elsewhere."""
        return cls(queries, history, catalogue, catalogue.rows(queries.movie))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.queries)

    def take(self, rows: NDArray[np.int64]) -> "RawFeatures":
        """The named rows, in that order; without a copy if they follow one another."""
        return RawFeatures(
            self.queries.take(rows),
            self.history.take(rows),
            self.catalogue,
            self.movie_rows[consecutive(rows, len(self))],
        )

    def token(self, name: str) -> NDArray[np.int64] | None:
        """User or movie tokens, shape (n,); None if `name` is an attribute of movies."""
        return {"user": self.queries.user, "movie": self.queries.movie}.get(name)

    def attribute(self, name: str) -> NDArray[Any]:
        """A category of the catalogue by catalogue row, shape (movies + 1,)."""
        return _find(self.catalogue.categories, name)

    def attribute_bag(self, name: str) -> Ragged:
        """A bag of the catalogue by catalogue row."""
        return _find(self.catalogue.bags, name)

    def history_bag(self, name: str) -> IndexedBag | None:
        """Movies liked or disliked before, by row; None if `name` is an attribute of movies."""
        return {"liked": self.history.liked, "disliked": self.history.disliked}.get(name)

    def number(self, name: str) -> NDArray[np.floating]:
        """A numeric feature, shape (n,), NaN where missing."""
        if name == FILM_AGE:
            year = self.catalogue.numbers["original_year"][self.movie_rows]
            return item_age(year, self.queries.time)
        if name not in self.history.names:
            held = [*self.history.names, FILM_AGE]
            raise InputError(f"no numeric feature {name!r}; there are {held}")
        return self.history.column(name)


def item_age(original_year: NDArray[np.float64], time: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Years since the film was new at UNIX seconds `time` (one, or n), shape (n,); NaN: unknown."""
    age: NDArray[np.float64] = 1970.0 + time / SECONDS_A_YEAR - original_year
    return age


def _find(table: dict[str, Column], name: str) -> Column:
    if name not in table:
        raise InputError(f"no feature {name!r} in the catalogue; there are {sorted(table)}")
    return table[name]


_NUMBER = "number_"


def raw_to_table(rows: RawFeatures) -> pa.Table:
    """Columns user, movie, time, known_until, one a number, and the lists liked and disliked."""
    queries, history = rows.queries, rows.history
    asked = {name: getattr(queries, name) for name in Queries.__slots__}
    named = zip(history.names, history.numeric.T, strict=True)
    numbers = {f"{_NUMBER}{name}": column for name, column in named}
    bags = {name: _list_array(getattr(history, name)) for name in BAGS}
    return pa.table({**asked, **numbers, **bags})


def table_columns(wanted: ColumnSelection) -> set[str]:
    """The table's columns that tell this of a query's history, and the query's own."""
    return {*Queries.__slots__, *(_NUMBER + name for name in wanted.numbers), *wanted.bags}


def raw_from_table(table: pa.Table, catalogue: Items) -> RawFeatures:
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
    return RawFeatures.of(queries, history, catalogue)


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

"""Raw columns as an Arrow table, a row a query; attributes of movies stay in the catalogue."""

import numpy as np
import pyarrow as pa

from widedeep.features.catalogue import Catalogue
from widedeep.features.coded_bag import CodedBag
from widedeep.features.history import Queries
from widedeep.features.history_columns import BAGS, HistoryColumns, Wanted
from widedeep.features.ragged import Ragged
from widedeep.features.raw_columns import RawColumns

_NUMBER = "number_"


def to_table(rows: RawColumns) -> pa.Table:
    """Columns user, movie, time, known_until, one a number, and the lists liked and disliked."""
    queries, history = rows.queries, rows.history
    asked = {name: getattr(queries, name) for name in Queries.__slots__}
    named = zip(history.names, history.numeric.T, strict=True)
    numbers = {f"{_NUMBER}{name}": column for name, column in named}
    bags = {name: _list_array(getattr(history, name)) for name in BAGS}
    return pa.table({**asked, **numbers, **bags})


def columns_of(wanted: Wanted) -> set[str]:
    """The table's columns that tell this of a query's history, and the query's own."""
    return {*Queries.__slots__, *(_NUMBER + name for name in wanted.numbers), *wanted.bags}


def from_table(table: pa.Table, catalogue: Catalogue) -> RawColumns:
    """The reverse of `to_table`, equal to the bit; a bag that is no column of it is empty."""
    queries = Queries(*(table[name].to_numpy() for name in Queries.__slots__))
    names = [name for name in table.column_names if name.startswith(_NUMBER)]
    # Number by number, as they are in the table: each is read by itself.
    numeric = np.empty((len(table), len(names)), np.float32, order="F")
    for i, name in enumerate(names):
        numeric[:, i] = table[name].to_numpy()
    own = tuple(name.removeprefix(_NUMBER) for name in names)
    liked, disliked = (_bag(table, name) for name in BAGS)
    history = HistoryColumns(numeric, liked, disliked, own)
    return RawColumns.of(queries, history, catalogue)


def _list_array(bag: CodedBag) -> pa.Array:
    values = pa.DictionaryArray.from_arrays(bag.codes.values, bag.tokens)
    return pa.LargeListArray.from_arrays(bag.codes.offsets, values)


def _bag(table: pa.Table, name: str) -> CodedBag:
    if name not in table.column_names:
        return CodedBag.empty(len(table))
    lists = table[name].combine_chunks()
    values, offsets = lists.flatten(), lists.offsets.to_numpy()
    codes = Ragged(values.indices.to_numpy(), offsets - offsets[0])
    return CodedBag(codes, values.dictionary.to_numpy())

"""Raw columns as an Arrow table, a row a query; attributes of movies stay in the catalogue."""

import numpy as np
import pyarrow as pa

from widedeep.features.arrow import list_array, matrix, ragged
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import Queries
from widedeep.features.history_columns import HistoryColumns
from widedeep.features.raw_columns import RawColumns

_NUMBER = "number_"


def to_table(rows: RawColumns) -> pa.Table:
    """Columns user, movie, time, known_until, one a number, and the lists liked and disliked."""
    queries, history = rows.queries, rows.history
    asked = {name: getattr(queries, name) for name in Queries.__slots__}
    numbers = {f"{_NUMBER}{i}": column for i, column in enumerate(history.numeric.T)}
    bags = {"liked": list_array(history.liked), "disliked": list_array(history.disliked)}
    return pa.table({**asked, **numbers, **bags})


def from_table(table: pa.Table, catalogue: Catalogue) -> RawColumns:
    """The reverse of `to_table`, equal to the bit."""
    queries = Queries(*(table[name].to_numpy() for name in Queries.__slots__))
    history = HistoryColumns(
        matrix(table, _NUMBER, np.float32), ragged(table["liked"]), ragged(table["disliked"])
    )
    return RawColumns(queries, history, catalogue, catalogue.rows(queries.movie))

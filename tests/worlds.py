"""What tests of several packages build their worlds of: interactions and items in KMRD's form."""

import numpy as np
import pyarrow as pa

from widedeep.data.dataset_file import kmrd_spec
from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.ingest import check_locally
from widedeep.data.ingest import ingest as ingest_with
from widedeep.data.tables import Interactions, SideTables
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import HistoryConfig

KMRD = kmrd_spec("kmrd-small")
KMRD_HISTORY = HistoryConfig(value_scale=10.0, user_attributes=("genres",), attributes=("people",))

ITEM_COLUMNS = pa.schema(
    {
        "item": pa.int64(),
        "id": pa.string(),
        "title_ko": pa.string(),
        "title_en": pa.string(),
        "also_en": pa.string(),
        "grade": pa.string(),
        "genres": pa.list_(pa.string()),
        "countries": pa.list_(pa.string()),
        "people": pa.list_(pa.int64()),
        "leading": pa.list_(pa.int64()),
        "item_age": pa.float64(),
    }
)
"""The table of KMRD's items as ingest writes it; `item_age` holds the year."""

NAME_COLUMNS = pa.schema(
    {
        "table": pa.string(),
        "key": pa.int64(),
        "id": pa.string(),
        "title_ko": pa.string(),
        "title_en": pa.string(),
    }
)
_NO_USERS = pa.table({"user": pa.array([], pa.int64()), "id": pa.array([], pa.string())})


def ingest(folder, store, now, events=None, check=check_locally):
    """Ingest a folder in KMRD's form."""
    return ingest_with(folder, kmrd_spec("kmrd"), store, now, events, check)


def rated(user, item, value, time, least=10):
    """Return interactions whose label is positive from a value of `least` on."""
    value = np.asarray(value, np.float32)
    return Interactions(user, item, value, time, value >= least)


def items_of(*rows):
    """Return a table of items from rows, of which attributes may be missing."""
    empty = {"genres": [], "countries": [], "people": [], "leading": []}
    return pa.Table.from_pylist([empty | row for row in rows], ITEM_COLUMNS)


def side_of(items, people=()):
    """Return side tables of items, and of people as (id, Korean name, English name)."""
    rows = [
        {"table": "people", "key": key, "title_ko": korean, "title_en": english}
        for key, korean, english in people
    ]
    return SideTables(KMRD, items, _NO_USERS, pa.Table.from_pylist(rows, NAME_COLUMNS))


def tables_of(items):
    """Return the attributes in a table of items, as features read them."""
    return FeatureTables.from_side_tables(side_of(items))


def event(user, item, value, time, least=10):
    """Return what a server is told of, positive from a value of `least` on."""
    return FeedbackEvent(user, item, float(value), time, value >= least)


def log_line(user, item, value, time, least=10):
    """Return the line of a feedback log for such an event, whether it is a good one or not."""
    return f"{user}\t{item}\t{time}\t{int(value >= least)}\t{value}\t\n"


DAY = 86_400
NOW = 2000 * DAY
"""The moment at which `one_user_a_day` ends."""


def one_user_a_day():
    """150 users rate two of 30 items each, one user a day; item 999 was rated long ago."""
    rows = [(1800 + u, u, 100 + (u * 7 + k) % 30) for u in range(150) for k in range(2)]
    rows += [(3, 500, 999), (3, 501, 999)]
    time, user, item = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return rated(user, item, np.full(len(time), 10, np.int8), time * DAY)


def score_by_id(queries):
    """Return the same probability of an item for everybody, the higher its id, the higher."""
    return queries.item / 1000.0

"""History: what was known of users and items at a moment, as numbers and remembered items."""

from widedeep.features.history.columns import (
    HistoryColumns,
    check_order,
    compute_history,
    encode_attributes,
    encode_interactions,
    query_times,
    select_items,
    start_pass,
)
from widedeep.features.history.config import HistoryConfig
from widedeep.features.history.numbers import ITEM_NUMERIC, NUMERIC, USER_NUMERIC
from widedeep.features.history.passes import CodedInteractions, HistoryPass, read_candidates, update
from widedeep.features.history.queries import BAGS, ColumnSelection, Queries, all_columns
from widedeep.features.history.state import (
    CodedBags,
    History,
    HistoryState,
    ItemAttributes,
    empty_state,
)

__all__ = [
    "BAGS",
    "ITEM_NUMERIC",
    "NUMERIC",
    "USER_NUMERIC",
    "CodedBags",
    "CodedInteractions",
    "ColumnSelection",
    "History",
    "HistoryColumns",
    "HistoryConfig",
    "HistoryPass",
    "HistoryState",
    "ItemAttributes",
    "Queries",
    "all_columns",
    "check_order",
    "compute_history",
    "empty_state",
    "encode_attributes",
    "encode_interactions",
    "query_times",
    "read_candidates",
    "select_items",
    "start_pass",
    "update",
]

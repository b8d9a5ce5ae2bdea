"""History of more queries than fit in memory at once, or that several machines share.

`history_in_batches` keeps the state in memory and computes some queries after others, in order of
`known_until`. `split_history` cuts the queries into parts that can be computed apart, in any order:
users and items are coupled over time, so no share of users or items has a history of its own, but
with the state of a moment nothing older is needed. One pass that only updates leaves the states
at the cuts (of the users and items that a part meets), and each part goes on from there bit by bit
as the whole would.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features import (
    AttributeTable,
    ColumnSelection,
    HistoryColumns,
    HistoryConfig,
    Queries,
    Vocabulary,
)
from widedeep.features.history import (
    CodedInteractions,
    History,
    HistoryPass,
    HistoryState,
    ItemAttributes,
    all_columns,
    check_order,
    empty_state,
    encode_attributes,
    encode_interactions,
    query_times,
    select_items,
    start_pass,
    update,
)
from widedeep.parallel import parallel_map, worker_count

Ints = NDArray[np.int64]


def history_in_batches(
    interactions: Interactions,
    queries: Queries,
    items_table: AttributeTable,
    config: HistoryConfig,
    prior: float,
    *,
    rows: int,
    selection: ColumnSelection | None = None,
) -> Iterator[tuple[Ints, HistoryColumns]]:
    """Yield the history of at most `rows` queries at a time, in order of `known_until`.

    Besides the ratings and the queries, only the state and what belongs to these rows is in memory.
    The other arguments are those of `compute_history`.

    Yields:
        Row numbers in `queries`, (n,), and their history in that order.

    Raises:
        InputError: The ratings are not in order of time.
    """
    check_order(interactions)
    interactions = interactions.observed()
    selection = selection or all_columns(config)
    users = _vocabulary(interactions.user, queries.user)
    items = _vocabulary(interactions.item, queries.item)
    attributes, params = encode_attributes(items_table, items.ids, config), config.params(prior)
    sizes = len(users.ids), len(items.ids)
    states = [empty_state(*sizes, attributes, config.length) for _ in range(worker_count())]
    order, done = np.argsort(queries.known_until, kind="stable"), 0
    for begin in range(0, len(order), rows):
        positions = order[begin : begin + rows]
        batch = queries.select_rows(positions)
        known = int(np.searchsorted(interactions.time, batch.known_until[-1]))
        new = interactions.select_rows(slice(done, known))
        events = encode_interactions(new, _codes(users, new.user), _codes(items, new.item), config)
        coded = (_codes(users, batch.user), _codes(items, batch.item), *query_times(batch))
        passes = [
            HistoryPass(History(state, attributes, params), events, *coded) for state in states
        ]
        in_order = np.arange(len(positions))
        numbers = config.attribute_numbers
        yield positions, HistoryColumns.compute(passes, in_order, items.ids, selection, numbers)
        _catch_up(states)
        done = known


def _catch_up(states: list[HistoryState]) -> None:
    """Make all states equal to the last, which alone has every rating; new copies cost double."""
    *others, newest = states
    for other in others:
        parallel_map(np.copyto, other, newest)


def _vocabulary(*columns: Ints) -> Vocabulary:
    """Return a vocabulary of all ids in the columns."""
    return Vocabulary(np.unique(np.concatenate([pd.unique(column) for column in columns])))


def _codes(vocabulary: Vocabulary, ids: Ints) -> Ints:
    """Return codes from 0 on, as every id is in the vocabulary."""
    return vocabulary.encode(ids).astype(np.int64) - 1


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """Some queries, and all it takes to compute their history without the others.

    Attributes:
        rows: int64 (n,), row numbers of the queries, in order of `known_until`.
        history_pass: The state before the first of them, the events from there on, and the queries.
        items: int64, the id of each of the pass's item codes.
        config: The constants of the history.
    """

    rows: Ints
    history_pass: HistoryPass
    items: Ints
    config: HistoryConfig

    def compute(self) -> HistoryColumns:
        """Compute the queries' history, in the order of `rows`; the part is not changed."""
        order = np.arange(len(self.rows))
        passes, columns = [copy.deepcopy(self.history_pass)], all_columns(self.config)
        numbers = self.config.attribute_numbers
        return HistoryColumns.compute(passes, order, self.items, columns, numbers)


def split_history(
    interactions: Interactions,
    queries: Queries,
    items_table: AttributeTable,
    config: HistoryConfig,
    prior: float,
    *,
    count: int,
) -> Iterator[HistoryPart]:
    """Yield the queries in at most `count` parts of equal size, one after another in time.

    The other arguments are those of `compute_history`. Without queries there is no part.

    Raises:
        InputError: The ratings are not in order of time.
    """
    history_pass, items = start_pass(interactions, queries, items_table, config, prior)
    order = np.argsort(queries.known_until, kind="stable")
    events, done = history_pass.events, 0
    for rows in np.array_split(order, min(count, len(order)) or 1):
        if not len(rows):
            return
        first, last = queries.known_until[rows[[0, -1]]]
        known, needed = np.searchsorted(events.time, [first, last])
        done = update(history_pass.history, events, done, int(known))
        part, own = _cut(history_pass, items, rows, slice(int(known), int(needed)))
        yield HistoryPart(rows, part, own, config)


def _cut(
    history_pass: HistoryPass, items: Ints, rows: Ints, span: slice
) -> tuple[HistoryPass, Ints]:
    """Return the pass of the queries in `rows` and the events in `span`, and its items' ids."""
    state, attributes, params = history_pass.history
    events = CodedInteractions._make(column[span] for column in history_pass.events)
    (query_user, event_user), users = _own_codes(history_pass.user[rows], events.user)
    rings = state.liked[users], state.disliked[users]
    remembered = np.concatenate(rings).ravel().astype(np.int64)
    (query_item, event_item, remembered), met = _own_codes(
        history_pass.item[rows], events.item, remembered
    )
    liked, disliked = remembered.astype(np.int32).reshape(2, *rings[0].shape)
    part_state = HistoryState(
        user=state.user[users],
        item=state.item[met],
        groups=state.groups[met],
        global_=state.global_.copy(),
        user_residuals=state.user_residuals[users],
        residuals=state.residuals.copy(),
        liked=liked,
        disliked=disliked,
    )
    part = HistoryPass(
        History(part_state, _select_items(attributes, met), params),
        events._replace(user=event_user, item=event_item),
        query_user,
        query_item,
        history_pass.time[rows],
        history_pass.known_until[rows],
    )
    return part, items[met]


def _own_codes(*codes: Ints) -> tuple[list[Ints], Ints]:
    """Return codes that count only those that occur, and the former code of each, ascending."""
    met, own = np.unique(np.concatenate(codes), return_inverse=True)
    ends = np.cumsum([len(part) for part in codes])[:-1]
    return np.split(own.astype(np.int64), ends), met


def _select_items(attributes: ItemAttributes, items: Ints) -> ItemAttributes:
    """Return the bags of some item codes; the values keep their codes."""
    return ItemAttributes(*(select_items(bags, items) for bags in attributes))

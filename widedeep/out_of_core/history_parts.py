"""History of more queries than are described at once: some at a time, in order of known_until.

History cut at moments, so that its pieces can be described apart, and in any order.

Users and items are coupled over time, so no share of users or of items has a history of its own.
But whoever has the state of a moment needs nothing older: one pass that only observes leaves the
states at the borders (of the users and items that a piece meets), and each piece goes on from
there as the whole would, bit by bit.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.history import (
    ALL_COLUMNS,
    ColumnSelection,
    HistoryColumns,
    HistoryConfig,
    Queries,
    check_order,
    encode_attributes,
    encode_interactions,
    query_times,
    start_pass,
)
from widedeep.features.history_state import (
    CodedInteractions,
    HistoryPass,
    HistoryState,
    ItemAttributes,
    empty_state,
    update,
)
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import Vocabulary
from widedeep.parallel import parallel_map, worker_count

Ints = NDArray[np.int64]


def history_in_batches(
    interactions: Interactions,
    queries: Queries,
    item_table: ItemTable,
    config: HistoryConfig,
    prior: float,
    *,
    rows: int,
    wanted: ColumnSelection = ALL_COLUMNS,
) -> Iterator[tuple[Ints, HistoryColumns]]:
    """At most `rows` queries at a time: their places among all, and their history in that order.

    Besides the log and the queries only the state is in memory, and what belongs to these few.

    Raises:
        InputError: see `history_columns`.
    """
    check_order(interactions)
    users, items = _all(interactions.user, queries.user), _all(interactions.item, queries.item)
    attributes, genres, people = encode_attributes(item_table, items.ids)
    sizes = len(users.ids), len(items.ids)
    states = [empty_state(*sizes, genres, people, config.length) for _ in range(worker_count())]
    order, done = np.argsort(queries.known_until, kind="stable"), 0
    for begin in range(0, len(order), rows):
        places = order[begin : begin + rows]
        asked = queries.select_rows(places)
        known = int(np.searchsorted(interactions.time, asked.known_until[-1]))
        new = interactions.select_rows(slice(done, known))
        events = encode_interactions(new, _codes(users, new.user), _codes(items, new.item), config)
        own = (_codes(users, asked.user), _codes(items, asked.item), *query_times(asked))
        known_by_all = (attributes, config.params(prior), events, *own)
        walkers = [HistoryPass(state, *known_by_all) for state in states]
        yield places, HistoryColumns.of_walk(walkers, np.arange(len(places)), items.ids, wanted)
        _catch_up(states)
        done = known


def _catch_up(states: list[HistoryState]) -> None:
    """Let all be as the last is, which alone has met every rating; new copies cost twice that."""
    *others, newest = states
    for other in others:
        parallel_map(np.copyto, other, newest)


def _all(*columns: Ints) -> Vocabulary:
    """Everyone who stands in the columns."""
    return Vocabulary(np.unique(np.concatenate([pd.unique(column) for column in columns])))


def _codes(known: Vocabulary, tokens: Ints) -> Ints:
    """From 0, as nobody is unknown."""
    return known.encode(tokens).astype(np.int64) - 1


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """Some queries, and all it takes to describe them without the others.

    Attributes:
        rows: int64 (n,), their places among all queries, in order of known_until.
        sweep: The state before the first of them, the events from there on, and they themselves.
        items: int64, the token of each of the sweep's item codes.
    """

    rows: Ints
    sweep: HistoryPass
    items: Ints

    def columns(self) -> HistoryColumns:
        """Describe the queries, in the order of `rows`; the piece stays as it is."""
        order = np.arange(len(self.rows))
        return HistoryColumns.of_walk([copy.deepcopy(self.sweep)], order, self.items)


def split_history(
    interactions: Interactions,
    queries: Queries,
    item_table: ItemTable,
    config: HistoryConfig,
    prior: float,
    *,
    count: int,
) -> Iterator[HistoryPart]:
    """Cut the queries into at most `count` pieces of as many rows each, one after another in time.

    Raises:
        InputError: see `history_columns`.
    """
    sweep, items = start_pass(interactions, queries, item_table, config, prior)
    order = np.argsort(queries.known_until, kind="stable")
    done = 0
    for rows in np.array_split(order, min(count, len(order)) or 1):
        if not len(rows):
            return
        first, last = queries.known_until[rows[[0, -1]]]
        known, needed = np.searchsorted(sweep.events.time, [first, last])
        done = update(*sweep[:4], done, int(known))
        yield _cut(sweep, items, rows, slice(int(known), int(needed)))


def _cut(sweep: HistoryPass, items: Ints, rows: Ints, span: slice) -> HistoryPart:
    """The piece of the queries in `rows` and the events in `span`, in codes of its own."""
    events = sweep.events
    events = CodedInteractions(
        events.user[span],
        events.item[span],
        events.time[span],
        events.label[span],
        events.value[span],
    )
    user, users = _own_codes(sweep.user[rows], events.user)
    rings = [ring[users] for ring in (sweep.state.liked, sweep.state.disliked)]
    remembered = np.concatenate(rings).ravel().astype(np.int64)
    item, met = _own_codes(sweep.item[rows], events.item, remembered)
    liked, disliked = (part.reshape(rings[0].shape) for part in np.split(item[2], 2))
    state = HistoryState(
        sweep.state.user[users],
        sweep.state.item[met],
        sweep.state.world.copy(),
        sweep.state.peers[met],
        sweep.state.taste[users],
        sweep.state.person.copy(),
        liked.astype(np.int32),
        disliked.astype(np.int32),
    )
    own = events._replace(user=user[1], item=item[1])
    attributes = _attributes(sweep.attributes, met)
    moments = (sweep.time[rows], sweep.known_until[rows])
    piece = HistoryPass(state, attributes, sweep.params, own, user[0], item[0], *moments)
    return HistoryPart(rows, piece, items[met])


def _own_codes(*codes: Ints) -> tuple[list[Ints], Ints]:
    """Codes that count only what is there, and what each of them was before (ascending)."""
    met, own = np.unique(np.concatenate(codes), return_inverse=True)
    ends = np.cumsum([len(part) for part in codes])[:-1]
    return np.split(own.astype(np.int64), ends), met


def _attributes(attributes: ItemAttributes, items: Ints) -> ItemAttributes:
    genres = Ragged(attributes.genres, attributes.genre_offsets).select_rows(items)
    people = Ragged(attributes.people, attributes.people_offsets).select_rows(items)
    return ItemAttributes(genres.values, genres.offsets, people.values, people.offsets)

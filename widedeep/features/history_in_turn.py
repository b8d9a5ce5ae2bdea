"""History of more queries than are described at once: some at a time, in order of known_until."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue
from widedeep.features.cores import cores, on_all_cores
from widedeep.features.history import (
    HistoryConfig,
    Queries,
    check_order,
    coded_attributes,
    events_of,
    moments_of,
)
from widedeep.features.history_columns import EVERYTHING, HistoryColumns, Wanted
from widedeep.features.history_state import State, Sweep, empty_state
from widedeep.features.vocabulary import Vocabulary

Ints = NDArray[np.int64]


def history_in_turn(
    log: RatingLog,
    queries: Queries,
    catalogue: Catalogue,
    config: HistoryConfig,
    prior: float,
    *,
    rows: int,
    wanted: Wanted = EVERYTHING,
) -> Iterator[tuple[Ints, HistoryColumns]]:
    """At most `rows` queries at a time: their places among all, and their history in that order.

    Besides the log and the queries only the state is in memory, and what belongs to these few.

    Raises:
        InputError: see `history_columns`.
    """
    check_order(log)
    users, movies = _all(log.user, queries.user), _all(log.movie, queries.movie)
    attributes, genres, people = coded_attributes(catalogue, movies.tokens)
    sizes = len(users.tokens), len(movies.tokens)
    states = [empty_state(*sizes, genres, people, config.length) for _ in range(cores())]
    order, done = np.argsort(queries.known_until, kind="stable"), 0
    for begin in range(0, len(order), rows):
        places = order[begin : begin + rows]
        asked = queries.take(places)
        known = int(np.searchsorted(log.time, asked.known_until[-1]))
        new = log.take(slice(done, known))
        events = events_of(new, _codes(users, new.user), _codes(movies, new.movie), config)
        own = (_codes(users, asked.user), _codes(movies, asked.movie), *moments_of(asked))
        known_by_all = (attributes, config.rates(prior), events, *own)
        walkers = [Sweep(state, *known_by_all) for state in states]
        yield places, HistoryColumns.of_walk(walkers, np.arange(len(places)), movies.tokens, wanted)
        _catch_up(states)
        done = known


def _catch_up(states: list[State]) -> None:
    """Let all be as the last is, which alone has met every rating; new copies cost twice that."""
    *others, newest = states
    for other in others:
        on_all_cores(np.copyto, other, newest)


def _all(*columns: Ints) -> Vocabulary:
    """Everyone who stands in the columns."""
    return Vocabulary(np.unique(np.concatenate([pd.unique(column) for column in columns])))


def _codes(known: Vocabulary, tokens: Ints) -> Ints:
    """From 0, as nobody is unknown."""
    return known.encode(tokens).astype(np.int64) - 1

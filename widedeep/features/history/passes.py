"""Compiled passes over time: update the state rating by rating, read it query by query.

`update` moves a state past ratings and `read` turns it into numbers; training, evaluation and
serving all go through these two. `run_pass` does both for many queries in order of time,
`read_candidates` reads many items for one user.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import borrowing, compiled, embedded, inlined
from widedeep.features.history.config import HistoryParams
from widedeep.features.history.numbers import (
    FIRST_OF_ATTRIBUTES,
    FIRST_OF_ITEM,
    read_item_numbers,
    read_pair_numbers,
    read_user_numbers,
    update_numbers,
)
from widedeep.features.history.state import (
    History,
    newest_first,
    pair_of,
    prefetch,
    remember,
    user_row,
)
from widedeep.features.history.table import (
    DAY,
    Codes,
    Floats,
    Pair,
    Query,
    Rating,
    Row,
    add_residuals,
    mean_residual,
)
from widedeep.features.history.terms import (
    RESIDUALS,
    advance_terms,
    expected_logit,
    item_term,
    learn_terms,
    note_residuals,
    user_term,
)

_AHEAD = 16
"""So many ratings before a rating is applied, its rows are fetched from memory (8 is level)."""

Residuals = NDArray[np.void]


class CodedInteractions(NamedTuple):
    """Ratings in order of time: codes, UNIX seconds, label (0 or 1), value / 10; (n,) each."""

    user: Codes
    item: Codes
    time: Codes
    label: Floats
    value: Floats


class HistoryPass(NamedTuple):
    """A pass over time: the history, the ratings that move it, and queries, (m,) int64 each.

    `user` and `item` are codes, `time` and `known_until` UNIX seconds.
    """

    history: History
    events: CodedInteractions
    user: Codes
    item: Codes
    time: Codes
    known_until: Codes


class PassOutput(NamedTuple):
    """Where a pass writes what it reads for m queries, and room that it needs meanwhile.

    Attributes:
        columns: Indices of the numbers that are wanted, int64 (k,).
        numeric: float32 (all queries, k), filled in the rows of the pass's queries.
        bags: Codes of the liked and of the disliked items, int32 (m x length,) each, the newest
            first; those of one query right after those of the query before. An empty array leaves
            the bag empty.
        lengths: How many of them each query has, int64 (m,) each, in order of the pass.
        residuals: Rows of `RESIDUALS`, as many as ratings have the same time.
        numbers: float64 (numbers,).
    """

    columns: Codes
    numeric: NDArray[np.float32]
    bags: tuple[NDArray[np.int32], NDArray[np.int32]]
    lengths: tuple[Codes, Codes]
    residuals: Residuals
    numbers: Floats


@compiled
def update(history: History, events: CodedInteractions, start: int, stop: int) -> int:
    """Move the state past the events `start` … `stop`, which must not cut a moment in two.

    Ratings of one moment (tied events) are compared with the state before it and then applied
    together, so their order does not matter, with one exception: a user's last label, moving
    averages and remembered items take that user's ratings of one moment in the given order.
    Returns `stop`.
    """
    residuals = np.empty(longest_tie(events.time, start, stop), RESIDUALS)
    return _update(history, events, start, stop, residuals)


@borrowing
def longest_tie(time: Codes, start: int, stop: int) -> int:
    """Return the largest number of equal times among the events `start` … `stop`."""
    longest, first = 0, start
    for i in range(start, stop):
        if time[i] != time[first]:
            first = i
        longest = max(longest, i + 1 - first)
    return longest


@borrowing
def _update(
    history: History, events: CodedInteractions, start: int, stop: int, residuals: Residuals
) -> int:
    """See `update`; `residuals` has room for tied events."""
    first = start
    while first < stop:
        last = first + 1
        while last < stop and events.time[last] == events.time[first]:
            last += 1
        for i in range(first, last):
            if i + _AHEAD < len(events.user):
                prefetch(history.state, events.user[i + _AHEAD], events.item[i + _AHEAD])
            pair = pair_of(history, events.user[i], events.item[i], 0.0)
            residual = residuals[i - first]
            note_residuals(pair, history.params, events.label[i], events.time[i], residual)
        for i in range(first, last):
            pair = pair_of(history, events.user[i], events.item[i], 0.0)
            advance_terms(pair, history.params, events.time[i], residuals[i - first])
            pair.user.count += 1.0
            pair.item.count += 1.0
        for i in range(first, last):
            _apply(history, events, i, residuals[i - first])
        first = last
    return stop


@embedded
def _apply(history: History, events: CodedInteractions, i: int, residuals: Row) -> None:
    """Take rating i into the state."""
    user, item, time = events.user[i], events.item[i], events.time[i]
    pair = pair_of(history, user, item, residuals.user_count)
    rating = Rating(
        time=time,
        label=events.label[i],
        value=events.value[i],
        error=residuals.error,
        from_item_mean=residuals.from_item_mean,
        from_user_mean=residuals.from_user_mean,
        item_step=residuals.item_step,
        user_count=residuals.user_count,
        item_count=residuals.item_count,
        user_gap=_gap(pair.user, residuals.user_count, time),
        item_gap=_gap(pair.item, residuals.item_count, time),
        group_gap=_gap(pair.group, pair.group.count, time),
        global_gap=_gap(pair.global_, pair.global_.count, time),
    )
    learn_terms(pair, history.params, residuals)
    update_numbers(pair, rating, history.params)
    add_residuals(pair.user_residuals, pair.user_codes, pair.user_ends, residuals.error)
    add_residuals(pair.residuals, pair.codes, pair.ends, residuals.error)
    pair.group.count += 1.0
    pair.global_.count += 1.0
    pair.user.last_time = pair.item.last_time = time
    pair.group.last_time = pair.global_.last_time = time
    if rating.label > 0:
        remember(history.state.liked[user], pair.user.liked, item)
        pair.user.liked += 1.0
    else:
        remember(history.state.disliked[user], pair.user.disliked, item)
        pair.user.disliked += 1.0


@inlined
def _gap(row: Row, count: float, time: int) -> float:
    """Return the days from a row's last rating to `time`; 0 where it had `count` 0 ratings."""
    return (time - row.last_time) / DAY if count > 0 else 0.0


@borrowing
def read(history: History, query: tuple[int, int, int, int], out: Floats) -> None:
    """Write the numbers of (user code, item code, time, known until) to `out`, (numbers,).

    A number of which nothing is known is NaN.
    """
    user, item, time, known_until = query
    out[:] = np.nan
    pair = pair_of(history, user, item, user_row(history.state, user).count)
    terms = (
        user_term(pair.user, history.params, time)[0],
        item_term(pair.item, history.params, time)[0],
    )
    what = _query(pair, history.params, terms, time, known_until, out)
    read_pair_numbers(pair, what, history.params)
    read_user_numbers(pair, what, history.params)
    read_item_numbers(pair, what, history.params)
    _read_residuals(pair, history.params, out)


@inlined
def _read_residuals(pair: Pair, params: HistoryParams, out: Floats) -> None:
    """Write the mean residual on each attribute of the item behind the other numbers of `out`."""
    column = FIRST_OF_ATTRIBUTES
    for k in range(len(pair.user_ends) - 1):
        codes = pair.user_codes[pair.user_ends[k] : pair.user_ends[k + 1]]
        out[column] = mean_residual(pair.user_residuals, codes, params.attribute_smoothing)
        column += 1
    for k in range(len(pair.ends) - 1):
        codes = pair.codes[pair.ends[k] : pair.ends[k + 1]]
        out[column] = mean_residual(pair.residuals, codes, params.attribute_smoothing)
        column += 1


@inlined
def _query(  # noqa: PLR0917  compiled code takes no keywords
    pair: Pair,
    params: HistoryParams,
    terms: tuple[float, float],
    time: int,
    known_until: int,
    out: Floats,
) -> Query:
    """Return what the table's entries read of a query; `terms` are the user's and the item's."""
    logit = expected_logit(pair.global_, params, pair.user.count, terms[0] + terms[1])
    return Query(
        time=time,
        known_until=known_until,
        user_term=terms[0],
        item_term=terms[1],
        expected_logit=logit,
        user_gap=_gap(pair.user, pair.user.count, time),
        item_gap=_gap(pair.item, pair.item.count, time),
        group_gap=_gap(pair.group, pair.group.count, time),
        out=out,
    )


@borrowing
def run_pass(history_pass: HistoryPass, order: Codes, output: PassOutput) -> None:
    """Walk through time once: before each query, update the state with the events it may know.

    `order` (m,) lists the queries to read, in order of `known_until`.
    """
    history, events = history_pass.history, history_pass.events
    # No literal 0, for which numba would compile `_update` once more.
    done: Any = np.int64(0)
    liked, disliked = 0, 0
    for position in range(len(order)):
        i = order[position]
        stop = done
        while stop < len(events.time) and events.time[stop] < history_pass.known_until[i]:
            stop += 1
        done = _update(history, events, done, stop, output.residuals)
        user = history_pass.user[i]
        query = (user, history_pass.item[i], history_pass.time[i], history_pass.known_until[i])
        read(history, query, output.numbers)
        for k in range(len(output.columns)):
            output.numeric[i, k] = output.numbers[output.columns[k]]
        row = user_row(history.state, user)
        to_liked, to_disliked = output.bags[0][liked:], output.bags[1][disliked:]
        output.lengths[0][position] = newest_first(history.state.liked[user], row.liked, to_liked)
        output.lengths[1][position] = newest_first(
            history.state.disliked[user], row.disliked, to_disliked
        )
        liked += output.lengths[0][position]
        disliked += output.lengths[1][position]


@borrowing
def read_candidates(  # noqa: PLR0917  compiled code takes no keywords
    history: History,
    user: int,
    items: Codes,
    time: int,
    values: Floats,
    rings: NDArray[np.int32],
    with_item_numbers: bool,  # noqa: FBT001
    numbers: Floats,
) -> tuple[int, int]:
    """Read the numbers of one user code with each of n item codes, all known until `time`.

    They are rounded to float32, as columns of them are stored, and written to the first columns of
    `values`, float64 of at least (n, numbers); those of ITEM_NUMERIC only if `with_item_numbers`.
    The codes of liked and of disliked items are written to `rings` (2, length), the newest first;
    returns how many there are of each. `numbers` (numbers,) is room for the numbers of one item,
    all NaN at first.
    """
    params = history.params
    row = user_row(history.state, user)
    mean = user_term(row, params, time)[0]
    columns = FIRST_OF_ATTRIBUTES if with_item_numbers else FIRST_OF_ITEM
    for i in range(len(items)):
        pair = pair_of(history, user, items[i], row.count)
        terms = mean, item_term(pair.item, params, time)[0]
        query = _query(pair, params, terms, time, time, numbers)
        read_pair_numbers(pair, query, params)
        if i == 0:
            read_user_numbers(pair, query, params)
        if with_item_numbers:
            numbers[FIRST_OF_ITEM:FIRST_OF_ATTRIBUTES] = np.nan
            read_item_numbers(pair, query, params)
        _read_residuals(pair, params, numbers)
        for k in range(columns):
            values[i, k] = np.float32(numbers[k])
        for k in range(FIRST_OF_ATTRIBUTES, len(numbers)):
            values[i, k] = np.float32(numbers[k])
    state = history.state
    return (
        newest_first(state.liked[user], row.liked, rings[0]),
        newest_first(state.disliked[user], row.disliked, rings[1]),
    )

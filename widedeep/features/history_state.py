"""What is known of users and items at one moment, updated rating by rating.

All compiled functions of the state stand in this one file: numba's cache does not notice a change
in another.

`observe` moves the state past ratings, `read` turns it into features; training, evaluation and
serving all call these two. The state holds sums and decayed sums only, so an update costs the
same however long the history is.

The expected label of a rating comes from an online logistic model of additive terms: a base rate,
the user's activity, the user, the item. The last two are Gaussians, as in the rating system Glicko
(Glickman, "Parameter estimation in large dynamic paired comparison experiments", 1999): a rating
moves a term by as much as its variance says that something is still to be learned. Between ratings
a user's term falls back to 0 and its variance to that of a stranger; a item's variance grows.
Residuals of labels against this expectation tell the taste of a user for a genre and the appeal of
a person.

Tell the processor which memory will be needed soon, so that nobody waits for it then.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LINE = 64
"""Bytes that are fetched at once."""

_READ, _KEEP, _DATA = 0, 3, 1
"""As LLVM numbers them: for reading, to be kept in all caches, data and not instructions."""


@intrinsic
def fetch_line(_: Any, address: Any) -> Any:  # noqa: ANN401  numba's own types
    """Fetch the cache line of an address; compiled code calls it with that alone."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:  # noqa: ANN401
        pointer = builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(8)))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        hints = [ir.Constant(number, hint) for hint in (_READ, _KEEP, _DATA)]
        builder.call(function, [pointer, *hints])
        return context.get_dummy_value()

    return types.void(address), generate


Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

DAY = 86_400.0
_LN_2 = math.log(2.0)
_AHEAD = 16
"""So many ratings before it is observed, what a rating needs is fetched from memory."""

USER_COLUMNS = 21
(
    U_COUNT,
    U_LABELS,
    U_RESIDUALS,
    U_PRECISION,
    U_PULL,
    U_TERM_TIME,
    U_FAST,
    U_SLOW,
    U_LAST_LABEL,
    U_LAST_TIME,
    U_FIRST_TIME,
    U_LIKED,
    U_DISLIKED,
    U_VALUES,
    U_SQUARES,
    U_FAST_VALUE,
    U_LAST_VALUE,
    U_DAY_WEIGHT,
    U_DAY_ERRORS,
    U_MONTH_WEIGHT,
    U_MONTH_ERRORS,
) = range(USER_COLUMNS)

ITEM_COLUMNS = 17
(
    M_COUNT,
    M_LABELS,
    M_RESIDUALS,
    M_PRECISION,
    M_PULL,
    M_TERM_TIME,
    M_FIRSTS,
    M_FIRST_LABELS,
    M_LONG_WEIGHT,
    M_LONG_LABELS,
    M_SHORT_WEIGHT,
    M_SHORT_LABELS,
    M_LAST_TIME,
    M_FIRST_TIME,
    M_FIRST_BIAS,
    M_BURST_WEIGHT,
    M_BURST_LABELS,
) = range(ITEM_COLUMNS)

PEER_GROUPS = 4
PEER_COLUMNS = 5
P_COUNT, P_ERRORS, P_LATE_WEIGHT, P_LATE_ERRORS, P_LAST_TIME = range(PEER_COLUMNS)
"""What is kept of the ratings that a item got from users of one peer group."""

ACTIVITIES = 8
WORLD_COLUMNS = 1 + ACTIVITIES + 5
W_BASE = 0
W_ACTIVITY = 1
W_LAST_TIME, W_FIRST_WEIGHT, W_FIRST_LABELS, W_LATER_WEIGHT, W_LATER_LABELS = range(
    W_ACTIVITY + ACTIVITIES, WORLD_COLUMNS
)

PAIR_NUMERIC = (
    "expected_logit",
    "mean_plus_residual",
    "taste",
    "people",
    "staleness",
    "item_peer_residual",
    "item_late_peer_residual",
    "world_first_mean",
    "world_later_mean",
)
USER_NUMERIC = (
    "user_count",
    "user_bias",
    "user_mean",
    "user_residual",
    "user_fast",
    "user_slow",
    "user_day_residual",
    "user_month_residual",
    "user_last",
    "user_value",
    "user_fast_value",
    "user_last_value",
    "user_value_spread",
    "user_recency",
    "user_tenure",
)
ITEM_NUMERIC = (
    "item_count",
    "item_bias",
    "item_first_timer_bias",
    "item_mean",
    "item_first_timer_mean",
    "item_residual",
    "item_long_mean",
    "item_short_count",
    "item_short_mean",
    "item_burst_count",
    "item_burst_mean",
    "item_recency",
    "item_tenure",
)
NUMERIC = (*PAIR_NUMERIC, *USER_NUMERIC, *ITEM_NUMERIC)
"""Names of the numeric features `read` writes, in its order. Times are in days."""

_USER = len(PAIR_NUMERIC)
_ITEM = _USER + len(USER_NUMERIC)


class HistoryParams(NamedTuple):
    """Constants of the state, all float (see `HistoryConfig` for their meaning)."""

    prior: float
    user_smoothing: float
    item_smoothing: float
    taste_smoothing: float
    user_variance: float
    user_half_life: float
    item_variance: float
    item_drift: float
    world_step: float
    fast: float
    slow: float
    long_half_life: float
    short_half_life: float
    burst_half_life: float
    burst_smoothing: float
    day_half_life: float
    month_half_life: float
    fast_value: float
    world_half_life: float


class ItemAttributes(NamedTuple):
    """Genres and people of each item code, as flat values (int64) and offsets (int64)."""

    genres: Codes
    genre_offsets: Codes
    people: Codes
    people_offsets: Codes


JUDGED_COLUMNS = 14
(
    J_ERROR,
    J_ITEM_SURPRISE,
    J_USER_SURPRISE,
    J_USER_COUNT,
    J_ITEM_COUNT,
    J_USER_PRECISION,
    J_USER_PULL,
    J_ITEM_PRECISION,
    J_ITEM_PULL,
    J_ITEM_STEP,
    J_USER_MEAN,
    J_USER_VARIANCE,
    J_ITEM_MEAN,
    J_ITEM_VARIANCE,
) = range(JUDGED_COLUMNS)
"""What `update` notes of a rating from the state before its instant: the error of the expectation,
the label against the mean of its item and of its user, the ratings these two had, what the rating
adds to precision and pull of their terms, by how much it alone would move the item's, and both
terms at its time."""


class HistoryState(NamedTuple):
    """The arrays; unseen users and items are rows of zeros.

    A term stands there as its precision beyond that of a stranger, its pull (precision x mean) and
    the time at which it was so: in this form, ratings of one instant just add up.
    `user` (users, USER_COLUMNS), `item` (items, MOVIE_COLUMNS), `world` (WORLD_COLUMNS,),
    `peers` (items, PEER_GROUPS, PEER_COLUMNS),
    `taste` (users, genres, 2: residuals and count), `person` (people, 2: likewise),
    `liked` and `disliked` (users, length): rings of item codes, the newest at
    (count - 1) % length.
    """

    user: Floats
    item: Floats
    world: Floats
    peers: Floats
    taste: NDArray[np.float32]
    person: Floats
    liked: NDArray[np.int32]
    disliked: NDArray[np.int32]


class CodedInteractions(NamedTuple):
    """Ratings in order of time: codes, UNIX seconds, label (0 or 1), rate / 10."""

    user: Codes
    item: Codes
    time: Codes
    label: Floats
    value: Floats


class HistoryPass(NamedTuple):
    """A pass over time: the state, what moves it, and the queries in codes and UNIX seconds."""

    state: HistoryState
    attributes: ItemAttributes
    params: HistoryParams
    events: CodedInteractions
    user: Codes
    item: Codes
    time: Codes
    known_until: Codes


def empty_state(users: int, items: int, genres: int, people: int, length: int) -> HistoryState:
    """The state before the first rating."""
    return HistoryState(
        np.zeros((users, USER_COLUMNS)),
        np.zeros((items, ITEM_COLUMNS)),
        np.zeros(WORLD_COLUMNS),
        np.zeros((items, PEER_GROUPS, PEER_COLUMNS)),
        np.zeros((users, genres, 2), np.float32),
        np.zeros((people, 2)),
        np.zeros((users, length), np.int32),
        np.zeros((users, length), np.int32),
    )


def _borrowing(function: Function) -> Function:
    """Compile what only borrows arrays, without numba's counting of references and Python's lock.

    A locked instruction for each row of the state that is looked at took more time than all the
    arithmetic.
    """
    compiled: Function = njit(function, cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload]
    return compiled


@njit(cache=True, nogil=True)
def update(  # noqa: PLR0917  compiled code takes no keywords
    state: HistoryState,
    attributes: ItemAttributes,
    params: HistoryParams,
    events: CodedInteractions,
    start: int,
    stop: int,
) -> int:
    """Move the state past the events `start` … `stop`, and past none that is later in part.

    Ratings of one instant are judged from the state before it and then applied together, so the
    order in which they stand does not matter, with one exception: a user's last label, moving
    averages and remembered items take that user's ratings of one instant as they stand.
    Returns `stop`.
    """
    judged = np.empty((largest_tie(events.time, start, stop), JUDGED_COLUMNS))
    return _observe(state, attributes, params, events, start, stop, judged)


@_borrowing
def largest_tie(time: Codes, start: int, stop: int) -> int:
    """Of the events `start` … `stop`, at most how many are of one instant."""
    longest, first = 0, start
    for i in range(start, stop):
        if time[i] != time[first]:
            first = i
        longest = max(longest, i + 1 - first)
    return longest


@_borrowing
def _fetch_row(address: int, row: int, size: int) -> None:
    """A row of `size` bytes of the array at `address`."""
    begin = address + row * size
    for line in range(begin, begin + size, LINE):
        fetch_line(line)  # type: ignore[call-arg]


@_borrowing
def _fetch(state: HistoryState, user: int, item: int) -> None:
    """Have the rows of a rating's user and item on their way: most of the time is waiting."""
    _fetch_row(state.user.ctypes.data, user, 8 * USER_COLUMNS)
    _fetch_row(state.item.ctypes.data, item, 8 * ITEM_COLUMNS)
    _fetch_row(state.peers.ctypes.data, item, 8 * PEER_GROUPS * PEER_COLUMNS)
    _fetch_row(state.taste.ctypes.data, user, 8 * state.taste.shape[1])
    _fetch_row(state.liked.ctypes.data, user, 4 * state.liked.shape[1])
    _fetch_row(state.disliked.ctypes.data, user, 4 * state.disliked.shape[1])


@_borrowing
def _observe(  # noqa: PLR0917  compiled code takes no keywords
    state: HistoryState,
    attributes: ItemAttributes,
    params: HistoryParams,
    events: CodedInteractions,
    start: int,
    stop: int,
    judged: Floats,
) -> int:
    """See `update`; `judged` has room for the ratings of one instant."""
    first = start
    while first < stop:
        last = first + 1
        while last < stop and events.time[last] == events.time[first]:
            last += 1
        for i in range(first, last):
            if i + _AHEAD < len(events.user):
                _fetch(state, events.user[i + _AHEAD], events.item[i + _AHEAD])
            _judge(state, params, events, i, judged[i - first])
        for i in range(first, last):
            _advance(state, params, events, i, judged[i - first])
            state.user[events.user[i], U_COUNT] += 1.0
            state.item[events.item[i], M_COUNT] += 1.0
        for i in range(first, last):
            _apply_world(state, params, events, i, judged[i - first])
            _apply_user(state, params, events, i, judged[i - first])
            _apply_peers(state, params, events, i, judged[i - first])
            _apply_item(state, params, events, i, judged[i - first])
            _apply_attributes(state, attributes, events, i, judged[i - first, J_ERROR])
        first = last
    return stop


@_borrowing
def read(
    state: HistoryState,
    attributes: ItemAttributes,
    params: HistoryParams,
    query: tuple[int, int, int, int],
    out: Floats,
) -> None:
    """Write the numeric features of (user code, item code, time, known until) to `out`.

    `out` is float64 of shape (len(NUMERIC),); NaN stands where there is no history to speak of.
    """
    u, m, time, _ = query
    out[:] = np.nan
    user_term = _user_term(state.user[u], params, time)[0]
    item_term = _item_term(state.item[m], params, time)[0]
    _read_pair(state, attributes, params, query, user_term + item_term, out)
    _read_user(state.user[u], params, time, user_term, out[_USER:_ITEM])
    _read_item(state.item[m], params, time, item_term, out[_ITEM:])


@_borrowing
def _read_pair(  # noqa: PLR0917  compiled code takes no keywords
    state: HistoryState,
    attributes: ItemAttributes,
    params: HistoryParams,
    query: tuple[int, int, int, int],
    terms: float,
    out: Floats,
) -> None:
    """By PAIR_NUMERIC; `terms` is the sum of the user's and the item's."""
    u, m, time, known_until = query
    item, user = state.item[m], state.user[u]
    residual = user[U_RESIDUALS] / (user[U_COUNT] + params.user_smoothing)
    peers = state.peers[m, _peer_group(user[U_COUNT])]
    decay = _decay((time - peers[P_LAST_TIME]) / DAY, params.long_half_life)
    out[0] = _expected_logit(state, params, user[U_COUNT], terms)
    out[1] = _mean(item[M_LABELS], item[M_COUNT], params.prior, params.item_smoothing) + residual
    out[2] = _taste(state, attributes, params, u, m)
    out[3] = _appeal(state, attributes, params, m)
    out[4] = (time - known_until) / DAY
    out[5] = peers[P_ERRORS] / (peers[P_COUNT] + params.item_smoothing)
    out[6] = _decayed_error(peers, P_LATE_WEIGHT, decay, params.item_smoothing)
    out[7] = _mean(
        state.world[W_FIRST_LABELS],
        state.world[W_FIRST_WEIGHT],
        params.prior,
        params.item_smoothing,
    )
    out[8] = _mean(
        state.world[W_LATER_LABELS],
        state.world[W_LATER_WEIGHT],
        params.prior,
        params.item_smoothing,
    )


@_borrowing
def _read_user(user: Floats, params: HistoryParams, time: int, term: float, out: Floats) -> None:
    """By USER_NUMERIC."""
    count = user[U_COUNT]
    out[0] = count
    if count == 0:
        return
    gap = (time - user[U_LAST_TIME]) / DAY
    value = user[U_VALUES] / count
    out[1] = term
    out[2] = _mean(user[U_LABELS], count, params.prior, params.user_smoothing)
    out[3] = user[U_RESIDUALS] / (count + params.user_smoothing)
    out[4] = user[U_FAST]
    out[5] = user[U_SLOW]
    out[6] = _decayed_error(user, U_DAY_WEIGHT, _decay(gap, params.day_half_life), 1.0)
    out[7] = _decayed_error(user, U_MONTH_WEIGHT, _decay(gap, params.month_half_life), 1.0)
    out[8] = user[U_LAST_LABEL]
    out[9] = value
    out[10] = user[U_FAST_VALUE]
    out[11] = user[U_LAST_VALUE]
    if count > 1:
        out[12] = math.sqrt(max(user[U_SQUARES] / count - value * value, 0.0))
    out[13] = gap
    out[14] = (time - user[U_FIRST_TIME]) / DAY


@_borrowing
def _read_item(item: Floats, params: HistoryParams, time: int, term: float, out: Floats) -> None:
    """By MOVIE_NUMERIC."""
    seen, prior, smoothing = item[M_COUNT], params.prior, params.item_smoothing
    out[0] = seen
    out[1] = term
    out[2] = item[M_FIRST_BIAS]
    out[3] = _mean(item[M_LABELS], seen, prior, smoothing)
    out[4] = _mean(item[M_FIRST_LABELS], item[M_FIRSTS], prior, smoothing)
    if seen == 0:
        return
    gap = (time - item[M_LAST_TIME]) / DAY
    long = _decay(gap, params.long_half_life)
    short = _decay(gap, params.short_half_life)
    burst = _decay(gap, params.burst_half_life)
    out[5] = item[M_RESIDUALS] / (seen + smoothing)
    out[6] = _mean(item[M_LONG_LABELS] * long, item[M_LONG_WEIGHT] * long, prior, smoothing)
    out[7] = item[M_SHORT_WEIGHT] * short
    out[8] = _mean(item[M_SHORT_LABELS] * short, out[7], prior, smoothing)
    out[9] = item[M_BURST_WEIGHT] * burst
    out[10] = _mean(item[M_BURST_LABELS] * burst, out[9], prior, params.burst_smoothing)
    out[11] = gap
    out[12] = (time - item[M_FIRST_TIME]) / DAY


@_borrowing
def run_pass(  # noqa: PLR0917  compiled code takes no keywords
    sweep: HistoryPass,
    order: Codes,
    columns: Codes,
    numeric: NDArray[np.float32],
    bags: tuple[NDArray[np.int32], NDArray[np.int32]],
    lengths: tuple[Codes, Codes],
    judged: Floats,
    out: Floats,
) -> None:
    """Walk through time once: before each query (in `order` of known_until), observe what it may.

    Fills `numeric` (n, m) by query with the m `columns` of NUMERIC, and in the order of the walk:
    `bags` with the codes of liked and of disliked items, the newest first, those of one query
    right after those of another, and `lengths` (n each) with how many each query has. Bags that
    have no room (but for n x length codes each) stay empty. `judged` is room for the ratings of
    one instant (see `largest_tie`), `out` for the numbers of a query.
    """
    state, attributes, params, events = sweep[:4]
    done, liked, disliked = 0, 0, 0
    for place in range(len(order)):
        i = order[place]
        stop = done
        while stop < len(events.time) and events.time[stop] < sweep.known_until[i]:
            stop += 1
        done = _observe(state, attributes, params, events, done, stop, judged)
        u = sweep.user[i]
        query = (u, sweep.item[i], sweep.time[i], sweep.known_until[i])
        read(state, attributes, params, query, out)
        for column in range(len(columns)):
            numeric[i, column] = out[columns[column]]
        user = state.user[u]
        lengths[0][place] = _newest_first(state.liked[u], user[U_LIKED], bags[0][liked:])
        lengths[1][place] = _newest_first(state.disliked[u], user[U_DISLIKED], bags[1][disliked:])
        liked += lengths[0][place]
        disliked += lengths[1][place]


@_borrowing
def read_candidates(  # noqa: PLR0917  compiled code takes no keywords
    state: HistoryState,
    attributes: ItemAttributes,
    params: HistoryParams,
    user: int,
    items: Codes,
    time: int,
    values: Floats,
    rings: NDArray[np.int32],
    items_too: bool,  # noqa: FBT001
    out: Floats,
) -> tuple[int, int]:
    """What `read` gives for one user code with each item code, all being known until `time`.

    The numeric features, rounded to float32 as a column of them is kept, go to the first columns of
    `values`, float64 of at least (n, len(NUMERIC)), those of MOVIE_NUMERIC only if `items_too`;
    the codes of liked and disliked items, the newest first, to `rings` (2, length). Returns how
    many of these there are. `out` has room for the numbers of one item, and is missing values.
    Other threads may run meanwhile.
    """
    user_term = _user_term(state.user[user], params, time)[0]
    _read_user(state.user[user], params, time, user_term, out[_USER:_ITEM])
    columns = len(out) if items_too else _ITEM
    for i in range(len(items)):
        query = (user, items[i], time, time)
        item_term = _item_term(state.item[items[i]], params, time)[0]
        _read_pair(state, attributes, params, query, user_term + item_term, out)
        if items_too:
            out[_ITEM:] = np.nan
            _read_item(state.item[items[i]], params, time, item_term, out[_ITEM:])
        for k in range(columns):
            values[i, k] = np.float32(out[k])
    liked, disliked = state.user[user, U_LIKED], state.user[user, U_DISLIKED]
    return (
        _newest_first(state.liked[user], liked, rings[0]),
        _newest_first(state.disliked[user], disliked, rings[1]),
    )


@_borrowing
def _newest_first(ring: NDArray[np.int32], count: float, out: NDArray[np.int32]) -> int:
    length = min(int(count), len(ring), len(out))
    place = int(count) % len(ring)
    for j in range(length):
        place = (place if place > 0 else len(ring)) - 1
        out[j] = ring[place]
    return length


@_borrowing
def _judge(
    state: HistoryState, params: HistoryParams, events: CodedInteractions, i: int, out: Floats
) -> None:
    """Note rating i in `out`, by JUDGED_COLUMNS.

    One step of Newton's method on the log posterior of both terms: a term learns less from the
    rating, the less certain the other one is.
    """
    u, m, label, time = events.user[i], events.item[i], events.label[i], events.time[i]
    item, user = state.item[m], state.user[u]
    count, seen = user[U_COUNT], item[M_COUNT]
    user_mean, user_variance = _user_term(user, params, time)
    item_mean, item_variance = _item_term(item, params, time)
    expected = _sigmoid(_expected_logit(state, params, count, user_mean + item_mean))
    error, information = label - expected, expected * (1.0 - expected)
    for_user, for_item = 1.0 + information * item_variance, 1.0 + information * user_variance
    out[J_USER_PRECISION] = information / for_user
    out[J_USER_PULL] = (information * user_mean + error) / for_user
    out[J_ITEM_PRECISION] = information / for_item
    out[J_ITEM_PULL] = (information * item_mean + error) / for_item
    out[J_ITEM_STEP] = error * item_variance / (for_item + information * item_variance)
    out[J_ERROR] = error
    out[J_ITEM_SURPRISE] = label - _mean(item[M_LABELS], seen, params.prior, params.item_smoothing)
    out[J_USER_SURPRISE] = label - _mean(user[U_LABELS], count, params.prior, params.user_smoothing)
    out[J_USER_COUNT] = count
    out[J_ITEM_COUNT] = seen
    out[J_USER_MEAN], out[J_USER_VARIANCE] = user_mean, user_variance
    out[J_ITEM_MEAN], out[J_ITEM_VARIANCE] = item_mean, item_variance


@_borrowing
def _advance(
    state: HistoryState, params: HistoryParams, events: CodedInteractions, i: int, judged: Floats
) -> None:
    """Bring the terms of rating i's user and item to its time; once an instant is enough."""
    user, item, time = state.user[events.user[i]], state.item[events.item[i]], events.time[i]
    if user[U_TERM_TIME] != time or user[U_COUNT] == 0:
        user[U_PRECISION] = 1.0 / judged[J_USER_VARIANCE] - 1.0 / params.user_variance
        user[U_PULL] = judged[J_USER_MEAN] / judged[J_USER_VARIANCE]
        user[U_TERM_TIME] = time
    if item[M_TERM_TIME] != time or item[M_COUNT] == 0:
        item[M_PRECISION] = 1.0 / judged[J_ITEM_VARIANCE] - 1.0 / params.item_variance
        item[M_PULL] = judged[J_ITEM_MEAN] / judged[J_ITEM_VARIANCE]
        item[M_TERM_TIME] = time


@_borrowing
def _apply_world(
    state: HistoryState, params: HistoryParams, events: CodedInteractions, i: int, judged: Floats
) -> None:
    world, label, time = state.world, events.label[i], events.time[i]
    error, count = judged[J_ERROR], judged[J_USER_COUNT]
    world[W_BASE] += params.world_step * error
    world[W_ACTIVITY + _activity(count)] += params.world_step * error
    left = _decay((time - world[W_LAST_TIME]) / DAY, params.world_half_life)
    for column in range(W_FIRST_WEIGHT, WORLD_COLUMNS):
        world[column] *= left
    weight = W_FIRST_WEIGHT if count == 0 else W_LATER_WEIGHT
    world[weight] += 1.0
    world[weight + 1] += label
    world[W_LAST_TIME] = time


@_borrowing
def _apply_user(
    state: HistoryState, params: HistoryParams, events: CodedInteractions, i: int, judged: Floats
) -> None:
    user, label, value = state.user[events.user[i]], events.label[i], events.value[i]
    error, surprise = judged[J_ERROR], judged[J_ITEM_SURPRISE]
    if judged[J_USER_COUNT] == 0:
        user[U_FIRST_TIME] = events.time[i]
        user[U_LAST_TIME] = events.time[i]
        user[U_FAST_VALUE] = value
    gap = (events.time[i] - user[U_LAST_TIME]) / DAY
    user[U_PRECISION] += judged[J_USER_PRECISION]
    user[U_PULL] += judged[J_USER_PULL]
    user[U_LABELS] += label
    user[U_VALUES] += value
    user[U_SQUARES] += value * value
    user[U_RESIDUALS] += surprise
    user[U_FAST] += params.fast * (surprise - user[U_FAST])
    user[U_SLOW] += params.slow * (surprise - user[U_SLOW])
    user[U_FAST_VALUE] += params.fast_value * (value - user[U_FAST_VALUE])
    _add_decayed(user, U_DAY_WEIGHT, _decay(gap, params.day_half_life), error)
    _add_decayed(user, U_MONTH_WEIGHT, _decay(gap, params.month_half_life), error)
    user[U_LAST_LABEL] = label
    user[U_LAST_VALUE] = value
    user[U_LAST_TIME] = events.time[i]
    ring = state.liked if label > 0 else state.disliked
    column = U_LIKED if label > 0 else U_DISLIKED
    ring[events.user[i], int(user[column]) % ring.shape[1]] = events.item[i]
    user[column] += 1.0


@_borrowing
def _apply_peers(
    state: HistoryState, params: HistoryParams, events: CodedInteractions, i: int, judged: Floats
) -> None:
    time, error = events.time[i], judged[J_ERROR]
    peers = state.peers[events.item[i], _peer_group(judged[J_USER_COUNT])]
    decay = _decay((time - peers[P_LAST_TIME]) / DAY, params.long_half_life)
    peers[P_COUNT] += 1.0
    peers[P_ERRORS] += error
    _add_decayed(peers, P_LATE_WEIGHT, decay, error)
    peers[P_LAST_TIME] = time


@_borrowing
def _apply_item(
    state: HistoryState, params: HistoryParams, events: CodedInteractions, i: int, judged: Floats
) -> None:
    item, label, time = state.item[events.item[i]], events.label[i], events.time[i]
    if judged[J_ITEM_COUNT] == 0:
        item[M_FIRST_TIME] = time
        item[M_LAST_TIME] = time
    gap = (time - item[M_LAST_TIME]) / DAY
    item[M_PRECISION] += judged[J_ITEM_PRECISION]
    item[M_PULL] += judged[J_ITEM_PULL]
    if judged[J_USER_COUNT] == 0:
        item[M_FIRSTS] += 1.0
        item[M_FIRST_LABELS] += label
        item[M_FIRST_BIAS] += judged[J_ITEM_STEP]
    item[M_LABELS] += label
    item[M_RESIDUALS] += judged[J_USER_SURPRISE]
    _add_decayed(item, M_LONG_WEIGHT, _decay(gap, params.long_half_life), label)
    _add_decayed(item, M_SHORT_WEIGHT, _decay(gap, params.short_half_life), label)
    _add_decayed(item, M_BURST_WEIGHT, _decay(gap, params.burst_half_life), label)
    item[M_LAST_TIME] = time


@_borrowing
def _apply_attributes(
    state: HistoryState, attributes: ItemAttributes, events: CodedInteractions, i: int, error: float
) -> None:
    u, m = events.user[i], events.item[i]
    for j in range(attributes.genre_offsets[m], attributes.genre_offsets[m + 1]):
        taste = state.taste[u, attributes.genres[j]]
        taste[0] += error
        taste[1] += 1.0
    for j in range(attributes.people_offsets[m], attributes.people_offsets[m + 1]):
        person = state.person[attributes.people[j]]
        person[0] += error
        person[1] += 1.0


@_borrowing
def _expected_logit(
    state: HistoryState, params: HistoryParams, count: float, terms: float
) -> float:
    """`count` are the user's ratings, `terms` the sum of the user's and the item's term."""
    base = math.log(params.prior / (1.0 - params.prior)) + state.world[W_BASE]
    return float(base + state.world[W_ACTIVITY + _activity(count)] + terms)


@_borrowing
def _user_term(user: Floats, params: HistoryParams, time: int) -> tuple[float, float]:
    """Mean and variance at `time`: 0 and `user_variance` for a stranger, and back to it in time."""
    variance = 1.0 / (user[U_PRECISION] + 1.0 / params.user_variance)
    left = _decay((time - user[U_TERM_TIME]) / DAY, params.user_half_life)
    mean = user[U_PULL] * variance * left
    return mean, params.user_variance + left * left * (variance - params.user_variance)


@_borrowing
def _item_term(item: Floats, params: HistoryParams, time: int) -> tuple[float, float]:
    """Mean and variance at `time`; the variance drifts up to that of an unrated item."""
    variance = 1.0 / (item[M_PRECISION] + 1.0 / params.item_variance)
    drift = params.item_drift * (time - item[M_TERM_TIME]) / DAY
    return item[M_PULL] * variance, min(variance + drift, params.item_variance)


@_borrowing
def _taste(
    state: HistoryState, attributes: ItemAttributes, params: HistoryParams, u: int, m: int
) -> float:
    """Mean residual of the user on the item's genres; NaN if none of them was met."""
    residuals, count = 0.0, 0.0
    for j in range(attributes.genre_offsets[m], attributes.genre_offsets[m + 1]):
        residuals += state.taste[u, attributes.genres[j], 0]
        count += state.taste[u, attributes.genres[j], 1]
    return residuals / (count + params.taste_smoothing) if count > 0 else np.nan


@_borrowing
def _appeal(
    state: HistoryState, attributes: ItemAttributes, params: HistoryParams, m: int
) -> float:
    """Mean residual of the item's people over all their items; NaN if nobody is known."""
    residuals, count = 0.0, 0.0
    for j in range(attributes.people_offsets[m], attributes.people_offsets[m + 1]):
        residuals += state.person[attributes.people[j], 0]
        count += state.person[attributes.people[j], 1]
    return residuals / (count + params.taste_smoothing) if count > 0 else np.nan


@_borrowing
def _decay(gap: float, half_life: float) -> float:
    """What is left of a weight after `gap` days."""
    return math.exp(gap / half_life * -_LN_2)


@_borrowing
def _add_decayed(row: Floats, weight: int, decay: float, value: float) -> None:
    """Let the weight in column `weight` and the sum behind it decay, then add one rating."""
    row[weight] = row[weight] * decay + 1.0
    row[weight + 1] = row[weight + 1] * decay + value


@_borrowing
def _decayed_error(row: Floats, weight: int, decay: float, smoothing: float) -> float:
    """The mean that `_add_decayed` keeps, of errors: shrunk towards 0 by `smoothing` ratings."""
    return float(row[weight + 1] * decay / (row[weight] * decay + smoothing))


@_borrowing
def _mean(total: float, count: float, prior: float, smoothing: float) -> float:
    """Mean shrunk towards the prior by `smoothing` rows of it."""
    return (total + prior * smoothing) / (count + smoothing)


@_borrowing
def _activity(count: float) -> int:
    """The logarithm to the base of 2 of `count` + 1, rounded down."""
    level = 0
    while level < ACTIVITIES - 1 and count + 1.0 >= 2 << level:
        level += 1
    return level


@_borrowing
def _peer_group(count: float) -> int:
    """Users by their ratings so far: none, 1 or 2, 3 to 9, 10 and more."""
    if count < 1:
        return 0
    if count < 3:  # noqa: PLR2004
        return 1
    return 2 if count < 10 else 3  # noqa: PLR2004


@_borrowing
def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))

"""Simulated interactions: which user rates which item and when, and the value of each rating.

`draw_traffic` draws the rows, `draw_values` the true probability of a 10 for every row and a value
from it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.data.simulator.config import MINUTE, SimulationConfig
from widedeep.data.simulator.items import Floats, Ints, SimulatedItems
from widedeep.data.simulator.truth import NOTHING, Codes, SimulatedTruth

Bools = NDArray[np.bool_]
Values = NDArray[np.int8]

POSITIVE = 10
_ACTIVITY_EXPONENT = 1.4
"""Pareto exponent of the number of ratings of users with several, fitted to KMRD-small."""
_MEAN_SPAN = 1_600_000.0
"""Mean span of a user's ratings, in minutes; KMRD-small's is 1,125 days."""
_FIRST_SESSION = 7 * 24 * 60.0
"""The ratings of a user's first session are within so many minutes, most of them at once."""
_ATTEMPTS = 16
_FOLLOW = 0.5
"""After the first item of a planted pair, this part of the users takes the second one next."""
_LOW_VALUES = (0.112, 0.017, 0.018, 0.023, 0.044, 0.079, 0.142, 0.249, 0.316)
"""KMRD-small's shares of the values 1 to 9 among all that are not 10."""
_SAME_VALUE = 0.6
"""This part of the repeats copies the value of the first rating."""
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class SimulatedTraffic:
    """Ratings without values, sorted by user and then by time; all arrays are (ratings,) int32.

    Attributes:
        user: Codes, by descending number of ratings.
        item: Codes.
        minute: UNIX minutes.
        first: The row in which the user rated this item first, which may be the row itself.
    """

    user: Codes
    item: Codes
    minute: Codes
    first: Codes


def draw_traffic(
    config: SimulationConfig,
    item_table: SimulatedItems,
    follower: Codes,
    rng: np.random.Generator,
) -> SimulatedTraffic:
    """Draw which user rates which item, and when.

    Args:
        config: The settings.
        item_table: The items.
        follower: (items,) int32, the item that is often taken right after each one, or `NOTHING`.
        rng: The source of everything random.
    """
    user = np.repeat(np.arange(config.users, dtype=np.int32), _draw_activity(config, rng))
    minute = _draw_minutes(config, user, rng)
    again = config.ratings - config.users
    repeat = config.repeat_share * config.ratings / again if again else 0.0
    supply = np.cumsum(item_table.popularity), item_table.opening, follower
    item, first = _choose(user, minute, supply, min(repeat, 1.0), rng)
    return SimulatedTraffic(user, item, minute, first)


def _draw_activity(config: SimulationConfig, rng: np.random.Generator) -> Ints:
    """Draw each user's number of ratings, (users,) descending; their sum is `config.ratings`."""
    count = np.ones(config.users, np.int64)
    active, most = config.active_users, config.most_items
    if active:
        size = np.sort(rng.pareto(_ACTIVITY_EXPONENT, active))[::-1]
        total = config.ratings - config.users + active
        count[:active] = _scaled(size, _largest_scale(size, most, total), most)
        missing = config.ratings - count.sum()
        count[np.flatnonzero(count[:active] < most)[:missing]] += 1
    return count


def _scaled(size: Floats, scale: float, most: int) -> Ints:
    return np.minimum(2.0 + np.floor(2.0 * scale * size), most).astype(np.int64)


def _largest_scale(size: Floats, most: int, total: int) -> float:
    """Return the largest scale at which the scaled sizes do not sum to more than `total`."""
    low, high = 0.0, 1.0
    while _scaled(size, high, most).sum() < total:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = (low + high) / 2.0
        fits = _scaled(size, middle, most).sum() <= total
        low, high = (middle, high) if fits else (low, middle)
    return low


def _draw_minutes(config: SimulationConfig, user: Codes, rng: np.random.Generator) -> Codes:
    """Draw each row's UNIX minute, (ratings,) int32, ascending within a user."""
    since, until = config.since // MINUTE, config.until // MINUTE
    arrival_quantile = rng.random(config.users) ** (1.0 / (1.0 + config.growth))
    arrival = since + (arrival_quantile * (until - since)).astype(np.int64)
    left = until - arrival
    span = rng.exponential(_MEAN_SPAN, config.users)
    delay = (span[user] * rng.random(user.size)).astype(np.int64)
    in_session = delay > left[user]
    # First ratings, and ratings that would come too late, are cold; first sessions add the rest.
    cold = config.users / config.ratings
    cold += (1.0 - cold) * in_session.mean()
    missing = (config.cold_share - cold) / (1.0 - cold) if cold < 1.0 else 0.0
    in_session |= rng.random(user.size) < missing
    delay[in_session] = _FIRST_SESSION ** rng.random(np.count_nonzero(in_session))
    delay[np.flatnonzero(np.diff(user, prepend=-1))] = 0
    minute = arrival[user] + delay % (left[user] + 1)
    key: Ints = (user.astype(np.int64) << 32) + minute
    key.sort()
    # The lower 32 bits are the minute.
    return (key & 0xFFFFFFFF).astype(np.int32)


@compiled
def _choose(
    user: Codes,
    minute: Codes,
    supply: tuple[Floats, Ints, Codes],
    repeat: float,
    rng: np.random.Generator,
) -> tuple[Codes, Codes]:
    """Choose each row's item, and find the row in which its user rated that item first.

    `supply` are the items' cumulative popularity, opening and follower; `repeat` is the probability
    that a row repeats an item. Returns items and first rows, (ratings,) int32 each.
    """
    follower = supply[2]
    seen = np.full(follower.size, NOTHING, np.int32)
    item, first = np.empty_like(user), np.empty_like(user)
    start, pending = 0, NOTHING
    for row in range(user.size):
        if user[row] != user[start]:
            start, pending = row, NOTHING
        choice = NOTHING
        if row == start or rng.random() >= repeat:
            choice = _next_item(supply, seen, (start, minute[row], pending), rng)
            pending = NOTHING
        if choice == NOTHING:
            choice = item[start + int(rng.random() * (row - start))]
        elif rng.random() < _FOLLOW:
            pending = follower[choice]
        if seen[choice] < start:
            seen[choice] = row
        item[row], first[row] = choice, seen[choice]
    return item, first


@compiled
def _next_item(
    supply: tuple[Floats, Ints, Codes],
    seen: Codes,
    moment: tuple[int, int, int],
    rng: np.random.Generator,
) -> int:
    """Choose an open item that the user has not rated, or `NOTHING`.

    The pending item is preferred, then a draw by popularity, then any item. `moment` are the
    user's first row, the minute and the pending item.
    """
    cumulative, opening, _ = supply
    start, minute, pending = moment
    if pending != NOTHING and seen[pending] < start:
        return pending
    for _ in range(_ATTEMPTS):
        choice = min(int(np.searchsorted(cumulative, rng.random())), seen.size - 1)
        if seen[choice] < start and opening[choice] <= minute:
            return choice
    begin = int(rng.random() * seen.size)
    for step in range(seen.size):
        choice = (begin + step) % seen.size
        if seen[choice] < start and opening[choice] <= minute:
            return choice
    return NOTHING


@dataclass(frozen=True, slots=True)
class SimulatedValues:
    """The value of each row of the traffic; all arrays are (ratings,).

    Attributes:
        value: int8, 1 to 10.
        probability: float64, of a 10. A repeat that copies the first rating has the first rating's.
        exception: int32, the planted pair that was applied or `NOTHING`.
    """

    value: Values
    probability: Floats
    exception: Codes


def draw_values(
    config: SimulationConfig,
    truth: SimulatedTruth,
    traffic: SimulatedTraffic,
    rng: np.random.Generator,
) -> SimulatedValues:
    """Draw the value of every row, each user's in the order of time."""
    positive, logit, exception = draw_labels(config, truth, traffic, rng)
    value = _draw_low_values(logit, positive, rng)
    value[positive] = POSITIVE
    return _copy_first_ratings(traffic, SimulatedValues(value, sigmoid(logit), exception), rng)


def draw_labels(
    config: SimulationConfig,
    truth: SimulatedTruth,
    traffic: SimulatedTraffic,
    rng: np.random.Generator,
    features: Floats | float = 0.0,
) -> tuple[Bools, Floats, Codes]:
    """Draw which rows are positive, each user's in the order of time.

    Args:
        config: The settings.
        truth: What users and items are like.
        traffic: The rows.
        rng: The source of everything random.
        features: What the declared features of each row add to its logit, (rows,).

    Returns:
        Whether each row is positive, its logit, and the planted pair that was applied or `NOTHING`;
        all are (rows,).
    """
    logit = _logits(config, truth, traffic) + features
    logit += _intercept(logit, config.positive_share)
    columns = traffic.user, traffic.item, traffic.minute, traffic.first
    # The last 0 is indexed by NOTHING.
    effect = np.array([*(pair.effect for pair in truth.exceptions), 0.0])
    positive, exception = _decide(columns, logit, truth.roles(), effect, rng)
    logit += effect[exception]
    return positive, logit, exception


def _logits(config: SimulationConfig, truth: SimulatedTruth, traffic: SimulatedTraffic) -> Floats:
    """Return each row's logit before the intercept and the exceptions, (ratings,)."""
    middle = (config.since + config.until) / (2 * MINUTE)
    span = (config.until - config.since) / MINUTE
    logit = np.empty(traffic.user.size)
    # In chunks, as the gathered vectors of all rows would need more memory than everything else.
    for begin in range(0, logit.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        user, item = traffic.user[part], traffic.item[part]
        moment = (traffic.minute[part] - middle) / span
        logit[part] = (
            truth.user_bias[user]
            + truth.item_bias[item]
            + np.einsum("ij,ij->i", truth.user_taste[user], truth.item_taste[item])
            + truth.item_drift[item] * moment
        )
    return logit


def _intercept(logit: Floats, positive_share: float) -> float:
    """Return what to add to all logits so that the mean probability is `positive_share`."""
    sample = logit[:: 1 + logit.size // _CHUNK]
    low, high = -100.0, 100.0
    for _ in range(50):
        middle = (low + high) / 2.0
        enough = sigmoid(sample + middle).mean() >= positive_share
        low, high = (low, middle) if enough else (middle, high)
    return middle


@compiled
def _decide(
    traffic: tuple[Codes, Codes, Codes, Codes],
    logit: Floats,
    roles: tuple[Codes, Codes],
    effect: Floats,
    rng: np.random.Generator,
) -> tuple[Bools, Codes]:
    """Draw which rows are positive, and the planted pair that applied to each.

    `traffic` are the columns of `SimulatedTraffic`, `roles` those of `SimulatedTruth.roles`, and
    `effect` has that of each pair and a final 0.
    """
    user, item, minute, first = traffic
    liked, candidate = roles
    never = 2**31 - 1
    liked_at = np.full(effect.size, never, np.int32)
    positive = np.empty(user.size, np.bool_)
    exception = np.full(user.size, NOTHING, np.int32)
    for row in range(user.size):
        if row and user[row] != user[row - 1]:
            liked_at[:] = never
        pair = candidate[item[row]]
        if pair != NOTHING and liked_at[pair] < minute[row]:
            exception[row] = pair
        probability = 1.0 / (1.0 + np.exp(-logit[row] - effect[exception[row]]))
        positive[row] = rng.random() < probability
        if positive[row] and first[row] == row and liked[item[row]] != NOTHING:
            liked_at[liked[item[row]]] = minute[row]
    return positive, exception


def _draw_low_values(logit: Floats, positive: Bools, rng: np.random.Generator) -> Values:
    """Draw values from 1 to 9, (ratings,) int8, higher ones where the logit is high."""
    middle = logit[~positive].mean() if not positive.all() else 0.0
    quantile = rng.random(logit.size) ** np.exp((middle - logit) / 4.0)
    value: Ints = 1 + np.searchsorted(np.cumsum(_LOW_VALUES)[:-1], quantile, side="right")
    return value.astype(np.int8)


def _copy_first_ratings(
    traffic: SimulatedTraffic, drawn: SimulatedValues, rng: np.random.Generator
) -> SimulatedValues:
    """Let part of the repeats copy the first rating.

    All repeats in the minute of the first rating do, so they are exact duplicates.
    """
    source = np.arange(traffic.first.size)
    repeat = np.flatnonzero(traffic.first != source)
    same_minute = traffic.minute[repeat] == traffic.minute[traffic.first[repeat]]
    repeat = repeat[same_minute | (rng.random(repeat.size) < _SAME_VALUE)]
    source[repeat] = traffic.first[repeat]
    return SimulatedValues(drawn.value[source], drawn.probability[source], drawn.exception[source])


def sigmoid(logit: Floats) -> Floats:
    """Return the probability of each logit."""
    return 1.0 / (1.0 + np.exp(-logit))

"""Simulated traffic: which user rates which item, and when.

Known truth: the biases, tastes, drifts and planted exceptions behind simulated ratings.

Simulated ratings: the true probability of a 10 for every row, and the rates drawn from it.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.data.simulator.items import MINUTE, SimulatedItems, SimulationConfig

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Bools = NDArray[np.bool_]

NOTHING = -1
_TAIL = 1.4
"""Pareto exponent of the number of ratings of users with several, fitted to KMRD-small."""
_LIFE = 1_600_000.0
"""Mean span of a user's ratings, in minutes; KMRD-small's is 1,125 days."""
_SITTING = 7 * 24 * 60.0
"""The ratings of a user's first sitting come within so many minutes, most of them at once."""
_TRIES = 16
_FOLLOW = 0.5
"""After the first item of a planted pair, this part of the users takes the second one next."""


@dataclass(frozen=True, slots=True)
class SimulatedTraffic:
    """Rows by user, and within a user by time.

    Attributes:
        user: int32 [ratings], counted from 0 by descending number of ratings.
        item: int32 [ratings], counted from 0.
        minute: int32 [ratings], UNIX minutes.
        first: int32 [ratings], the row where the user rated this item first, the row itself if
            it is that one.
    """

    user: Codes
    item: Codes
    minute: Codes
    first: Codes


def draw_traffic(
    simulation: SimulationConfig,
    item_table: SimulatedItems,
    follower: Codes,
    rng: np.random.Generator,
) -> SimulatedTraffic:
    """Draw who rates what and when.

    Args:
        simulation: The settings.
        item table: The items.
        follower: int32 [items], the item often taken right after each one, or `NOTHING`.
        rng: The source of everything random.
    """
    user = np.repeat(np.arange(simulation.users, dtype=np.int32), _activity(simulation, rng))
    minute = _minutes(simulation, user, rng)
    again = simulation.ratings - simulation.users
    repeat = simulation.repeat_share * simulation.ratings / again if again else 0.0
    supply = np.cumsum(item_table.popularity), item_table.opening, follower
    item, first = _choose(user, minute, supply, min(repeat, 1.0), rng)
    return SimulatedTraffic(user, item, minute, first)


def _activity(simulation: SimulationConfig, rng: np.random.Generator) -> Ints:
    """Give each user's number of ratings, falling; the sum is `simulation.ratings` exactly."""
    count = np.ones(simulation.users, np.int64)
    several, most = simulation.several, simulation.most_items
    if several:
        size = np.sort(rng.pareto(_TAIL, several))[::-1]
        wanted = simulation.ratings - simulation.users + several
        count[:several] = _scaled(size, _scale(size, most, wanted), most)
        lacking = simulation.ratings - count.sum()
        count[np.flatnonzero(count[:several] < most)[:lacking]] += 1
    return count


def _scaled(size: Floats, scale: float, most: int) -> Ints:
    return np.minimum(2.0 + np.floor(2.0 * scale * size), most).astype(np.int64)


def _scale(size: Floats, most: int, wanted: int) -> float:
    """Find the largest scale at which the scaled sizes don't sum to more than is wanted."""
    low, high = 0.0, 1.0
    while _scaled(size, high, most).sum() < wanted:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = (low + high) / 2.0
        fits = _scaled(size, middle, most).sum() <= wanted
        low, high = (middle, high) if fits else (low, middle)
    return low


def _minutes(simulation: SimulationConfig, user: Codes, rng: np.random.Generator) -> Codes:
    """Give each row's UNIX minute, rising within a user."""
    since, until = simulation.since // MINUTE, simulation.until // MINUTE
    when = rng.random(simulation.users) ** (1.0 / (1.0 + simulation.growth))
    arrival = since + (when * (until - since)).astype(np.int64)
    left = until - arrival
    life = rng.exponential(_LIFE, simulation.users)
    offset = (life[user] * rng.random(user.size)).astype(np.int64)
    at_once = offset > left[user]
    # First ratings and users whose span ends too early are cold already; sittings add the rest.
    cold = simulation.users / simulation.ratings
    cold += (1.0 - cold) * at_once.mean()
    sitting = (simulation.cold_share - cold) / (1.0 - cold) if cold < 1.0 else 0.0
    at_once |= rng.random(user.size) < sitting
    offset[at_once] = _SITTING ** rng.random(np.count_nonzero(at_once))
    offset[np.flatnonzero(np.diff(user, prepend=-1))] = 0
    minute = arrival[user] + offset % (left[user] + 1)
    key: Ints = (user.astype(np.int64) << 32) + minute
    key.sort()
    # The lower half is the minute.
    return (key & 0xFFFFFFFF).astype(np.int32)


@njit(cache=True)
def _choose(
    user: Codes,
    minute: Codes,
    supply: tuple[Floats, Ints, Codes],
    repeat: float,
    rng: np.random.Generator,
) -> tuple[Codes, Codes]:
    """Choose each row's item, and find the row where its user rated that item first."""
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


@njit(cache=True)
def _next_item(
    supply: tuple[Floats, Ints, Codes],
    seen: Codes,
    moment: tuple[int, int, int],
    rng: np.random.Generator,
) -> int:
    """Choose an open item this user has not rated: pending, popular, or else any; or `NOTHING`."""
    reach, opening, _ = supply
    start, minute, pending = moment
    if pending != NOTHING and seen[pending] < start:
        return pending
    for _ in range(_TRIES):
        choice = min(int(np.searchsorted(reach, rng.random())), seen.size - 1)
        if seen[choice] < start and opening[choice] <= minute:
            return choice
    begin = int(rng.random() * seen.size)
    for step in range(seen.size):
        choice = (begin + step) % seen.size
        if seen[choice] < start and opening[choice] <= minute:
            return choice
    return NOTHING


Vectors = NDArray[np.float32]

_BY_GENRE, _BY_PEOPLE, _BY_ITSELF = 0.7, 0.5, 0.5


@dataclass(frozen=True, slots=True)
class PlantedException:
    """Who rated `liked` with a 10 before has `effect` added to the logit of `candidate`.

    Items are counted from 0.
    """

    liked: int
    candidate: int
    effect: float


@dataclass(frozen=True, slots=True)
class SimulatedTruth:
    """What decides a rating: float32 vectors by user or item, in logits.

    Attributes:
        user_bias: [users].
        item_bias: [items].
        user_taste: [users, latent_dimension].
        item_taste: [items, latent_dimension], made of genres, leading people and noise.
        item_drift: [items], the change over the whole span.
        exceptions: The planted pairs; no item is in two of them.
    """

    user_bias: Vectors
    item_bias: Vectors
    user_taste: Vectors
    item_taste: Vectors
    item_drift: Vectors
    exceptions: tuple[PlantedException, ...]

    def follower(self) -> Codes:
        """For each item the candidate of its pair or `NOTHING`, int32 [items]."""
        follower = np.full(self.item_bias.size, NOTHING, np.int32)
        for pair in self.exceptions:
            follower[pair.liked] = pair.candidate
        return follower

    def roles(self) -> tuple[Codes, Codes]:
        """Give each item the number of the pair it is `liked` in, and `candidate`, or `NOTHING`.

        int32 [items] each.
        """
        liked, candidate = np.full((2, self.item_bias.size), NOTHING, np.int32)
        for number, pair in enumerate(self.exceptions):
            liked[pair.liked] = candidate[pair.candidate] = number
        return liked, candidate


def draw_truth(
    simulation: SimulationConfig, item_table: SimulatedItems, rng: np.random.Generator
) -> SimulatedTruth:
    """Draw biases, tastes and drifts, and plant the exceptions where taste says the contrary."""
    users, items, length = simulation.users, simulation.items, simulation.latent_dimension
    item_taste = _item_taste(item_table, length, rng)
    item_bias = _normal(items, simulation.item_spread, rng)
    user_taste = _normal((users, length), simulation.taste_spread / length**0.5, rng)
    return SimulatedTruth(
        user_bias=_normal(users, simulation.user_spread, rng),
        item_bias=item_bias,
        user_taste=user_taste,
        item_taste=item_taste,
        item_drift=_normal(items, simulation.drift, rng) - np.float32(simulation.drift),
        exceptions=_plant(simulation, item_table, item_taste, item_bias),
    )


def _item_taste(item_table: SimulatedItems, length: int, rng: np.random.Generator) -> Vectors:
    items = item_table.popularity.size
    taste: Floats = _BY_ITSELF * rng.standard_normal((items, length))
    taste += _BY_GENRE * _linked(item_table.genre_links, taste.shape, rng)
    taste += _BY_PEOPLE * _linked(item_table.lead_links, taste.shape, rng)
    taste -= taste.mean(axis=0)
    scaled: Floats = taste / np.maximum(taste.std(axis=0), 1e-9)
    return scaled.astype(np.float32)


def _linked(links: Ints, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw a vector for each thing linked; a item has the sum of its own, scaled to variance 1."""
    item, thing = links.T
    vectors = rng.standard_normal((thing.max(initial=0) + 1, shape[1]))
    total = np.zeros(shape)
    np.add.at(total, item, vectors[thing])
    count = np.bincount(item, minlength=shape[0])
    return total / np.sqrt(np.maximum(count, 1))[:, None]


def _normal(shape: int | tuple[int, int], spread: float, rng: np.random.Generator) -> Vectors:
    values: Vectors = rng.standard_normal(shape, np.float32)
    return values * np.float32(spread)


def _plant(
    simulation: SimulationConfig, item_table: SimulatedItems, taste: Vectors, bias: Vectors
) -> tuple[PlantedException, ...]:
    """Pair popular items, effects by turns up and down, where taste says the contrary."""
    reach = np.where(item_table.opening == 0, item_table.popularity, 0.0)
    pool = np.argsort(-reach, kind="stable")[: 4 * simulation.exceptions]
    pool = pool[reach[pool] > 0]
    direction = taste[pool] / np.linalg.norm(taste[pool], axis=1, keepdims=True)
    alike = direction @ direction.T
    free = ~np.eye(pool.size, dtype=bool)
    pairs = []
    for number in range(simulation.exceptions):
        effect = simulation.exception_effect * (-1.0) ** number
        # Where nearly all or nearly none like the candidate anyway, no effect could be seen.
        cost = np.sign(effect) * alike + 0.3 * np.abs(bias[pool])
        cost[~free] = np.inf
        pair = np.unravel_index(np.argmin(cost), cost.shape)
        free[list(pair), :] = free[:, list(pair)] = False
        pairs.append(PlantedException(int(pool[pair[0]]), int(pool[pair[1]]), effect))
    return tuple(pairs)


Rates = NDArray[np.int8]

POSITIVE = 10
_LOW_RATES = (0.112, 0.017, 0.018, 0.023, 0.044, 0.079, 0.142, 0.249, 0.316)
"""KMRD-small's shares of the rates 1 to 9 among all that are not 10."""
_SAME_RATE = 0.6
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class SimulatedValues:
    """The rating of each row of the traffic.

    Attributes:
        rate: int8 [ratings], 1 to 10.
        probability: float64 [ratings], of a 10. A repeat that copies the first rating has the
            first rating's.
        exception: int32 [ratings], the planted pair that was applied or `NOTHING`.
    """

    value: Rates
    probability: Floats
    exception: Codes


def draw_values(
    simulation: SimulationConfig,
    truth: SimulatedTruth,
    traffic: SimulatedTraffic,
    rng: np.random.Generator,
) -> SimulatedValues:
    """Draw the rating of every row, each user's in order of time."""
    logit = _logits(simulation, truth, traffic)
    logit += _intercept(logit, simulation.positive_share)
    columns = traffic.user, traffic.item, traffic.minute, traffic.first
    # The last 0 belongs to NOTHING.
    effect = np.array([*(pair.effect for pair in truth.exceptions), 0.0])
    positive, exception = _decide(columns, logit, truth.roles(), effect, rng)
    logit += effect[exception]
    value = _low_rates(logit, positive, rng)
    value[positive] = POSITIVE
    return _copied(traffic, SimulatedValues(value, _sigmoid(logit), exception), rng)


def _logits(
    simulation: SimulationConfig, truth: SimulatedTruth, traffic: SimulatedTraffic
) -> Floats:
    middle = (simulation.since + simulation.until) / (2 * MINUTE)
    span = (simulation.until - simulation.since) / MINUTE
    logit = np.empty(traffic.user.size)
    # In chunks, because the gathered vectors of all rows would be the largest thing in memory.
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
    """Find what to add to all logits so that the mean probability is `positive_share`."""
    sample = logit[:: 1 + logit.size // _CHUNK]
    low, high = -100.0, 100.0
    for _ in range(50):
        middle = (low + high) / 2.0
        enough = _sigmoid(sample + middle).mean() >= positive_share
        low, high = (low, middle) if enough else (middle, high)
    return middle


@njit(cache=True)
def _decide(
    traffic: tuple[Codes, Codes, Codes, Codes],
    logit: Floats,
    roles: tuple[Codes, Codes],
    effect: Floats,
    rng: np.random.Generator,
) -> tuple[Bools, Codes]:
    """Draw which rows are positive, and note the planted pair that applied to each."""
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


def _low_rates(logit: Floats, positive: Bools, rng: np.random.Generator) -> Rates:
    """Draw rates from 1 to 9, higher ones where the logit is high."""
    middle = logit[~positive].mean() if not positive.all() else 0.0
    place = rng.random(logit.size) ** np.exp((middle - logit) / 4.0)
    value: Ints = 1 + np.searchsorted(np.cumsum(_LOW_RATES)[:-1], place, side="right")
    return value.astype(np.int8)


def _copied(
    traffic: SimulatedTraffic, drawn: SimulatedValues, rng: np.random.Generator
) -> SimulatedValues:
    """Let part of the repeats copy the first rating; in its own minute all do: exact duplicates."""
    source = np.arange(traffic.first.size)
    repeat = np.flatnonzero(traffic.first != source)
    same_minute = traffic.minute[repeat] == traffic.minute[traffic.first[repeat]]
    repeat = repeat[same_minute | (rng.random(repeat.size) < _SAME_RATE)]
    source[repeat] = traffic.first[repeat]
    return SimulatedValues(drawn.value[source], drawn.probability[source], drawn.exception[source])


def _sigmoid(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logit))

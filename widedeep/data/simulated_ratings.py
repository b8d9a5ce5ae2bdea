"""Simulated ratings: the true probability of a 10 for every row, and the rates drawn from it."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.data.simulated_traffic import NOTHING, Codes, Traffic
from widedeep.data.simulated_truth import Truth
from widedeep.data.simulation import MINUTE, Simulation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rates = NDArray[np.int8]

POSITIVE = 10
_LOW_RATES = (0.112, 0.017, 0.018, 0.023, 0.044, 0.079, 0.142, 0.249, 0.316)
"""KMRD-small's shares of the rates 1 to 9 among all that are not 10."""
_SAME_RATE = 0.6
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class SimulatedRatings:
    """The rating of each row of the traffic.

    Attributes:
        rate: int8 [ratings], 1 to 10.
        probability: float64 [ratings], of a 10. A repeat that copies the first rating has the
            first rating's.
        exception: int32 [ratings], the planted pair that was applied or `NOTHING`.
    """

    rate: Rates
    probability: Floats
    exception: Codes


def draw_ratings(
    simulation: Simulation, truth: Truth, traffic: Traffic, rng: np.random.Generator
) -> SimulatedRatings:
    """Draw the rating of every row, each user's in order of time."""
    logit = _logits(simulation, truth, traffic)
    logit += _intercept(logit, simulation.positive_share)
    columns = traffic.user, traffic.movie, traffic.minute, traffic.first
    # The last 0 belongs to NOTHING.
    effect = np.array([*(pair.effect for pair in truth.exceptions), 0.0])
    positive, exception = _decide(columns, logit, truth.roles(), effect, rng)
    logit += effect[exception]
    rate = _low_rates(logit, positive, rng)
    rate[positive] = POSITIVE
    return _copied(traffic, SimulatedRatings(rate, _sigmoid(logit), exception), rng)


def _logits(simulation: Simulation, truth: Truth, traffic: Traffic) -> Floats:
    middle = (simulation.since + simulation.until) / (2 * MINUTE)
    span = (simulation.until - simulation.since) / MINUTE
    logit = np.empty(traffic.user.size)
    # In chunks, because the gathered vectors of all rows would be the largest thing in memory.
    for begin in range(0, logit.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        user, movie = traffic.user[part], traffic.movie[part]
        moment = (traffic.minute[part] - middle) / span
        logit[part] = (
            truth.user_bias[user]
            + truth.movie_bias[movie]
            + np.einsum("ij,ij->i", truth.user_taste[user], truth.movie_taste[movie])
            + truth.movie_drift[movie] * moment
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
    user, movie, minute, first = traffic
    liked, candidate = roles
    never = 2**31 - 1
    liked_at = np.full(effect.size, never, np.int32)
    positive = np.empty(user.size, np.bool_)
    exception = np.full(user.size, NOTHING, np.int32)
    for row in range(user.size):
        if row and user[row] != user[row - 1]:
            liked_at[:] = never
        pair = candidate[movie[row]]
        if pair != NOTHING and liked_at[pair] < minute[row]:
            exception[row] = pair
        probability = 1.0 / (1.0 + np.exp(-logit[row] - effect[exception[row]]))
        positive[row] = rng.random() < probability
        if positive[row] and first[row] == row and liked[movie[row]] != NOTHING:
            liked_at[liked[movie[row]]] = minute[row]
    return positive, exception


def _low_rates(logit: Floats, positive: Bools, rng: np.random.Generator) -> Rates:
    """Draw rates from 1 to 9, higher ones where the logit is high."""
    middle = logit[~positive].mean() if not positive.all() else 0.0
    place = rng.random(logit.size) ** np.exp((middle - logit) / 4.0)
    rate: Ints = 1 + np.searchsorted(np.cumsum(_LOW_RATES)[:-1], place, side="right")
    return rate.astype(np.int8)


def _copied(
    traffic: Traffic, drawn: SimulatedRatings, rng: np.random.Generator
) -> SimulatedRatings:
    """Let part of the repeats copy the first rating; in its own minute all do: exact duplicates."""
    source = np.arange(traffic.first.size)
    repeat = np.flatnonzero(traffic.first != source)
    same_minute = traffic.minute[repeat] == traffic.minute[traffic.first[repeat]]
    repeat = repeat[same_minute | (rng.random(repeat.size) < _SAME_RATE)]
    source[repeat] = traffic.first[repeat]
    return SimulatedRatings(drawn.rate[source], drawn.probability[source], drawn.exception[source])


def _sigmoid(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logit))

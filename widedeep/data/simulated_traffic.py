"""Simulated traffic: which user rates which movie, and when."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.data.simulated_catalogue import SimulatedCatalogue
from widedeep.data.simulation import MINUTE, Simulation

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
"""After the first movie of a planted pair, this part of the users takes the second one next."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rows by user, and within a user by time.

    Attributes:
        user: int32 [ratings], counted from 0 by descending number of ratings.
        movie: int32 [ratings], counted from 0.
        minute: int32 [ratings], UNIX minutes.
        first: int32 [ratings], the row where the user rated this movie first, the row itself if
            it is that one.
    """

    user: Codes
    movie: Codes
    minute: Codes
    first: Codes


def draw_traffic(
    simulation: Simulation,
    catalogue: SimulatedCatalogue,
    follower: Codes,
    rng: np.random.Generator,
) -> Traffic:
    """Draw who rates what and when.

    Args:
        simulation: The settings.
        catalogue: The movies.
        follower: int32 [movies], the movie often taken right after each one, or `NOTHING`.
        rng: The source of everything random.
    """
    user = np.repeat(np.arange(simulation.users, dtype=np.int32), _activity(simulation, rng))
    minute = _minutes(simulation, user, rng)
    again = simulation.ratings - simulation.users
    repeat = simulation.repeat_share * simulation.ratings / again if again else 0.0
    supply = np.cumsum(catalogue.popularity), catalogue.opening, follower
    movie, first = _choose(user, minute, supply, min(repeat, 1.0), rng)
    return Traffic(user, movie, minute, first)


def _activity(simulation: Simulation, rng: np.random.Generator) -> Ints:
    """Give each user's number of ratings, falling; the sum is `simulation.ratings` exactly."""
    count = np.ones(simulation.users, np.int64)
    several, most = simulation.several, simulation.most_movies
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


def _minutes(simulation: Simulation, user: Codes, rng: np.random.Generator) -> Codes:
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
    """Choose each row's movie, and find the row where its user rated that movie first."""
    follower = supply[2]
    seen = np.full(follower.size, NOTHING, np.int32)
    movie, first = np.empty_like(user), np.empty_like(user)
    start, pending = 0, NOTHING
    for row in range(user.size):
        if user[row] != user[start]:
            start, pending = row, NOTHING
        choice = NOTHING
        if row == start or rng.random() >= repeat:
            choice = _next_movie(supply, seen, (start, minute[row], pending), rng)
            pending = NOTHING
        if choice == NOTHING:
            choice = movie[start + int(rng.random() * (row - start))]
        elif rng.random() < _FOLLOW:
            pending = follower[choice]
        if seen[choice] < start:
            seen[choice] = row
        movie[row], first[row] = choice, seen[choice]
    return movie, first


@njit(cache=True)
def _next_movie(
    supply: tuple[Floats, Ints, Codes],
    seen: Codes,
    moment: tuple[int, int, int],
    rng: np.random.Generator,
) -> int:
    """Choose an open movie this user has not rated: pending, popular, or else any; or `NOTHING`."""
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

"""The truth behind simulated ratings: biases, tastes, drifts and planted exceptions.

`draw_truth` draws it; what users then rate and how follows in `interactions`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.items import Floats, Ints, SimulatedItems

Vectors = NDArray[np.float32]
Codes = NDArray[np.int32]

NOTHING = -1
"""Stands for no item and for no planted pair among codes."""
_GENRE_WEIGHT, _PEOPLE_WEIGHT, _OWN_WEIGHT = 0.7, 0.5, 0.5


@dataclass(frozen=True, slots=True)
class PlantedException:
    """Users who rated the item `liked` with a 10 have `effect` added to the logit of `candidate`.

    Both items are codes, or ids where a caller says so.
    """

    liked: int
    candidate: int
    effect: float


@dataclass(frozen=True, slots=True)
class SimulatedTruth:
    """What determines a rating: float32 arrays by user or item, in logits.

    Attributes:
        user_bias: (users,).
        item_bias: (items,).
        user_taste: (users, latent_dimension).
        item_taste: (items, latent_dimension), made of genres, leading people and noise.
        item_drift: (items,), the change over the whole span.
        exceptions: The planted pairs, by codes; no item is in two of them.
    """

    user_bias: Vectors
    item_bias: Vectors
    user_taste: Vectors
    item_taste: Vectors
    item_drift: Vectors
    exceptions: tuple[PlantedException, ...]

    def follower(self) -> Codes:
        """Return for each item the candidate of its pair or `NOTHING`, (items,) int32."""
        follower = np.full(self.item_bias.size, NOTHING, np.int32)
        for pair in self.exceptions:
            follower[pair.liked] = pair.candidate
        return follower

    def roles(self) -> tuple[Codes, Codes]:
        """Return the pair in which each item is `liked`, and that in which it is `candidate`.

        Both are (items,) int32 numbers of pairs, or `NOTHING`.
        """
        liked, candidate = np.full((2, self.item_bias.size), NOTHING, np.int32)
        for number, pair in enumerate(self.exceptions):
            liked[pair.liked] = candidate[pair.candidate] = number
        return liked, candidate


def draw_truth(
    config: SimulationConfig, item_table: SimulatedItems, rng: np.random.Generator
) -> SimulatedTruth:
    """Draw biases, tastes and drifts, and plant the exceptions where they contradict the tastes."""
    users, items, length = config.users, config.items, config.latent_dimension
    item_taste = _draw_item_taste(item_table, length, rng)
    item_bias = _draw_normal(items, config.item_spread, rng)
    user_taste = _draw_normal((users, length), config.taste_spread / length**0.5, rng)
    return SimulatedTruth(
        user_bias=_draw_normal(users, config.user_spread, rng),
        item_bias=item_bias,
        user_taste=user_taste,
        item_taste=item_taste,
        item_drift=_draw_normal(items, config.drift, rng) - np.float32(config.drift),
        exceptions=_plant(config, item_table, item_taste, item_bias),
    )


def _draw_item_taste(item_table: SimulatedItems, length: int, rng: np.random.Generator) -> Vectors:
    """Draw the taste vector of each item, (items, length), standardised in each dimension."""
    items = item_table.popularity.size
    taste: Floats = _OWN_WEIGHT * rng.standard_normal((items, length))
    taste += _GENRE_WEIGHT * _draw_linked(item_table.genre_links, taste.shape, rng)
    taste += _PEOPLE_WEIGHT * _draw_linked(item_table.lead_links, taste.shape, rng)
    taste -= taste.mean(axis=0)
    scaled: Floats = taste / np.maximum(taste.std(axis=0), 1e-9)
    return scaled.astype(np.float32)


def _draw_linked(links: Ints, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw a vector for each linked attribute; return each item's sum of them, of variance 1.

    `links` are (links, 2) codes of items and attributes, `shape` is that of the result.
    """
    item, attribute = links.T
    vectors = rng.standard_normal((attribute.max(initial=0) + 1, shape[1]))
    total = np.zeros(shape)
    np.add.at(total, item, vectors[attribute])
    count = np.bincount(item, minlength=shape[0])
    return total / np.sqrt(np.maximum(count, 1))[:, None]


def _draw_normal(shape: int | tuple[int, int], spread: float, rng: np.random.Generator) -> Vectors:
    values: Vectors = rng.standard_normal(shape, np.float32)
    return values * np.float32(spread)


def _plant(
    config: SimulationConfig, item_table: SimulatedItems, taste: Vectors, bias: Vectors
) -> tuple[PlantedException, ...]:
    """Pair popular items, with effects alternately up and down, against what tastes predict."""
    popularity = np.where(item_table.opening == 0, item_table.popularity, 0.0)
    pool = np.argsort(-popularity, kind="stable")[: 4 * config.exceptions]
    pool = pool[popularity[pool] > 0]
    direction = taste[pool] / np.linalg.norm(taste[pool], axis=1, keepdims=True)
    similarity = direction @ direction.T
    free = ~np.eye(pool.size, dtype=bool)
    pairs = []
    for number in range(config.exceptions):
        effect = config.exception_effect * (-1.0) ** number
        # If nearly all or nearly no users like the candidate anyway, no effect could be seen.
        cost = np.sign(effect) * similarity + 0.3 * np.abs(bias[pool])
        cost[~free] = np.inf
        pair = np.unravel_index(np.argmin(cost), cost.shape)
        free[list(pair), :] = free[:, list(pair)] = False
        pairs.append(PlantedException(int(pool[pair[0]]), int(pool[pair[1]]), effect))
    return tuple(pairs)

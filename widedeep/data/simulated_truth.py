"""Known truth: the biases, tastes, drifts and planted exceptions behind simulated ratings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.data.simulated_catalogue import SimulatedCatalogue
from widedeep.data.simulated_traffic import NOTHING, Codes
from widedeep.data.simulation import Simulation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

_BY_GENRE, _BY_PEOPLE, _BY_ITSELF = 0.7, 0.5, 0.5


@dataclass(frozen=True, slots=True)
class PlantedException:
    """Who rated `liked` with a 10 before has `effect` added to the logit of `candidate`.

    Movies are counted from 0.
    """

    liked: int
    candidate: int
    effect: float


@dataclass(frozen=True, slots=True)
class Truth:
    """What decides a rating: float32 vectors by user or movie, in logits.

    Attributes:
        user_bias: [users].
        movie_bias: [movies].
        user_taste: [users, latent_dimension].
        movie_taste: [movies, latent_dimension], made of genres, leading people and noise.
        movie_drift: [movies], the change over the whole span.
        exceptions: The planted pairs; no movie is in two of them.
    """

    user_bias: Vectors
    movie_bias: Vectors
    user_taste: Vectors
    movie_taste: Vectors
    movie_drift: Vectors
    exceptions: tuple[PlantedException, ...]

    def follower(self) -> Codes:
        """For each movie the candidate of its pair or `NOTHING`, int32 [movies]."""
        follower = np.full(self.movie_bias.size, NOTHING, np.int32)
        for pair in self.exceptions:
            follower[pair.liked] = pair.candidate
        return follower

    def roles(self) -> tuple[Codes, Codes]:
        """Give each movie the number of the pair it is `liked` in, and `candidate`, or `NOTHING`.

        int32 [movies] each.
        """
        liked, candidate = np.full((2, self.movie_bias.size), NOTHING, np.int32)
        for number, pair in enumerate(self.exceptions):
            liked[pair.liked] = candidate[pair.candidate] = number
        return liked, candidate


def draw_truth(
    simulation: Simulation, catalogue: SimulatedCatalogue, rng: np.random.Generator
) -> Truth:
    """Draw biases, tastes and drifts, and plant the exceptions where taste says the contrary."""
    users, movies, length = simulation.users, simulation.movies, simulation.latent_dimension
    movie_taste = _movie_taste(catalogue, length, rng)
    movie_bias = _normal(movies, simulation.movie_spread, rng)
    user_taste = _normal((users, length), simulation.taste_spread / length**0.5, rng)
    return Truth(
        user_bias=_normal(users, simulation.user_spread, rng),
        movie_bias=movie_bias,
        user_taste=user_taste,
        movie_taste=movie_taste,
        movie_drift=_normal(movies, simulation.drift, rng) - np.float32(simulation.drift),
        exceptions=_plant(simulation, catalogue, movie_taste, movie_bias),
    )


def _movie_taste(catalogue: SimulatedCatalogue, length: int, rng: np.random.Generator) -> Vectors:
    movies = catalogue.popularity.size
    taste: Floats = _BY_ITSELF * rng.standard_normal((movies, length))
    taste += _BY_GENRE * _linked(catalogue.genre_links, taste.shape, rng)
    taste += _BY_PEOPLE * _linked(catalogue.lead_links, taste.shape, rng)
    taste -= taste.mean(axis=0)
    scaled: Floats = taste / np.maximum(taste.std(axis=0), 1e-9)
    return scaled.astype(np.float32)


def _linked(links: Ints, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw a vector for each thing linked; a movie has the sum of its own, scaled to variance 1."""
    movie, thing = links.T
    vectors = rng.standard_normal((thing.max(initial=0) + 1, shape[1]))
    total = np.zeros(shape)
    np.add.at(total, movie, vectors[thing])
    count = np.bincount(movie, minlength=shape[0])
    return total / np.sqrt(np.maximum(count, 1))[:, None]


def _normal(shape: int | tuple[int, int], spread: float, rng: np.random.Generator) -> Vectors:
    values: Vectors = rng.standard_normal(shape, np.float32)
    return values * np.float32(spread)


def _plant(
    simulation: Simulation, catalogue: SimulatedCatalogue, taste: Vectors, bias: Vectors
) -> tuple[PlantedException, ...]:
    """Pair popular movies, effects by turns up and down, where taste says the contrary."""
    reach = np.where(catalogue.opening == 0, catalogue.popularity, 0.0)
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

"""The best anyone can predict on simulated data who knows the movies, but users by ratings only.

The optimum in `simulation.json` knows every user's bias and taste, which no history tells. Here a
user is what the prior (the simulation's Gaussians) and that user's earlier ratings say: the score
is the posterior probability of a 10. Movies' biases, drifts and tastes, the planted exceptions and
the priors are taken as known, so it is still an upper bound for a model that learns them.

Under a history that ends early, a planted exception may apply by a rating that is not known. Such
a row gets the mean of both cases, weighed by how often that has happened to earlier raters of the
candidate under a history as old.

Each rating multiplies the posterior by a logistic term, and the product is brought back to the
Gaussian of the same mean and covariance (assumed density filtering; Minka, "A family of
algorithms for approximate Bayesian inference", 2001, section 3.2), the one-dimensional integrals
by Gauss-Hermite quadrature.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from widedeep.data.planted_truth import PlantedTruth
from widedeep.data.ratings import RatingLog
from widedeep.data.simulated_ratings import POSITIVE
from widedeep.data.simulated_truth import PlantedException
from widedeep.evaluation.scoring import Scorer
from widedeep.features.history import Queries

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_NODES = 48
_NEVER = np.iinfo(np.int64).max


class _Rated(NamedTuple):
    """Ratings by user and time: UNIX seconds, +1 or -1, the movie's logit and vector."""

    time: Ints
    label: Floats
    fixed: Floats
    vector: Floats


class _Asked(NamedTuple):
    """Queries: until when they know, the movie's logit and vector, and their user's ratings."""

    known_until: Ints
    fixed: Floats
    vector: Floats
    begin: Ints
    end: Ints


class _Effects(NamedTuple):
    """What exceptions add to each query's logit: `known`, or `possible` with a `chance`; (n,)."""

    known: Floats
    possible: Floats
    chance: Floats


def attainable(planted: PlantedTruth, log: RatingLog) -> Scorer:
    """Score by the posterior probability of a 10, given the ratings of `log` a query may know."""
    order = np.lexsort((log.time, log.user))
    user, movie, time = (np.array(column[order]) for column in (log.user, log.movie, log.time))
    label = np.where(log.rate[order] == POSITIVE, 1.0, -1.0)
    effects = _effects(planted, log, Queries(user, movie, time, time))
    fixed = planted.movie_logit(movie, time) + effects.known
    rated = _Rated(time, label, fixed, planted.movie_vectors(movie))

    def score(asked: Queries) -> Floats:
        begin, end = (np.searchsorted(user, asked.user, side) for side in ("left", "right"))
        effects = _effects(planted, log, asked)
        fixed = planted.movie_logit(asked.movie, asked.time) + effects.known
        vectors = planted.movie_vectors(asked.movie)
        queries = _Asked(np.array(asked.known_until), fixed, vectors, begin, end)
        by_user = np.lexsort((asked.known_until, asked.user))
        middle, spread = _beliefs(rated, queries, by_user, _quadrature())
        usual, otherwise = (_probability(x, spread) for x in (middle, middle + effects.possible))
        return usual + effects.chance * (otherwise - usual)

    return score


def _effects(planted: PlantedTruth, log: RatingLog, asked: Queries) -> _Effects:
    found = _Effects(*np.zeros((3, len(asked))))
    for pair in planted.exceptions:
        rows = np.flatnonzero(asked.movie == pair.candidate)
        rated_at, liked = _rating_of(pair.liked, log, asked.user[rows])
        is_known = rated_at < asked.known_until[rows]
        found.known[rows[is_known & liked]] = pair.effect
        found.possible[rows] = pair.effect
        old = rows[~is_known & (asked.known_until < asked.time)[rows]]
        found.chance[old] = _chance(pair, log, asked.take(old))
    return found


def _chance(pair: PlantedException, log: RatingLog, asked: Queries) -> Floats:
    """How likely the liked movie had its 10 since the history's end, if not before; (n,).

    That is its share among the known raters of the candidate who had no rating of the liked movie
    as old as that; one more without it stands for what has not been seen yet.
    """
    rows = np.flatnonzero(log.movie == pair.candidate)
    rated_at, liked = _rating_of(pair.liked, log, log.user[rows])
    since, age = log.time[rows] - rated_at, (asked.time - asked.known_until)[:, None]
    alike = (log.time[rows] < asked.known_until[:, None]) & (since <= age)
    found: Floats = (alike & liked & (since > 0)).sum(axis=1) / (1.0 + alike.sum(axis=1))
    return found


def _rating_of(movie: int, log: RatingLog, user: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """When each user rated the movie (never: far in the future), and whether with a 10; (n,)."""
    rows = np.flatnonzero(log.movie == movie)
    place = pd.Index(log.user[rows]).get_indexer(pd.Index(user))
    time, liked = np.append(log.time[rows], _NEVER), np.append(log.rate[rows] == POSITIVE, False)
    return time[place], liked[place]


def _quadrature() -> tuple[Floats, Floats]:
    """Nodes and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()


def _probability(middle: Floats, spread: Floats) -> Floats:
    """The mean of the sigmoid of a Gaussian logit, shape (n,)."""
    nodes, weights = _quadrature()
    logit = middle[:, None] + spread[:, None] * nodes
    found: Floats = np.exp(-np.logaddexp(0, -logit)) @ weights
    return found


@njit(cache=True)
def _beliefs(
    rated: _Rated, asked: _Asked, by_user: Ints, quadrature: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Walk each user's ratings once; give mean and deviation of each query's logit.

    `by_user` sorts the queries by user and known until.
    """
    length = asked.vector.shape[1]
    mean, covariance = np.zeros(length), np.eye(length)
    middle, spread = np.empty(by_user.size), np.empty(by_user.size)
    begin, following = -1, 0
    for query in by_user:
        if asked.begin[query] != begin:
            begin = following = asked.begin[query]
            mean[:] = 0.0
            covariance[:] = np.eye(length)
        while following < asked.end[query] and rated.time[following] < asked.known_until[query]:
            _absorb(mean, covariance, rated, following, quadrature)
            following += 1
        vector = asked.vector[query]
        middle[query] = asked.fixed[query] + mean @ vector
        spread[query] = np.sqrt(max(vector @ covariance @ vector, 0.0))
    return middle, spread


@njit(cache=True)
def _absorb(
    mean: Floats, covariance: Floats, rated: _Rated, row: int, quadrature: tuple[Floats, Floats]
) -> None:
    """Move a user's posterior past one rating."""
    vector = rated.vector[row]
    along = covariance @ vector
    variance = vector @ along
    if variance <= 0.0:
        return
    spread = np.sqrt(variance)
    middle = rated.fixed[row] + mean @ vector
    shift, narrowed = _tilted(rated.label[row], middle, spread, quadrature)
    mean += along * (shift / spread)
    covariance -= np.outer(along, along) * ((1.0 - narrowed) / variance)


@njit(cache=True)
def _tilted(
    label: float, middle: float, spread: float, quadrature: tuple[Floats, Floats]
) -> tuple[float, float]:
    """Mean and variance, in spreads, that a label leaves of a Gaussian logit."""
    nodes, weights = quadrature
    total, first, second = 0.0, 0.0, 0.0
    for i in range(nodes.size):
        likely = weights[i] / (1.0 + np.exp(-label * (middle + spread * nodes[i])))
        total += likely
        first += likely * nodes[i]
        second += likely * nodes[i] ** 2
    return first / total, second / total - (first / total) ** 2

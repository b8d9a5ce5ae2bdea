"""The truth behind a simulated folder, drawn again from its settings and held against its files.

The best anyone can predict on simulated data who knows the items, but users by ratings only.

The optimum in `simulation.json` knows every user's bias and taste, which no history tells. Here a
user is what the prior (the simulation's Gaussians) and that user's earlier ratings say: the score
is the posterior probability of a 10. Items' biases, drifts and tastes, the planted exceptions and
the priors are taken as known, so it is still an upper bound for a model that learns them.

Under a history that ends early, a planted exception may apply by a rating that is not known. Such
a row gets the mean of both cases, weighed by how often that has happened to earlier raters of the
candidate under a history as old.

Each rating multiplies the posterior by a logistic term, and the product is brought back to the
Gaussian of the same mean and covariance (assumed density filtering; Minka, "A family of
algorithms for approximate Bayesian inference", 2001, section 3.2), the one-dimensional integrals
by Gauss-Hermite quadrature.

What a model recovered of a simulation's planted truth: the exceptions and the latent taste.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numba import njit
from numpy.typing import NDArray

from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.interactions import POSITIVE
from widedeep.data.simulator.items import FIRST_ITEM, draw_items
from widedeep.data.simulator.truth import PlantedException, SimulatedTruth, draw_truth
from widedeep.data.simulator.write import MARKER, TRUTH
from widedeep.data.tables import Interactions
from widedeep.evaluation.scoring import Scorer
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
from widedeep.features.wide_ids import WideBlock, wide_blocks
from widedeep.inputs import InputError
from widedeep.model.batch import Batch
from widedeep.model.trained_model import TrainedModel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_TRUTH_COLUMNS = ("user", "movie", "time", "probability")
_SAME = 1e-4
"""Logits agree to this: the truth is float32, and the sum of its terms is large at most 30."""
_SURE = 1e-9
"""A probability nearer than this to 0 or 1 no longer tells its logit."""
_MOST = 0.9


@dataclass(frozen=True, slots=True)
class PlantedTruth:
    """What decides a rating; item `i` of `truth` has the token `FIRST_ITEM + i`.

    `intercept` is the part of the logit that all ratings share.
    """

    simulation: SimulationConfig
    truth: SimulatedTruth
    intercept: float

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Draw the truth of a folder that `simulate` wrote.

        Raises:
            InputError: the folder is not simulated, or was by another version of the simulator.
        """
        for name in (MARKER, TRUTH):
            if not (folder / name).is_file():
                raise InputError(f"{folder} has no {name}; a simulated data set is wanted")
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        simulation = SimulationConfig(**marker["simulation"])
        item_table_rng, truth_rng, *_ = np.random.default_rng(simulation.seed).spawn(4)
        truth = draw_truth(simulation, draw_items(simulation, item_table_rng), truth_rng)
        drawn = cls(simulation, truth, 0.0)
        intercept = drawn._intercept(pq.read_table(folder / TRUTH))
        if not np.isfinite(intercept):
            raise InputError(
                f"{folder / TRUTH} does not fit the settings in {MARKER}: another version of the "
                "simulator wrote it, so simulate anew"
            )
        return cls(simulation, truth, intercept)

    @property
    def exceptions(self) -> tuple[PlantedException, ...]:
        """The planted pairs, with the tokens of items."""
        return tuple(
            PlantedException(FIRST_ITEM + pair.liked, FIRST_ITEM + pair.candidate, pair.effect)
            for pair in self.truth.exceptions
        )

    def item_logit(self, item: Ints, time: Ints) -> Floats:
        """What the items (tokens) add at UNIX seconds, the intercept included; shape (n,)."""
        first, last = self.simulation.since, self.simulation.until
        moment = (time - (first + last) / 2) / (last - first)
        row = item - FIRST_ITEM
        found: Floats = self.truth.item_bias[row] + self.truth.item_drift[row] * moment
        return found + self.intercept

    def item_vectors(self, item: Ints) -> Floats:
        """What a user's unit Gaussian vector (bias first, then taste) is multiplied with.

        Shape (n, 1 + latent_dimension), in logits: each column is scaled by its prior's spread.
        """
        row, settings = item - FIRST_ITEM, self.simulation
        bias = np.full((row.size, 1), settings.user_spread)
        spread = settings.taste_spread / settings.latent_dimension**0.5
        return np.hstack([bias, spread * self.truth.item_taste[row].astype(np.float64)])

    def taste_logit(self, user: Ints, item: Ints) -> Floats:
        """What the users' tastes say of the items, by token; in logits, shape (n,)."""
        taste, row = self.truth.item_taste, item - FIRST_ITEM
        found: Floats = np.einsum("ij,ij->i", self.truth.user_taste[user], taste[row])
        return found.astype(np.float64)

    def without_exceptions(self) -> Self:
        """The same world with nothing planted against taste."""
        return replace(self, truth=replace(self.truth, exceptions=()))

    def _intercept(self, table: pa.Table) -> float:
        """What the stated logits have in common beyond the truth; NaN where they have nothing."""
        user, item, time, probability = (table[name].to_numpy() for name in _TRUTH_COLUMNS)
        told = np.minimum(probability, 1 - probability) > _SURE
        told &= ~np.isin(item, [pair.candidate for pair in self.exceptions])
        user, item, time, probability = user[told], item[told], time[told], probability[told]
        rest = np.log(probability / (1 - probability)) - self.item_logit(item, time)
        rest -= self.truth.user_bias[user] + self.taste_logit(user, item)
        middle = float(np.median(rest)) if rest.size else np.nan
        # A repeat may state the probability of an earlier moment.
        return middle if np.mean(np.abs(rest - middle) < _SAME) > _MOST else np.nan


_NODES = 48
_NEVER = np.iinfo(np.int64).max


class _Rated(NamedTuple):
    """Ratings by user and time: UNIX seconds, +1 or -1, the item's logit and vector."""

    time: Ints
    label: Floats
    fixed: Floats
    vector: Floats


class _Asked(NamedTuple):
    """Queries: until when they know, the item's logit and vector, and their user's ratings."""

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


def attainable_scores(planted: PlantedTruth, interactions: Interactions) -> Scorer:
    """Score by the posterior probability of a 10, given the ratings that a query may know."""
    order = np.lexsort((interactions.time, interactions.user))
    user, item, time = (
        np.array(column[order])
        for column in (interactions.user, interactions.item, interactions.time)
    )
    label = np.where(interactions.value[order] == POSITIVE, 1.0, -1.0)
    effects = _effects(planted, interactions, Queries(user, item, time, time))
    fixed = planted.item_logit(item, time) + effects.known
    rated = _Rated(time, label, fixed, planted.item_vectors(item))

    def score(asked: Queries) -> Floats:
        begin, end = (np.searchsorted(user, asked.user, side) for side in ("left", "right"))
        effects = _effects(planted, interactions, asked)
        fixed = planted.item_logit(asked.item, asked.time) + effects.known
        vectors = planted.item_vectors(asked.item)
        queries = _Asked(np.array(asked.known_until), fixed, vectors, begin, end)
        by_user = np.lexsort((asked.known_until, asked.user))
        middle, spread = _beliefs(rated, queries, by_user, _quadrature())
        usual, otherwise = (_probability(x, spread) for x in (middle, middle + effects.possible))
        return usual + effects.chance * (otherwise - usual)

    return score


def _effects(planted: PlantedTruth, interactions: Interactions, asked: Queries) -> _Effects:
    found = _Effects(*np.zeros((3, len(asked))))
    for pair in planted.exceptions:
        rows = np.flatnonzero(asked.item == pair.candidate)
        rated_at, liked = _rating_of(pair.liked, interactions, asked.user[rows])
        is_known = rated_at < asked.known_until[rows]
        found.known[rows[is_known & liked]] = pair.effect
        found.possible[rows] = pair.effect
        old = rows[~is_known & (asked.known_until < asked.time)[rows]]
        found.chance[old] = _chance(pair, interactions, asked.select_rows(old))
    return found


def _chance(pair: PlantedException, interactions: Interactions, asked: Queries) -> Floats:
    """How likely the liked item had its 10 since the history's end, if not before; (n,).

    That is its share among the known raters of the candidate who had no rating of the liked item
    as old as that; one more without it stands for what has not been seen yet.
    """
    rows = np.flatnonzero(interactions.item == pair.candidate)
    rated_at, liked = _rating_of(pair.liked, interactions, interactions.user[rows])
    since, age = interactions.time[rows] - rated_at, (asked.time - asked.known_until)[:, None]
    alike = (interactions.time[rows] < asked.known_until[:, None]) & (since <= age)
    found: Floats = (alike & liked & (since > 0)).sum(axis=1) / (1.0 + alike.sum(axis=1))
    return found


def _rating_of(item: int, interactions: Interactions, user: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """When each user rated the item (never: far in the future), and whether with a 10; (n,)."""
    rows = np.flatnonzero(interactions.item == item)
    place = pd.Index(interactions.user[rows]).get_indexer(pd.Index(user))
    time, liked = (
        np.append(interactions.time[rows], _NEVER),
        np.append(interactions.value[rows] == POSITIVE, False),
    )
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


_CROSS = ("liked", "item")
_NO_CROSSES = WideBlock("", 0, _CROSS, (np.empty(0, np.int64), np.empty(0, np.int64)))
_USERS, _ITEMS = 300, 100


@dataclass(frozen=True, slots=True)
class FoundException:
    """A planted pair, and the wide weight of its cross liked x item.

    Attributes:
        planted: The pair (tokens) and its effect, in logits.
        support: Training rows that fired the cross; 0 where it was below the minimum support.
        weight: In logits; 0 where L1 or the minimum support left none.
        rank: Place of the weight's size among all crosses of the kind, from 1; 0 where it is 0.
    """

    planted: PlantedException
    support: int
    weight: float
    rank: int

    @property
    def right(self) -> bool:
        """Whether the weight points where the effect does."""
        return self.weight * self.planted.effect > 0


@dataclass(frozen=True, slots=True)
class WideRecovery:
    """The planted pairs among all crosses liked x item, ranked by the size of their weight.

    A pair counts as recovered if it has the right sign and is one of the K heaviest crosses. K is
    the number of pairs with enough support to be a cross: a perfect memory has just these on top.

    Attributes:
        exceptions: One a planted pair.
        crosses: Crosses of the kind that met the minimum support.
        nonzero: Those of them that have a weight.
    """

    exceptions: tuple[FoundException, ...]
    crosses: int
    nonzero: int

    @property
    def seen(self) -> int:
        """K."""
        return sum(found.support > 0 for found in self.exceptions)

    @property
    def recovered(self) -> int:
        """Pairs with the right sign among the K heaviest crosses."""
        return sum(found.right and found.rank <= self.seen for found in self.exceptions)

    @property
    def precision(self) -> float:
        """Share of the K heaviest crosses, and so of the pairs with enough support, too."""
        return self.recovered / max(self.seen, 1)

    @property
    def recall(self) -> float:
        """Share of all planted pairs."""
        return self.recovered / max(len(self.exceptions), 1)


@dataclass(frozen=True, slots=True)
class TasteRecovery:
    """How well scores order items for a user as that user's true taste does.

    Mean over users of Spearman's rank correlation over items, both sides without their item
    means: an item that all like more tells nothing of taste.

    Attributes:
        deep: The model's deep part.
        attainable: The posterior of someone who knows the items' tastes, see `attainable_scores`:
            what these users' ratings tell of their taste at all.
    """

    deep: float
    attainable: float


def recover_exceptions(model: TrainedModel, planted: PlantedTruth) -> WideRecovery:
    """Look the planted pairs up in the wide part; none is found where it has no such cross."""
    blocks = (block for block in wide_blocks(model.transform) if block.features == _CROSS)
    block = next(blocks, _NO_CROSSES)
    items = model.transform.vocabulary_of("item")
    liked, candidate = (items.decode(ids) for ids in block.codes)
    weight = model.wide_weights[block.wide_ids].astype(np.float64)
    support = model.support.counts[block.wide_ids]
    size = np.abs(weight)

    def look_up(pair: PlantedException) -> FoundException:
        for place in np.flatnonzero((liked == pair.liked) & (candidate == pair.candidate)):
            rank = 1 + int((size > size[place]).sum()) if size[place] else 0
            return FoundException(pair, int(support[place]), float(weight[place]), rank)
        return FoundException(pair, 0, 0.0, 0)

    found = tuple(look_up(pair) for pair in planted.exceptions)
    return WideRecovery(found, len(block), int(np.count_nonzero(weight)))


def recover_taste(
    model: TrainedModel, planted: PlantedTruth, interactions: Interactions, tables: FeatureTables
) -> TasteRecovery:
    """Ask for the users and the items with the most ratings, as of the end of training.

    `planted` is the truth behind the ratings of `interactions`.
    """
    learned = interactions.time < model.learned_until
    users, items = (
        _commonest(interactions.user[learned], _USERS),
        _commonest(interactions.item[learned], _ITEMS),
    )
    asked = Queries.for_every_pair(users, items, model.learned_until)
    # An exception is no taste: it is planted against it.
    bound = attainable_scores(planted.without_exceptions(), interactions)(asked)
    truth = planted.taste_logit(asked.user, asked.item)

    def agreement(scores: Floats) -> float:
        return _rank_correlation(*(x.reshape(-1, len(items)) for x in (scores, truth)))

    deep = _deep_logits(model, interactions, tables, asked)
    return TasteRecovery(agreement(deep), agreement(np.log(bound / (1 - bound))))


def _commonest(tokens: Ints, most: int) -> Ints:
    found, times = np.unique(tokens, return_counts=True)
    return found[np.argsort(-times, kind="stable")[:most]]


@torch.no_grad()
def _deep_logits(
    model: TrainedModel, interactions: Interactions, tables: FeatureTables, asked: Queries
) -> Floats:
    rows = model.transform.encode(model.transform.compute_features(interactions, asked, tables))
    model.network.eval()
    found = model.network.deep_logit(Batch.from_encoded(rows, model.network.bias.device))
    return found.cpu().numpy().astype(np.float64)


def _rank_correlation(scores: Floats, truth: Floats) -> float:
    """Mean over rows of Spearman's correlation between columns, column means taken out before."""
    ranks = [pd.DataFrame(each - each.mean(axis=0)).rank(axis=1) for each in (scores, truth)]
    return float(ranks[0].corrwith(ranks[1], axis=1).mean())

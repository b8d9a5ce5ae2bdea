"""What a model recovered of a simulation's planted truth: the exceptions and the latent taste."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from widedeep.data.planted_truth import PlantedTruth
from widedeep.data.ratings import RatingLog
from widedeep.data.simulated_truth import PlantedException
from widedeep.evaluation.attainable import attainable
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import Queries
from widedeep.features.wide_block import WideBlock, wide_blocks
from widedeep.model.batch import Batch
from widedeep.model.trained_model import TrainedModel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_CROSS = ("liked", "movie")
_NO_CROSSES = WideBlock("", 0, _CROSS, (np.empty(0, np.int64), np.empty(0, np.int64)))
_USERS, _MOVIES = 300, 100


@dataclass(frozen=True, slots=True)
class FoundException:
    """A planted pair, and the wide weight of its cross liked x movie.

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
    """The planted pairs among all crosses liked x movie, ranked by the size of their weight.

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
    """How well scores order movies for a user as that user's true taste does.

    Mean over users of Spearman's rank correlation over movies, both sides without their movie
    means: a movie that all like more tells nothing of taste.

    Attributes:
        deep: The model's deep part.
        attainable: The posterior of someone who knows the movies' tastes (see `attainable`): what
            these users' ratings tell of their taste at all.
    """

    deep: float
    attainable: float


def recover_exceptions(model: TrainedModel, planted: PlantedTruth) -> WideRecovery:
    """Look the planted pairs up in the wide part; none is found where it has no such cross."""
    blocks = (block for block in wide_blocks(model.transform) if block.features == _CROSS)
    block = next(blocks, _NO_CROSSES)
    movies = model.transform.vocabulary_of("movie")
    liked, candidate = (movies.decode(ids) for ids in block.parts)
    weight = model.wide_weights[block.ids].astype(np.float64)
    support = model.evidence.support[block.ids]
    size = np.abs(weight)

    def look_up(pair: PlantedException) -> FoundException:
        for place in np.flatnonzero((liked == pair.liked) & (candidate == pair.candidate)):
            rank = 1 + int((size > size[place]).sum()) if size[place] else 0
            return FoundException(pair, int(support[place]), float(weight[place]), rank)
        return FoundException(pair, 0, 0.0, 0)

    found = tuple(look_up(pair) for pair in planted.exceptions)
    return WideRecovery(found, len(block), int(np.count_nonzero(weight)))


def recover_taste(
    model: TrainedModel, planted: PlantedTruth, log: RatingLog, catalogue: Catalogue
) -> TasteRecovery:
    """Ask for the users and the movies with the most ratings, as of the end of training.

    `planted` is the truth behind the ratings of `log`.
    """
    learned = log.time < model.learned_until
    users, movies = _commonest(log.user[learned], _USERS), _commonest(log.movie[learned], _MOVIES)
    asked = Queries.of_every_pair(users, movies, model.learned_until)
    # An exception is no taste: it is planted against it.
    bound = attainable(planted.without_exceptions(), log)(asked)
    truth = planted.taste_logit(asked.user, asked.movie)

    def agreement(scores: Floats) -> float:
        return _rank_correlation(*(x.reshape(-1, len(movies)) for x in (scores, truth)))

    deep = _deep_logits(model, log, catalogue, asked)
    return TasteRecovery(agreement(deep), agreement(np.log(bound / (1 - bound))))


def _commonest(tokens: Ints, most: int) -> Ints:
    found, times = np.unique(tokens, return_counts=True)
    return found[np.argsort(-times, kind="stable")[:most]]


@torch.no_grad()
def _deep_logits(
    model: TrainedModel, log: RatingLog, catalogue: Catalogue, asked: Queries
) -> Floats:
    rows = model.transform.encode(model.transform.describe(log, asked, catalogue))
    model.network.eval()
    found = model.network.deep_logit(Batch.from_encoded(rows, model.network.bias.device))
    return found.cpu().numpy().astype(np.float64)


def _rank_correlation(scores: Floats, truth: Floats) -> float:
    """Mean over rows of Spearman's correlation between columns, column means taken out before."""
    ranks = [pd.DataFrame(each - each.mean(axis=0)).rank(axis=1) for each in (scores, truth)]
    return float(ranks[0].corrwith(ranks[1], axis=1).mean())

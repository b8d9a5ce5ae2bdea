"""The whole chain: what the model makes of the short lists, against what it makes of all films."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.errors import InputError
from widedeep.evaluation.scoring import Scorer
from widedeep.features.history import Queries
from widedeep.metrics import NDCG_CUTOFF, ndcg_at_10
from widedeep.serving import popularity
from widedeep.serving.retrieval import SHORT, Retrieval

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_PART = 200


@dataclass(frozen=True, slots=True)
class Chain:
    """Mean NDCG at 10 of whole lists, history frozen at the holdout's start.

    A hit is a film that the user went on to like in the holdout; what the user went on not to rate
    counts as a miss, so this also asks who will watch what, which no model here was trained for.

    Attributes:
        users: How many lists.
        chain: The candidates, ranked by the model.
        everything: All films allowed, ranked by the model.
        retrieved: The candidates as retrieval orders them.
        popular: The most popular films.
    """

    users: int
    chain: float
    everything: float
    retrieved: float
    popular: float


@dataclass(frozen=True, slots=True)
class Rated:
    """`metrics.ndcg_at_10` of the films that a user rated in the holdout, and of no others.

    Attributes:
        chain: Films that are not among the candidates stand last, in no order.
        everything: All ranked by the model; the headline metric.
    """

    chain: float
    everything: float

    @classmethod
    def of(
        cls,
        retrieval: Retrieval,
        held: RatingLog,
        label: NDArray[np.bool_],
        at: int,
        scorer: Scorer,
    ) -> Self | None:
        """None where no user has a positive and two rows."""
        moment = np.full(len(held), at)
        scores = scorer(Queries(held.user, held.movie, held.time, moment))
        order = np.argsort(held.user, kind="stable")
        found = np.zeros(len(held), np.bool_)
        for rows in np.split(order, np.flatnonzero(np.diff(held.user[order])) + 1):
            user = int(held.user[rows[0]])
            movies = [one.movie for one in retrieval.candidates(user, at, SHORT)]
            found[rows] = np.isin(held.movie[rows], movies)
        try:
            chain, everything = (
                ndcg_at_10(label, ranked, held.user)
                for ranked in (np.where(found, scores, -1.0), scores)
            )
        except InputError:
            return None
        return cls(chain, everything)


def chains(
    retrieval: Retrieval, positives: RatingLog, at: int, scorer: Scorer
) -> tuple[Chain | None, Chain | None]:
    """Of all users with a positive, and of those with a rating before `at`."""
    users = np.unique(positives.user)
    known = np.array([len(retrieval.seen(user)) > 0 for user in users.tolist()])
    gains = np.concatenate(
        [
            _gains(retrieval, positives, users[known], at, scorer),
            # Who has not rated is like any other who has not, so one list is ranked for all.
            _gains_of_new(retrieval, positives, users[~known], at, scorer),
        ]
    )
    return _chain(gains), _chain(gains[: known.sum()])


def _chain(gains: Floats) -> Chain | None:
    return Chain(len(gains), *gains.mean(axis=0).tolist()) if len(gains) else None


def _gains(
    retrieval: Retrieval, positives: RatingLog, users: Ints, at: int, scorer: Scorer
) -> Floats:
    """NDCG of the four lists of `Chain` for each user, (n, 4)."""
    gains = np.zeros((len(users), 4))
    for start in range(0, len(users), _PART):
        part = users[start : start + _PART]
        lists = _ranked(retrieval, part, at, scorer)
        for i, user in enumerate(part.tolist()):
            liked = positives.movie[positives.user == user]
            gains[start + i] = [_ndcg(one, liked) for one in lists[i]]
    return gains


def _gains_of_new(
    retrieval: Retrieval, positives: RatingLog, users: Ints, at: int, scorer: Scorer
) -> Floats:
    if not len(users):
        return np.zeros((0, 4))
    lists = _ranked(retrieval, users[:1], at, scorer)[0]
    order = np.argsort(positives.user, kind="stable")
    bounds = np.searchsorted(positives.user[order], [users, users + 1])
    liked = [positives.movie[order[start:stop]] for start, stop in bounds.T]
    return np.array([[_ndcg(one, movies) for one in lists] for movies in liked])


def _ranked(retrieval: Retrieval, users: Ints, at: int, scorer: Scorer) -> list[tuple[Ints, ...]]:
    """The best of the four lists of `Chain` for each user."""
    asked = Queries.of_every_pair(users, retrieval.movies, at)
    scores = scorer(asked).reshape(len(users), -1)
    found = []
    for user, row in zip(users.tolist(), scores, strict=True):
        candidates = [one.movie for one in retrieval.candidates(user, at, SHORT)]
        movies = np.array(candidates, np.int64)
        allowed = retrieval.allowed(user, at)
        popular = retrieval.lists(user, at, NDCG_CUTOFF)[popularity.NAME]
        by_model = (_by_score(retrieval.movies, row, among) for among in (movies, allowed))
        found.append((*by_model, movies, popular))
    return found


def _by_score(movies: Ints, scores: Floats, among: Ints) -> Ints:
    among = np.sort(among)
    held = scores[np.searchsorted(movies, among)]
    return among[np.argsort(-held, kind="stable")[:NDCG_CUTOFF]]


def _ndcg(shown: Ints, liked: Ints) -> float:
    """NDCG at 10 of a list, best first, with binary gains."""
    discount = 1 / np.log2(np.arange(NDCG_CUTOFF) + 2)
    hits = np.isin(shown[:NDCG_CUTOFF], liked)
    return float(discount[: len(hits)][hits].sum() / discount[: len(liked)].sum())

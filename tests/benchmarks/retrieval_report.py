"""How much of what users go on to like retrieval finds, and what a model makes of the short lists.

frozen: the lists of the holdout's start. streaming: those just before each rating, the ones before
it observed (who likes what together stays as counted at the start).

Recall: how much of what users went on to like stands in the lists of retrieval.

The whole chain: what the model makes of the short lists, against what it makes of all items.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.feedback_log import feedback_events
from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.evaluation.scoring import Scorer
from widedeep.features.history import Queries
from widedeep.features.training_data import FROZEN, STREAMING
from widedeep.inputs import InputError
from widedeep.metrics import NDCG_CUTOFF, ndcg_at_10
from widedeep.retrieval.retriever import SHORTLIST_SIZE, Retriever
from widedeep.retrieval.sources import POPULAR

MERGED = "merged"
RANDOM = "random"
CUTOFFS = (20, 100)


def allowed_items(retriever: Retriever, user: int, at: int) -> NDArray[np.int64]:
    """Return the ids of all items that may be shown to a user at UNIX seconds `at`, (n,)."""
    return retriever.items[retriever.unseen(user, retriever.eligible(at))]


def source_lists(
    retriever: Retriever, user: int, at: int, limit: int
) -> dict[str, NDArray[np.int64]]:
    """Return the ids that each source names for a user, best first, at most `limit` each."""
    lists = retriever.lists(user, retriever.unseen(user, retriever.eligible(at)), limit)
    return {name: retriever.items[rows] for name, rows in lists.items()}


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the positives that stand in a list, in [0, 1].

    Attributes:
        protocol: frozen or streaming.
        source: A source's name, `merged` for the list of candidates, or `random`: what drawing as
            many of the items allowed finds on average. An item that the rules leave out is found
            by none.
        at: Recall by the length of the list, over all positives.
        at_known: Likewise over positives of users with a like before; None where there is none.
    """

    protocol: str
    source: str
    at: Mapping[int, float | None]
    at_known: Mapping[int, float | None]


class Hits:
    """For each positive the place of its item in each list."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = {}
        self._among: list[float] = []
        self._known: list[bool] = []

    @classmethod
    def frozen(cls, retrieval: Retriever, positives: Interactions, at: int) -> Self:
        """All lists as of `at`, UNIX seconds."""
        hits = cls()
        order = np.argsort(positives.user, kind="stable")
        user, asked = None, None
        for i in order.tolist():
            if asked is None or positives.user[i] != user:
                user = int(positives.user[i])
                asked = _Asked.of(retrieval, user, at)
            hits._take(asked, int(positives.item[i]))
        return hits

    @classmethod
    def streaming(
        cls, retrieval: Retriever, held: Interactions, positive: NDArray[np.bool_]
    ) -> Self:
        """Ratings of one instant are asked before any of them is observed."""
        hits = cls()
        starts = np.flatnonzero(np.diff(held.time, prepend=held.time[:1] - 1))
        for start, stop in zip(starts, [*starts[1:], len(held)], strict=True):
            for i in range(start, stop):
                if positive[i]:
                    asked = _Asked.of(retrieval, int(held.user[i]), int(held.time[i]))
                    hits._take(asked, int(held.item[i]))
            for event in feedback_events(held.select_rows(slice(start, stop))):
                retrieval.update(event)
        return hits

    @property
    def known(self) -> int:
        """Positives of users who had liked something before."""
        return int(np.sum(self._known))

    def recalls(self, protocol: str) -> list[Recall]:
        """Of each source, of the merged list and of chance."""
        known = np.array(self._known)
        found = {
            name: {n: np.array(places) < n for n in CUTOFFS}
            for name, places in self._places.items()
        }
        found[RANDOM] = {n: np.minimum(n / np.array(self._among), 1.0) for n in CUTOFFS}
        return [
            Recall(protocol, name, _means(hits), _means({n: hits[n][known] for n in hits}))
            for name, hits in found.items()
        ]

    def _take(self, asked: "_Asked", item: int) -> None:
        for name, places in asked.places.items():
            self._places.setdefault(name, []).append(places.get(item, max(CUTOFFS)))
        drawn = item in asked.allowed
        self._among.append(len(asked.allowed) if drawn else np.inf)
        self._known.append(asked.known)


def _means(hits: Mapping[int, NDArray[np.floating] | NDArray[np.bool_]]) -> dict[int, float | None]:
    return {n: float(rows.mean()) if len(rows) else None for n, rows in hits.items()}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A user's lists: the place of each item in each, which items were allowed, any likes."""

    places: Mapping[str, Mapping[int, int]]
    allowed: frozenset[int]
    known: bool

    @classmethod
    def of(cls, retrieval: Retriever, user: int, at: int) -> Self:
        limit = max(CUTOFFS)
        named = source_lists(retrieval, user, at, limit)
        merged = [candidate.item for candidate in retrieval.candidates(user, at, limit)]
        lists = {name: items.tolist() for name, items in named.items()} | {MERGED: merged}
        places = {
            name: {item: place for place, item in enumerate(items)} for name, items in lists.items()
        }
        known = len(retrieval.liked(user)) > 0
        return cls(places, frozenset(allowed_items(retrieval, user, at).tolist()), known)


Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_PART = 200


@dataclass(frozen=True, slots=True)
class ChainQuality:
    """Mean NDCG at 10 of whole lists, history frozen at the holdout's start.

    A hit is an item that the user went on to like in the holdout; what the user went on not to rate
    counts as a miss, so this also asks who will watch what, which no model here was trained for.

    Attributes:
        users: How many lists.
        chain: The candidates, ranked by the model.
        everything: All items allowed, ranked by the model.
        retrieved: The candidates as retrieval orders them.
        popular: The most popular items.
    """

    users: int
    chain: float
    everything: float
    retrieved: float
    popular: float


@dataclass(frozen=True, slots=True)
class RatedQuality:
    """`metrics.ndcg_at_10` of the items that a user rated in the holdout, and of no others.

    Attributes:
        chain: Items that are not among the candidates stand last, in no order.
        everything: All ranked by the model; the headline metric.
    """

    chain: float
    everything: float

    @classmethod
    def of(
        cls,
        retrieval: Retriever,
        held: Interactions,
        label: NDArray[np.bool_],
        at: int,
        scorer: Scorer,
    ) -> Self | None:
        """None where no user has a positive and two rows."""
        moment = np.full(len(held), at)
        scores = scorer(Queries(held.user, held.item, held.time, moment))
        order = np.argsort(held.user, kind="stable")
        found = np.zeros(len(held), np.bool_)
        for rows in np.split(order, np.flatnonzero(np.diff(held.user[order])) + 1):
            user = int(held.user[rows[0]])
            items = [one.item for one in retrieval.candidates(user, at, SHORTLIST_SIZE)]
            found[rows] = np.isin(held.item[rows], items)
        try:
            chain, everything = (
                ndcg_at_10(label, ranked, held.user)
                for ranked in (np.where(found, scores, -1.0), scores)
            )
        except InputError:
            return None
        return cls(chain, everything)


def chains(
    retrieval: Retriever, positives: Interactions, at: int, scorer: Scorer
) -> tuple[ChainQuality | None, ChainQuality | None]:
    """Of all users with a positive, and of those with a rating before `at`."""
    users = np.unique(positives.user)
    known = np.array([len(retrieval.user_history.seen(user)) > 0 for user in users.tolist()])
    gains = np.concatenate(
        [
            _gains(retrieval, positives, users[known], at, scorer),
            # Who has not rated is like any other who has not, so one list is ranked for all.
            _gains_of_new(retrieval, positives, users[~known], at, scorer),
        ]
    )
    return _chain(gains), _chain(gains[: known.sum()])


def _chain(gains: Floats) -> ChainQuality | None:
    return ChainQuality(len(gains), *gains.mean(axis=0).tolist()) if len(gains) else None


def _gains(
    retrieval: Retriever, positives: Interactions, users: Ints, at: int, scorer: Scorer
) -> Floats:
    """NDCG of the four lists of `ChainQuality` for each user, (n, 4)."""
    gains = np.zeros((len(users), 4))
    for start in range(0, len(users), _PART):
        part = users[start : start + _PART]
        lists = _ranked(retrieval, part, at, scorer)
        for i, user in enumerate(part.tolist()):
            liked = positives.item[positives.user == user]
            gains[start + i] = [list_ndcg(one, liked) for one in lists[i]]
    return gains


def _gains_of_new(
    retrieval: Retriever, positives: Interactions, users: Ints, at: int, scorer: Scorer
) -> Floats:
    if not len(users):
        return np.zeros((0, 4))
    lists = _ranked(retrieval, users[:1], at, scorer)[0]
    order = np.argsort(positives.user, kind="stable")
    bounds = np.searchsorted(positives.user[order], [users, users + 1])
    liked = [positives.item[order[start:stop]] for start, stop in bounds.T]
    return np.array([[list_ndcg(one, items) for one in lists] for items in liked])


def _ranked(retrieval: Retriever, users: Ints, at: int, scorer: Scorer) -> list[tuple[Ints, ...]]:
    """The best of the four lists of `ChainQuality` for each user."""
    asked = Queries.for_every_pair(users, retrieval.items, at)
    scores = scorer(asked).reshape(len(users), -1)
    found = []
    for user, row in zip(users.tolist(), scores, strict=True):
        candidates = [one.item for one in retrieval.candidates(user, at, SHORTLIST_SIZE)]
        items = np.array(candidates, np.int64)
        allowed = allowed_items(retrieval, user, at)
        popular = source_lists(retrieval, user, at, NDCG_CUTOFF)[POPULAR]
        by_model = (_by_score(retrieval.items, row, among) for among in (items, allowed))
        found.append((*by_model, items, popular))
    return found


def _by_score(items: Ints, scores: Floats, among: Ints) -> Ints:
    among = np.sort(among)
    held = scores[np.searchsorted(items, among)]
    return among[np.argsort(-held, kind="stable")[:NDCG_CUTOFF]]


def list_ndcg(shown: Ints, liked: Ints) -> float:
    """NDCG at 10 of a list, best first, with binary gains."""
    discount = 1 / np.log2(np.arange(NDCG_CUTOFF) + 2)
    hits = np.isin(shown[:NDCG_CUTOFF], liked)
    return float(discount[: len(hits)][hits].sum() / discount[: len(liked)].sum())


RetrieverFactory = Callable[[Interactions], Retriever]
"""Makes a retrieval that knows the ratings given to it and no others."""


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """`positives` of the holdout, and `known` ones: of users who had liked something before.

    The latter by protocol. `chain_known` is the chain for users with a rating before the holdout.
    """

    positives: int
    known: Mapping[str, int]
    recalls: tuple[Recall, ...]
    chain: ChainQuality | None = None
    chain_known: ChainQuality | None = None
    rated: RatedQuality | None = None

    @classmethod
    def of(
        cls,
        retriever: RetrieverFactory,
        interactions: Interactions,
        split: Split,
        scorer: Scorer | None = None,
    ) -> Self:
        """Judge by the holdout's positives; without a scorer there is no chain.

        A fair scorer is of a model that has not learned from the holdout.

        Raises:
            InputError: The holdout has no positive.
        """
        start = retriever(interactions.select_rows(interactions.time < split.holdout_from))
        held = interactions.select_rows(split.holdout(interactions.time))
        positive = held.label
        if not positive.any():
            raise InputError(f"no rating of the holdout is positive ({split.to_text()})")
        frozen = Hits.frozen(start, held.select_rows(positive), split.holdout_from)
        chain: tuple[ChainQuality | None, ChainQuality | None] = (None, None)
        rated = None
        if scorer:
            chain = chains(start, held.select_rows(positive), split.holdout_from, scorer)
            rated = RatedQuality.of(start, held, positive, split.holdout_from, scorer)
        # Last, because it observes.
        streaming = Hits.streaming(start, held, positive)
        recalls = (*frozen.recalls(FROZEN), *streaming.recalls(STREAMING))
        known = {FROZEN: frozen.known, STREAMING: streaming.known}
        return cls(int(positive.sum()), known, recalls, *chain, rated)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

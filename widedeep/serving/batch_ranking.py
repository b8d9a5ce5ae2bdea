"""Ranked lists for many users at one moment.

`ListMaker.load` prepares a registered model for a `ListsRequest`; its `batch.lists(users)` yields
the lists. `BatchRanking` does the work from a ranker, and `CandidateLists` restricts each user to
the candidates of retrieval.

Ranked by probability, the lists of most users are much alike, because an item's probability says
above all how good the item is to anyone. `personalisation` takes a part of that away: an item's
score is its logit for the user, minus that part of its logit for a new user. The order is then
between P(positive | user, item) and what the user's own history adds to it, as in Li et al., "A
diversity-promoting objective function for neural conversation models" (2016). The lists of new
users stay as they are. `tests/benchmarks/bench_lists.py` measures what it costs.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from widedeep.data.feedback_log import read_feedback_with_texts
from widedeep.data.tables import Interactions
from widedeep.evaluation.snapshot import UNKNOWN_ID, DataSnapshot
from widedeep.features.attributes import positions_in
from widedeep.inputs import InputError, Precision, to_iso
from widedeep.metrics import Floats
from widedeep.model.network import sigmoid
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.retriever import Retriever
from widedeep.retrieval.user_index import merge_feedback
from widedeep.serving.live_state import FeatureRow, LiveState
from widedeep.serving.ranker import Ints, Ranker, Singles, check_k
from widedeep.serving.scorer import FastScorer

USERS_PER_CHUNK = 256
"""Users whose lists are yielded at once."""

ROWS_PER_BATCH = 8192
"""Candidates that go through the layers at once: enough to fill the processor's vector units."""


@dataclass(frozen=True, slots=True)
class ListsRequest:
    """Which lists to make.

    Attributes:
        folder: Of the model; its sibling folder `history` has what was known, see `DataSnapshot`.
        k: Items per user.
        candidates: How many items retrieval selects per user for ranking; None ranks all of them.
        at: UNIX seconds; ratings strictly before it are known. None is after the last rating.
        precision: Of the matrix products.
        personalisation: See the module; from 0, the order of the probabilities, to below 1.
        feedback: The feedback log of the model; None: what the model was registered with is all
            that is known.
        feedback_end: How many bytes of the log are read, so that all processes that share the work
            know the same. It may grow meanwhile.
    """

    folder: Path
    k: int
    candidates: int | None
    at: int | None
    precision: Precision
    personalisation: float = 0.0
    feedback: Path | None = None
    feedback_end: int = 0


@dataclass(frozen=True, slots=True)
class ListMaker:
    """A model prepared for a request.

    Attributes:
        batch: Makes the lists.
        interactions: The ratings that are known.
        snapshot: What the model was registered with.
        at: The moment of the lists, UNIX seconds.
        feedback: How many of `interactions` came after those of the snapshot.
        user_texts: Ids in the feedback log of users that are no integers.
    """

    batch: "BatchRanking"
    interactions: Interactions
    snapshot: DataSnapshot
    at: int
    feedback: int
    user_texts: list[str]

    @classmethod
    def load(cls, request: ListsRequest) -> Self:
        """Load the model and prepare it for the request.

        Raises:
            InputError: There is no interaction before the moment.
        """
        model = TrainedModel.load(request.folder)
        snapshot = DataSnapshot.load(request.folder.with_name("history"))
        merged, user_texts = _with_feedback(snapshot, request)
        interactions = _before(merged, request.at)
        feedback = len(interactions) - _count_before(snapshot.interactions.observed(), request.at)
        tables = snapshot.tables
        torch.set_num_threads(1)  # each thread ranks for users of its own, so all cores have work
        ranker = Ranker.from_interactions(model, interactions, tables, request.precision)
        at = ranker.known_until if request.at is None else request.at
        shortlist = None
        if request.candidates is not None:
            retriever = Retriever.from_interactions(model, interactions, tables, snapshot.side)
            shortlist = CandidateLists(retriever, retriever.eligible(at), request.candidates)
        batch = BatchRanking.prepare(
            ranker,
            tables.items.ids,
            at,
            request.k,
            shortlist,
            personalisation=request.personalisation,
        )
        return cls(batch, interactions, snapshot, at, feedback, user_texts)


def _with_feedback(snapshot: DataSnapshot, request: ListsRequest) -> tuple[Interactions, list[str]]:
    """Return the snapshot's interactions and the log's, and the ids of its users that are text."""
    if request.feedback is None:
        return snapshot.interactions.observed(), []
    feedback, texts = read_feedback_with_texts(
        request.feedback, snapshot.side.spec, end=request.feedback_end
    )
    return merge_feedback(snapshot, feedback), texts


def _before(interactions: Interactions, at: int | None) -> Interactions:
    """Return the interactions strictly before `at`; all of them if it is None."""
    interactions = interactions.select_rows(slice(_count_before(interactions, at)))
    if not len(interactions):
        moment = to_iso(at or 0)
        raise InputError(f"no interaction is older than --at {moment}; choose a later moment")
    return interactions


def _count_before(interactions: Interactions, at: int | None) -> int:
    return len(interactions) if at is None else int(np.searchsorted(interactions.time, at))


@dataclass(frozen=True, slots=True)
class RankedLists:
    """One row for each ranked item, user by user, the best first; arrays of shape (n,).

    Attributes:
        user: Ids, int64.
        rank: int32, from 1 on.
        item: Ids, int64.
        probability: P(positive), float32; it falls within a list unless lists are personalised.
    """

    user: Ints
    rank: NDArray[np.int32]
    item: Ints
    probability: Singles

    @classmethod
    def from_lists(cls, users: Ints, lists: list[tuple[Ints, Singles]]) -> Self:
        """Join the items of each of `users`, (u,), with their probabilities."""
        lengths = [len(items) for items, _ in lists]
        ranks = [np.arange(1, length + 1, dtype=np.int32) for length in lengths]
        return cls(
            np.repeat(users, lengths),
            np.concatenate(ranks),
            np.concatenate([items for items, _ in lists]),
            np.concatenate([probability for _, probability in lists]),
        )


@dataclass(frozen=True, slots=True)
class CandidateLists:
    """The candidates of retrieval for any user at one moment.

    Users with the same ratings have the same candidates, so those are cached: in KMRD-small most
    users have rated one item, and seven of ten find their candidates in the cache.

    Attributes:
        retriever: Names the candidates.
        eligible: bool (m,), which of the retriever's items the rules of the moment allow.
        limit: Candidates per user, at most.
        cache: Candidates by `Retriever.shortlist_key`.
    """

    retriever: Retriever
    eligible: NDArray[np.bool_]
    limit: int
    cache: dict[bytes, Ints] = field(default_factory=dict)

    def for_user(self, user: int) -> Ints:
        """Return the candidates' ids in ascending order, (n,), without what the user has rated."""
        key = self.retriever.shortlist_key(user)
        items = self.cache.get(key)
        if items is None:
            items = np.sort(self.retriever.shortlist(user, self.eligible, self.limit))
            self.cache[key] = items
        return items


@dataclass(frozen=True, slots=True)
class BatchRanking:
    """A ranker at one moment; its state must not be updated any more.

    What the moment adds to each item is the same for all users, so it is computed once.

    Attributes:
        state: The live state of users and items.
        scorer: The scorer for the moment.
        candidates: Ids of the items to rank, ascending, (n,).
        features: A read of the candidates at the moment, with any user.
        k: Items per user.
        shortlist: Restricts the candidates for each user; None ranks all of them.
        general: What is taken from the logit of each candidate before they are ordered, float64
            (n,); None orders them by their probabilities.
    """

    state: LiveState
    scorer: FastScorer
    candidates: Ints
    features: FeatureRow
    k: int
    shortlist: CandidateLists | None = None
    general: Floats | None = None

    @classmethod
    def prepare(
        cls,
        ranker: Ranker,
        candidates: Ints,
        at: int,
        k: int,
        shortlist: CandidateLists | None = None,
        *,
        personalisation: float = 0.0,
    ) -> Self:
        """Prepare to rank the item ids `candidates`, (n,), at UNIX seconds `at`.

        Args:
            ranker: Scores users and items.
            candidates: Which items there are.
            at: The moment.
            k: Items per user.
            shortlist: Restricts the candidates for each user.
            personalisation: Which part of an item's logit for a new user its score is without.

        Raises:
            InputError: `k` is less than 1, there is no candidate, or `personalisation` is not from
                0 to below 1: at 1, all items would be alike to a new user.
        """
        check_k(k)
        if not 0 <= personalisation < 1:
            raise InputError(f"personalisation is {personalisation}; expected 0 or more, below 1")
        if not len(candidates):
            raise InputError("there is no item to rank; expected an item table with items")
        state, items = ranker.state, np.unique(candidates)
        scorer = ranker.scorer.at_moment(state.read_every_item(at))
        features = state.read(UNKNOWN_ID, items, at)
        general = personalisation * scorer.logits(features) if personalisation else None
        return cls(state, scorer, items, features, k, shortlist, general)

    def lists(self, users: Ints, threads: int = 1) -> Iterator[RankedLists]:
        """Yield the lists of `users`, (u,), in their order, without the items that they have rated.

        `USERS_PER_CHUNK` users are yielded at a time. With several threads, the matrix products
        should use one thread each (`torch.set_num_threads`).
        """
        starts = range(0, len(users), USERS_PER_CHUNK)
        chunks = [users[start : start + USERS_PER_CHUNK] for start in starts]
        pool = ThreadPoolExecutor(threads)
        try:
            yield from pool.map(self._rank_chunk, chunks)
        finally:
            pool.shutdown(cancel_futures=True)

    def _rank_chunk(self, users: Ints) -> RankedLists:
        lists: list[tuple[Ints, Singles]] = []
        per_user = len(self.candidates) if self.shortlist is None else self.shortlist.limit
        users_per_batch = max(1, ROWS_PER_BATCH // max(1, per_user))
        for start in range(0, len(users), users_per_batch):
            lists += self._rank_batch(users[start : start + users_per_batch].tolist())
        return RankedLists.from_lists(users, lists)

    def _rank_batch(self, users: list[int]) -> list[tuple[Ints, Singles]]:
        """Return the lists of some users, whose candidates go through the layers at once."""
        positions = [self._positions(user) for user in users]
        requests = [
            self.state.read_other_user(user, self.features.select_rows(rows))
            for user, rows in zip(users, positions, strict=True)
            if len(rows)
        ]
        logits = self.scorer.logits(*requests) if requests else np.empty(0)
        ends = np.cumsum([*map(len, positions)])[:-1]
        return [
            self._best(rows, own)
            for rows, own in zip(positions, np.split(logits, ends), strict=True)
        ]

    def _best(self, rows: Ints, logits: Floats) -> tuple[Ints, Singles]:
        """Return the best `k` of the candidates `rows` and their probabilities, best first."""
        probability = sigmoid(logits).astype(np.float32)
        score = probability if self.general is None else logits - self.general[rows]
        if len(rows) > self.k:
            # Keep all ties with the last of the best: of equal ones the lower id comes first.
            good = score >= np.partition(score, -self.k)[-self.k]
            rows, probability, score = rows[good], probability[good], score[good]
        best = np.argsort(-score, kind="stable")[: self.k]
        return self.candidates[rows[best]], probability[best]

    def _positions(self, user: int) -> Ints:
        """Return the positions in `candidates` of the items to rank for a user, ascending."""
        if self.shortlist is not None:
            positions = positions_in(self.candidates, self.shortlist.for_user(user))
            return positions[positions < len(self.candidates)]
        unseen = np.ones(len(self.candidates), np.bool_)
        seen = positions_in(self.candidates, self.state.seen(user))
        unseen[seen[seen < len(unseen)]] = False
        return np.flatnonzero(unseen)

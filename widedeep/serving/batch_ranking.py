"""Lists for many users at one moment.

Which lists are asked for of a registered model, and all that gives them, in any process.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from widedeep.choices import Precision
from widedeep.data.tables import Interactions
from widedeep.evaluation.explain import DataSnapshot
from widedeep.features.items import positions_of
from widedeep.inputs import InputError, to_iso
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import sigmoid
from widedeep.retrieval.retriever import Retriever
from widedeep.serving.live_state import FeatureRow, LiveState
from widedeep.serving.ranker import Ranker
from widedeep.serving.scorer import FastScorer

Ints = NDArray[np.int64]

CHUNK = 256
"""Users whose lists are given at once."""

ROWS = 8192
"""Candidates that go through the layers at once: enough to keep the processor's vectors busy."""


@dataclass(frozen=True, slots=True)
class RankedLists:
    """A row a ranked item, user by user, the best first; arrays of shape (n,).

    `user` and `item` are tokens (int64), `rank` begins at 1 (int32), `probability` is float32.
    """

    user: Ints
    rank: NDArray[np.int32]
    item: Ints
    probability: NDArray[np.float32]

    @classmethod
    def joined(cls, users: Ints, best: list[tuple[Ints, NDArray[np.float32]]]) -> Self:
        """Out of each user's items with their probabilities."""
        lengths = [len(items) for items, _ in best]
        ranks = [np.arange(1, length + 1, dtype=np.int32) for length in lengths]
        return cls(
            np.repeat(users, lengths),
            np.concatenate(ranks),
            np.concatenate([items for items, _ in best]),
            np.concatenate([probability for _, probability in best]),
        )


@dataclass(frozen=True, slots=True)
class CandidateLists:
    """The candidates of a user by retrieval, at one moment: at most `limit`.

    `ruled` (m,) is what the moment's rules allow of the items of `retrieval`. Users who have rated
    the same alike have the same candidates: of KMRD-small's, most have rated one item, and for
    seven of ten the candidates are `found` already.
    """

    retrieval: Retriever
    ruled: NDArray[np.bool_]
    limit: int
    found: dict[bytes, Ints] = field(default_factory=dict)

    def of(self, user: int) -> Ints:
        """Tokens in ascending order; nothing that the user has rated."""
        record = self.retrieval.record(user)
        tokens = self.found.get(record)
        if tokens is None:
            tokens = np.sort(self.retrieval.shortlist(user, self.ruled, self.limit))
            self.found[record] = tokens
        return tokens


@dataclass(frozen=True, slots=True)
class BatchRanking:
    """A ranker at one moment, at which nothing is observed any more.

    What the moment adds to each item is the same for all users, so it is computed once.
    `candidates` are tokens in ascending order, `read` is a reading of them. A `shortlist` gives
    those among them that are ranked for a user; without it all are.
    """

    state: LiveState
    model: FastScorer
    candidates: Ints
    read: FeatureRow
    k: int
    shortlist: CandidateLists | None = None

    @classmethod
    def of(
        cls,
        ranker: Ranker,
        candidates: Ints,
        at: int,
        k: int,
        shortlist: CandidateLists | None = None,
    ) -> Self:
        """For the `k` best of `candidates` at UNIX seconds `at`; see above.

        Raises:
            InputError: `k` is less than 1, or there is no candidate.
        """
        if k < 1:
            raise InputError(f"k is {k}; at least 1 ranked movie is wanted")
        if not len(candidates):
            raise InputError("there is no movie to rank; a catalogue with movies is wanted")
        state, items = ranker.state, np.unique(candidates)
        model = ranker.model.at(state.survey(at))
        return cls(state, model, items, state.read(-1, items, at), k, shortlist)

    def lists(self, users: Ints, threads: int = 1) -> Iterator[RankedLists]:
        """The lists of `users`, some users at a time, in their order; what was rated is left out.

        A request's matrix products should then use one thread each (`torch.set_num_threads`).
        """
        parts = [users[start : start + CHUNK] for start in range(0, len(users), CHUNK)]
        pool = ThreadPoolExecutor(threads)
        try:
            yield from pool.map(self._part, parts)
        finally:
            pool.shutdown(cancel_futures=True)

    def _part(self, users: Ints) -> RankedLists:
        lists: list[tuple[Ints, NDArray[np.float32]]] = []
        per_user = len(self.candidates) if self.shortlist is None else self.shortlist.limit
        together = max(1, ROWS // max(1, per_user))
        for start in range(0, len(users), together):
            lists += self._together(users[start : start + together].tolist())
        return RankedLists.joined(users, lists)

    def _together(self, users: list[int]) -> list[tuple[Ints, NDArray[np.float32]]]:
        """The lists of some users, whose candidates go through the layers at once."""
        fresh = [self._fresh(user) for user in users]
        readings = [
            self.state.read_again(user, self.read.select_rows(places))
            for user, places in zip(users, fresh, strict=True)
            if len(places)
        ]
        logits = self.model.logits_of(readings) if readings else np.empty(0)
        ends = np.cumsum([*map(len, fresh)])[:-1]
        parts = np.split(sigmoid(logits).astype(np.float32), ends)
        return [self._best(self.candidates[f], p) for f, p in zip(fresh, parts, strict=True)]

    def _best(
        self, items: Ints, probability: NDArray[np.float32]
    ) -> tuple[Ints, NDArray[np.float32]]:
        if len(items) > self.k:
            # All that are as good as the last of the best: of equal ones the lower token is first.
            kept = probability >= np.partition(probability, -self.k)[-self.k]
            items, probability = items[kept], probability[kept]
        best = np.argsort(-probability, kind="stable")[: self.k]
        return items[best], probability[best]

    def _fresh(self, user: int) -> Ints:
        """The places of a user's candidates, in order: what was not rated, or of the shortlist."""
        if self.shortlist is not None:
            places = positions_of(self.candidates, self.shortlist.of(user))
            return places[places < len(self.candidates)]
        fresh = np.ones(len(self.candidates), np.bool_)
        seen = positions_of(self.candidates, self.state.seen(user))
        fresh[seen[seen < len(fresh)]] = False
        return np.flatnonzero(fresh)


@dataclass(frozen=True, slots=True)
class ListsRequest:
    """Lists of `k` cards by the model in `folder`.

    Attributes:
        folder: Of the model; the folder `history` beside it has what was known, see `DataSnapshot`.
        k: Items a user.
        candidates: How many of the items are ranked for each user; None for all of them.
        at: UNIX seconds, ratings strictly before it are known; None for after the last.
        precision: Of the scores.
    """

    folder: Path
    k: int
    candidates: int | None
    at: int | None
    precision: Precision


@dataclass(frozen=True, slots=True)
class ListMaker:
    """What gives the lists, and what it knows: ratings, cards, and the moment `at`."""

    batch: BatchRanking
    interactions: Interactions
    known: DataSnapshot
    at: int

    @classmethod
    def of(cls, order: ListsRequest) -> Self:
        """Load the model and get it ready.

        Raises:
            InputError: Nothing was rated before the moment.
        """
        model = TrainedModel.load(order.folder)
        known = DataSnapshot.load(order.folder.with_name("history"))
        interactions, item_table = _until(known.interactions, order.at), known.item_table
        torch.set_num_threads(1)  # a thread ranks for one user, so that all cores have work
        ranker = Ranker.of(model, interactions, item_table, order.precision)
        at = ranker.known_until if order.at is None else order.at
        shortlist = None
        if order.candidates is not None:
            retrieval = Retriever.of(model, interactions, item_table, known.items)
            shortlist = CandidateLists(retrieval, retrieval.ruled(at), order.candidates)
        batch = BatchRanking.of(ranker, item_table.items, at, order.k, shortlist)
        return cls(batch, interactions, known, at)


def _until(interactions: Interactions, at: int | None) -> Interactions:
    if at is not None:
        interactions = interactions.select_rows(slice(int(np.searchsorted(interactions.time, at))))
    if not len(interactions):
        raise InputError(
            f"--at is {to_iso(at or 0)}, and no rating is older; a later one is wanted"
        )
    return interactions

"""Lists for many users at one moment."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.errors import InputError
from widedeep.features.catalogue import places_of
from widedeep.model.training import sigmoid
from widedeep.serving.live_state import LiveState, Reading
from widedeep.serving.prepared_model import PreparedModel
from widedeep.serving.ranker import Ranker

Ints = NDArray[np.int64]

CHUNK = 256
"""Users whose lists are given at once."""


@dataclass(frozen=True, slots=True)
class Lists:
    """A row a ranked movie, user by user, the best first; arrays of shape (n,).

    `user` and `movie` are tokens (int64), `rank` begins at 1 (int32), `probability` is float32.
    """

    user: Ints
    rank: NDArray[np.int32]
    movie: Ints
    probability: NDArray[np.float32]

    @classmethod
    def joined(cls, users: Ints, best: list[tuple[Ints, NDArray[np.float32]]]) -> Self:
        """Out of each user's movies with their probabilities."""
        lengths = [len(movies) for movies, _ in best]
        ranks = [np.arange(1, length + 1, dtype=np.int32) for length in lengths]
        return cls(
            np.repeat(users, lengths),
            np.concatenate(ranks),
            np.concatenate([movies for movies, _ in best]),
            np.concatenate([probability for _, probability in best]),
        )


@dataclass(frozen=True, slots=True)
class BatchRanking:
    """A ranker at one moment, at which nothing is observed any more.

    What the moment adds to each movie is the same for all users, so it is computed once.
    `candidates` are tokens in ascending order, `read` is a reading of them. A `shortlist` gives
    those among them that are ranked for a user; without it all are.
    """

    state: LiveState
    model: PreparedModel
    candidates: Ints
    read: Reading
    k: int
    shortlist: Callable[[int], Ints] | None = None

    @classmethod
    def of(
        cls,
        ranker: Ranker,
        candidates: Ints,
        at: int,
        k: int,
        shortlist: Callable[[int], Ints] | None = None,
    ) -> Self:
        """For the `k` best of `candidates` at UNIX seconds `at`; see above.

        Raises:
            InputError: `k` is less than 1, or there is no candidate.
        """
        if k < 1:
            raise InputError(f"k is {k}; at least 1 ranked movie is wanted")
        if not len(candidates):
            raise InputError("there is no movie to rank; a catalogue with movies is wanted")
        state, movies = ranker.state, np.unique(candidates)
        model = ranker.model.at(state.survey(at))
        return cls(state, model, movies, state.read(-1, movies, at), k, shortlist)

    def lists(self, users: Ints, threads: int = 1) -> Iterator[Lists]:
        """The lists of `users`, some users at a time, in their order; what was rated is left out.

        A request's matrix products should then use one thread each (`torch.set_num_threads`).
        """
        parts = [users[start : start + CHUNK] for start in range(0, len(users), CHUNK)]
        pool = ThreadPoolExecutor(threads)
        try:
            yield from pool.map(self._part, parts)
        finally:
            pool.shutdown(cancel_futures=True)

    def _part(self, users: Ints) -> Lists:
        return Lists.joined(users, [self._best(user) for user in users.tolist()])

    def _best(self, user: int) -> tuple[Ints, NDArray[np.float32]]:
        fresh = self._fresh(user)
        if not len(fresh):
            return self.candidates[fresh], np.empty(0, np.float32)
        logits = self.model.logits(self.state.read_again(user, self.read.take(fresh)))
        movies, probability = self.candidates[fresh], sigmoid(logits).astype(np.float32)
        if len(movies) > self.k:
            # All that are as good as the last of the best: of equal ones the lower token is first.
            kept = probability >= np.partition(probability, -self.k)[-self.k]
            movies, probability = movies[kept], probability[kept]
        best = np.argsort(-probability, kind="stable")[: self.k]
        return movies[best], probability[best]

    def _fresh(self, user: int) -> Ints:
        """The places of a user's candidates, in order: what was not rated, or of the shortlist."""
        chosen = np.ones(len(self.candidates), np.bool_)
        if self.shortlist is not None:
            chosen = np.isin(self.candidates, self.shortlist(user))
        seen = places_of(self.candidates, self.state.seen(user))
        chosen[seen[seen < len(chosen)]] = False
        return np.flatnonzero(chosen)

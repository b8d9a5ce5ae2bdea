"""Recall: how much of what users went on to like stands in the lists of retrieval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.serving.retrieval import Retrieval

MERGED = "merged"
RANDOM = "random"
CUTOFFS = (20, 100)


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the positives that stand in a list, in [0, 1].

    Attributes:
        protocol: frozen or streaming.
        source: A source's name, `merged` for the list of candidates, or `random`: what drawing as
            many of the films allowed finds on average. A film that the rules leave out is found
            by none.
        at: Recall by the length of the list, over all positives.
        at_known: Likewise over positives of users with a like before; None where there is none.
    """

    protocol: str
    source: str
    at: Mapping[int, float | None]
    at_known: Mapping[int, float | None]


class Hits:
    """For each positive the place of its movie in each list."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = {}
        self._among: list[float] = []
        self._known: list[bool] = []

    @classmethod
    def frozen(cls, retrieval: Retrieval, positives: RatingLog, at: int) -> Self:
        """All lists as of `at`, UNIX seconds."""
        hits = cls()
        order = np.argsort(positives.user, kind="stable")
        user, asked = None, None
        for i in order.tolist():
            if asked is None or positives.user[i] != user:
                user = int(positives.user[i])
                asked = _Asked.of(retrieval, user, at)
            hits._take(asked, int(positives.movie[i]))
        return hits

    @classmethod
    def streaming(cls, retrieval: Retrieval, held: RatingLog, positive: NDArray[np.bool_]) -> Self:
        """Ratings of one instant are asked before any of them is observed."""
        hits = cls()
        starts = np.flatnonzero(np.diff(held.time, prepend=held.time[:1] - 1))
        for start, stop in zip(starts, [*starts[1:], len(held)], strict=True):
            for i in range(start, stop):
                if positive[i]:
                    asked = _Asked.of(retrieval, int(held.user[i]), int(held.time[i]))
                    hits._take(asked, int(held.movie[i]))
            for i in range(start, stop):
                retrieval.observe(*(int(getattr(held, name)[i]) for name in RatingLog.__slots__))
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

    def _take(self, asked: "_Asked", movie: int) -> None:
        for name, places in asked.places.items():
            self._places.setdefault(name, []).append(places.get(movie, max(CUTOFFS)))
        drawn = movie in asked.allowed
        self._among.append(len(asked.allowed) if drawn else np.inf)
        self._known.append(asked.known)


def _means(hits: Mapping[int, NDArray[np.floating] | NDArray[np.bool_]]) -> dict[int, float | None]:
    return {n: float(rows.mean()) if len(rows) else None for n, rows in hits.items()}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A user's lists: the place of each movie in each, which films were allowed, any likes."""

    places: Mapping[str, Mapping[int, int]]
    allowed: frozenset[int]
    known: bool

    @classmethod
    def of(cls, retrieval: Retrieval, user: int, at: int) -> Self:
        limit = max(CUTOFFS)
        named = retrieval.lists(user, at, limit)
        merged = [candidate.movie for candidate in retrieval.candidates(user, at, limit)]
        lists = {name: movies.tolist() for name, movies in named.items()} | {MERGED: merged}
        places = {
            name: {movie: place for place, movie in enumerate(movies)}
            for name, movies in lists.items()
        }
        known = len(retrieval.liked(user)) > 0
        return cls(places, frozenset(retrieval.allowed(user, at).tolist()), known)

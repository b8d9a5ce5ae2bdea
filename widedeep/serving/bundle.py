"""A model version with everything that answers by it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from widedeep.evaluation.golden import NOBODY
from widedeep.serving.event_log import Event
from widedeep.serving.films import Films
from widedeep.serving.groundwork import Groundwork
from widedeep.serving.live_state import LiveState
from widedeep.serving.ranker import Ranker, Ranking
from widedeep.serving.rating_book import RatingBook
from widedeep.serving.retrieval import NO_RULES, SHORT, Retrieval
from widedeep.serving.rules import Rules
from widedeep.serving.served_version import ServedVersion
from widedeep.serving.shelf import Shelf
from widedeep.serving.title_search import TitleSearch
from widedeep.serving.why import Reason, Why


@dataclass(frozen=True, slots=True)
class Recommended:
    """A film in a list, and which sources of retrieval proposed it."""

    movie: int
    probability: float
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a version is made of never changes; what it knows of users grows by `observe`."""

    version: ServedVersion
    ranker: Ranker
    retrieval: Retrieval
    why: Why
    shelf: Shelf
    book: RatingBook

    @classmethod
    def load(
        cls,
        version: ServedVersion,
        groundwork: Groundwork,
        before: Self | None = None,
    ) -> Self:
        """A version for which the `groundwork` is done; that goes on with it.

        A first request has been answered then, so that no user waits for compiling. What is told of
        films is shared with the bundle `before`, if it is the same.
        """
        model, wide, ratings = groundwork.model, groundwork.wide, groundwork.ratings
        history, prior = wide.transform.spec.history, wide.transform.prior
        shelf = Shelf.load(version.history, ratings.movie, before.shelf if before else None)
        state = LiveState(groundwork.snapshot, ratings, history, prior)
        book = RatingBook(ratings)
        bundle = cls(
            version,
            Ranker(state, model),
            Retrieval(groundwork.sources, book, history),
            Why(model, wide, groundwork.sources.nearest, state, shelf.catalogue, shelf.names),
            shelf,
            book,
        )
        bundle.recommend(NOBODY, 1, 0)
        return bundle

    @property
    def films(self) -> Films:
        """Cards of the films."""
        return self.shelf.films

    @property
    def titles(self) -> TitleSearch:
        """Films by title."""
        return self.shelf.titles

    def observe(self, event: Event) -> bool:
        """Take a rating; False if it repeats a pair, of which the first one counts."""
        news = self.ranker.observe(event.user, event.movie, event.rate, event.time)
        if news:
            self.retrieval.observe(event.user, event.movie, event.rate, event.time)
        return news

    def rank(self, user: int, candidates: list[int], k: int, now: int) -> Ranking:
        """The best `k` of the candidates, knowing every rating observed so far."""
        return self.ranker.rank(user, np.array(candidates, np.int64), self._moment(now), k)

    def recommend(
        self, user: int, k: int, now: int, rules: Rules = NO_RULES
    ) -> tuple[Recommended, ...]:
        """Retrieval, then ranking: the best `k` films that the user has not rated."""
        moment = self._moment(now)
        found = self.retrieval.candidates(user, moment, SHORT, rules)
        sources = {one.movie: one.sources for one in found}
        if not sources:
            return ()
        ranking = self.ranker.rank(user, np.array([*sources], np.int64), moment, k)
        return tuple(Recommended(r.movie, r.probability, sources[r.movie]) for r in ranking)

    def reasons(self, user: int, movies: list[int], now: int) -> tuple[Reason, ...]:
        """Why each movie is scored as it is."""
        return self.why.reasons(user, movies, self._moment(now))

    def _moment(self, now: int) -> int:
        """UNIX seconds at which every rating observed so far counts."""
        return max(now, self.ranker.known_until)

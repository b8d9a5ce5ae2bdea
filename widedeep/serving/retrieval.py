"""Retrieval: a short list of candidates for a user, out of all movies (paper, figure 2).

Four sources each give a ranked list; fused they are one. The settings are in `RetrievalConfig`.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.errors import InputError
from widedeep.features.catalogue import Catalogue, places_of
from widedeep.features.history import HistoryConfig
from widedeep.model.trained_model import TrainedModel
from widedeep.serving import popularity
from widedeep.serving.event_log import Event
from widedeep.serving.rating_book import RatingBook
from widedeep.serving.ratings_by_user import RatingsByUser
from widedeep.serving.retrieval_config import SOURCES, RetrievalConfig
from widedeep.serving.rules import Rules
from widedeep.serving.shortlist import best, fused, speakers
from widedeep.serving.sources import Sources
from widedeep.serving.weighted_lists import Ints, Scores

CATALOGUE = "catalogue"
"""The source of what fills a list that would be too short: films nobody liked, the newest first."""
NO_RULES = Rules()
SHORT = 100
"""Candidates that are handed to ranking (paper, section 2: on the order of 100)."""

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A movie's token, and the sources that named it, the one that spoke for it most first."""

    movie: int
    sources: tuple[str, ...]


class Retrieval:
    """Sources over the movies of a catalogue, with what is known of users now.

    A rating changes its user's liked and seen movies and the popularity at once; who likes what
    together is counted at load. Readers need no lock beside one writer; writers take turns.
    """

    def __init__(
        self,
        sources: Sources,
        book: RatingBook,
        history: HistoryConfig,
        config: RetrievalConfig | None = None,
    ) -> None:
        """By sources and a book of the same ratings, which change. All is compiled by then."""
        self._sources = sources
        self._book = book
        self._history = history
        self._config = config or RetrievalConfig()
        self._writing = Lock()
        for _, source in sources.of_taste():
            source.scores(_NONE, np.ones(0))

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        log: RatingLog,
        catalogue: Catalogue,
        movies: pa.Table,
        config: RetrievalConfig | None = None,
    ) -> Self:
        """Observe `log`; `movies` is the table the catalogue was read from."""
        sources = Sources.of(model, log, catalogue, movies, config or RetrievalConfig())
        book = RatingBook(RatingsByUser.of(log))
        return cls(sources, book, model.transform.spec.history, config)

    @property
    def movies(self) -> Ints:
        """Tokens of all movies that can be candidates, ascending."""
        return self._sources.ruled.movies

    @property
    def popularity(self) -> Scores:
        """Decayed counts of likes of `movies`, (m,)."""
        return self._sources.popular.counts

    def positive(self, rate: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Which ratings are likes, shape (n,)."""
        return self._history.positive(rate)

    def seen(self, user: int) -> Ints:
        """The movies that the user has rated, in the order in which they were."""
        return self._book.seen(user)

    def allowed(self, user: int, at: int, rules: Rules = NO_RULES) -> Ints:
        """All movies that may be shown to the user at UNIX seconds `at`, ascending."""
        return self.movies[self._allowed(user, at, rules)]

    def liked(self, user: int) -> Ints:
        """The movies that the user is known by, the newest first."""
        movies, rates = self._book.rates(user)
        return movies[self.positive(rates)][::-1][: self._config.likes]

    def observe(self, user: int, movie: int, rate: int, time: int) -> bool:
        """Take a rating, 1 to 10 at UNIX seconds; False for a repeat of a pair, which is nothing.

        Ratings may come in any order of time: a user's likes stand in the order in which they
        came, and popularity counts each by its own time.
        """
        with self._writing:
            if not self._book.add(Event(user, movie, rate, time)):
                return False
            if self.positive(np.array([rate], np.int8))[0]:
                for row in _rows(self.movies, np.array([movie])).tolist():
                    self._sources.popular.add(row, time)
            return True

    def candidates(
        self, user: int, at: int, limit: int = SHORT, rules: Rules = NO_RULES
    ) -> tuple[Candidate, ...]:
        """At most `limit` movies for the user at UNIX seconds `at`, the most promising first.

        Nothing the user has rated and nothing `rules` leave out. Fewer only if there are no more.
        `at` decides what is released; all that was observed counts.

        Raises:
            InputError: `limit` is less than 1.
        """
        rows, shares = self._short(user, self._allowed(user, at, rules), limit)
        sources = speakers(SOURCES, shares)
        rest = [(CATALOGUE,)] * (len(rows) - len(sources))
        return tuple(map(Candidate, self.movies[rows].tolist(), [*sources, *rest]))

    def shortlist(self, user: int, allowed: NDArray[np.bool_], limit: int = SHORT) -> Ints:
        """The tokens of `candidates`, for one of many users of a moment.

        `allowed` (m,) is what the rules of the moment allow of `movies`.
        """
        return self.movies[self._short(user, self._unseen(user, allowed), limit)[0]]

    def record(self, user: int) -> bytes:
        """What decides a user's shortlist: those who have rated the same alike have the same."""
        movies, rates = self._book.rates(user)
        return movies.tobytes() + self.positive(rates).tobytes()

    def ruled(self, at: int, rules: Rules = NO_RULES) -> NDArray[np.bool_]:
        """Which of `movies` may be shown at UNIX seconds `at`, (m,)."""
        return self._sources.ruled.allowed(rules, at)

    def _short(
        self, user: int, allowed: NDArray[np.bool_], limit: int
    ) -> tuple[Ints, NDArray[np.float64]]:
        """Rows of candidates, and what each source gave to each of the first of them."""
        lists = self._lists(user, allowed, limit)
        weights, constant = self._config.weights, self._config.constant
        merged, shares = fused(lists, weights, constant, limit, len(allowed))
        allowed[merged] = False
        rest = self._unliked(allowed, limit - len(merged))
        return np.concatenate([merged, rest]), shares

    def lists(
        self, user: int, at: int, limit: int = SHORT, rules: Rules = NO_RULES
    ) -> dict[str, Ints]:
        """Tokens that each source names for the user, the best first, at most `limit` each."""
        found = self._lists(user, self._allowed(user, at, rules), limit)
        return {name: self.movies[rows] for name, rows in found.items()}

    def _allowed(self, user: int, at: int, rules: Rules) -> NDArray[np.bool_]:
        return self._unseen(user, self.ruled(at, rules))

    def _unseen(self, user: int, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        left = allowed.copy()
        left[_rows(self.movies, self._book.seen(user))] = False
        return left

    def _lists(self, user: int, allowed: NDArray[np.bool_], limit: int) -> dict[str, Ints]:
        """Rows by source, best first."""
        if limit < 1:
            raise InputError(f"the limit is {limit}; at least 1 candidate is wanted")
        found = {popularity.NAME: best(self._sources.popular.counts, allowed, limit)}
        liked = _rows(self.movies, self.liked(user))
        factors = np.power(self._config.fading, np.arange(len(liked)), dtype=np.float64)
        if not len(liked):
            return found | dict.fromkeys((name for name, _ in self._sources.of_taste()), _NONE)
        for name, source in self._sources.of_taste():
            found[name] = best(source.scores(liked, factors), allowed, limit)
        return found

    def _unliked(self, allowed: NDArray[np.bool_], limit: int) -> Ints:
        """Rows that fill a list: the newest films first, those of unknown year last."""
        if limit < 1:
            return _NONE
        year = np.nan_to_num(self._sources.ruled.original_year, nan=0.0)
        return best(1.0 + np.maximum(year, 0.0), allowed, limit)


def _rows(movies: Ints, tokens: Ints) -> Ints:
    """The rows of those tokens that are in `movies` (sorted), in the order of the tokens."""
    places = places_of(movies, tokens)
    return places[places < len(movies)]

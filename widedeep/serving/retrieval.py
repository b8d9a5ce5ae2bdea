"""Retrieval: a short list of candidates for a user, out of all movies (paper, figure 2).

Four sources each give a ranked list; fused they are one. The settings are in `RetrievalConfig`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.errors import InputError
from widedeep.features.catalogue import Catalogue, places_of
from widedeep.features.history import HistoryConfig
from widedeep.model.trained_model import TrainedModel
from widedeep.serving import co_liked, nearest, popularity, shared_attributes
from widedeep.serving.co_liked import CoLiked
from widedeep.serving.nearest import Nearest
from widedeep.serving.popularity import Popularity
from widedeep.serving.rated_movies import RatedMovies
from widedeep.serving.retrieval_config import SOURCES, RetrievalConfig
from widedeep.serving.rules import Ruled, Rules
from widedeep.serving.shared_attributes import SharedAttributes
from widedeep.serving.shortlist import best, fused, speakers
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


class _OfTaste(Protocol):
    """A source that goes by what the user liked."""

    def scores(self, liked: Ints, factors: Scores) -> Scores: ...


class Retrieval:
    """Sources over the movies of a catalogue, with what is known of users now.

    A rating changes its user's liked and seen movies and the popularity at once; who likes what
    together is counted at load. Readers need no lock beside one writer; writers take turns.
    """

    def __init__(
        self,
        ruled: Ruled,
        rated: RatedMovies,
        popular: Popularity,
        of_taste: Mapping[str, _OfTaste],
        settings: tuple[RetrievalConfig, HistoryConfig],
    ) -> None:
        self._ruled = ruled
        self._rated = rated
        self._popular = popular
        self._of_taste = of_taste
        self._config, self._history = settings
        self._writing = Lock()

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        log: RatingLog,
        catalogue: Catalogue,
        movies: pa.Table,
        config: RetrievalConfig | None = None,
    ) -> Self:
        """Observe `log`; `movies` is the table the catalogue was read from.

        A rating is a like if it is a positive label to the model. All is compiled by then.
        """
        config = config or RetrievalConfig()
        history = model.transform.spec.history
        positive = history.positive(log.rate)
        rows, count = catalogue.rows(log.movie), len(catalogue.movies)
        likes = np.flatnonzero(positive & (rows < count))
        popular = Popularity(count, config.half_life)
        popular.take(rows[likes], log.time[likes])
        of_taste: dict[str, _OfTaste] = {
            co_liked.NAME: CoLiked.of(log.user[likes], rows[likes], count, config.co_liked),
            shared_attributes.NAME: SharedAttributes.of(catalogue),
            nearest.NAME: Nearest.of(model, catalogue.movies),
        }
        for source in of_taste.values():
            source.scores(_NONE, np.ones(0))
        ruled, rated = Ruled.of(catalogue, movies), RatedMovies(log, positive)
        return cls(ruled, rated, popular, of_taste, (config, history))

    @property
    def movies(self) -> Ints:
        """Tokens of all movies that can be candidates, ascending."""
        return self._ruled.movies

    @property
    def popularity(self) -> Scores:
        """Decayed counts of likes of `movies`, (m,)."""
        return self._popular.counts

    def positive(self, rate: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Which ratings are likes, shape (n,)."""
        return self._history.positive(rate)

    def seen(self, user: int) -> Ints:
        """The movies that the user has rated, in the order in which they were."""
        return self._rated.seen(user)

    def allowed(self, user: int, at: int, rules: Rules = NO_RULES) -> Ints:
        """All movies that may be shown to the user at UNIX seconds `at`, ascending."""
        return self.movies[self._allowed(user, at, rules)]

    def liked(self, user: int) -> Ints:
        """The movies that the user is known by, the newest first."""
        return self._rated.liked(user, self._config.likes)

    def observe(self, user: int, movie: int, rate: int, time: int) -> bool:
        """Take a rating, 1 to 10 at UNIX seconds; False for a repeat of a pair, which is nothing.

        Ratings may come in any order of time: a user's likes stand in the order in which they
        came, and popularity counts each by its own time.
        """
        positive = bool(self.positive(np.array([rate], np.int8))[0])
        with self._writing:
            if not self._rated.add(user, movie, positive=positive):
                return False
            if positive:
                for row in _rows(self.movies, np.array([movie])).tolist():
                    self._popular.add(row, time)
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
        return self._rated.record(user)

    def ruled(self, at: int, rules: Rules = NO_RULES) -> NDArray[np.bool_]:
        """Which of `movies` may be shown at UNIX seconds `at`, (m,)."""
        return self._ruled.allowed(rules, at)

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
        left[_rows(self.movies, self._rated.seen(user))] = False
        return left

    def _lists(self, user: int, allowed: NDArray[np.bool_], limit: int) -> dict[str, Ints]:
        """Rows by source, best first."""
        if limit < 1:
            raise InputError(f"the limit is {limit}; at least 1 candidate is wanted")
        found = {popularity.NAME: best(self._popular.counts, allowed, limit)}
        liked = _rows(self.movies, self.liked(user))
        factors = np.power(self._config.fading, np.arange(len(liked)), dtype=np.float64)
        if not len(liked):
            return found | dict.fromkeys(self._of_taste, _NONE)
        for name, source in self._of_taste.items():
            found[name] = best(source.scores(liked, factors), allowed, limit)
        return found

    def _unliked(self, allowed: NDArray[np.bool_], limit: int) -> Ints:
        """Rows that fill a list: the newest films first, those of unknown year last."""
        if limit < 1:
            return _NONE
        year = np.nan_to_num(self._ruled.original_year, nan=0.0)
        return best(1.0 + np.maximum(year, 0.0), allowed, limit)


def _rows(movies: Ints, tokens: Ints) -> Ints:
    """The rows of those tokens that are in `movies` (sorted), in the order of the tokens."""
    places = places_of(movies, tokens)
    return places[places < len(movies)]

"""Retrieval: a short list of candidates for a user, out of all items (paper, figure 2).

Four sources each give a ranked list; fused they are one. The settings are in `RetrievalConfig`.

Settings of retrieval, and what was tried.

The sources of candidates, and what rules ask of the items that they name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.tables import Interactions
from widedeep.features.history import HistoryConfig
from widedeep.features.items import ItemTable, positions_of
from widedeep.inputs import InputError
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.eligibility import EligibilityRules, ItemEligibility
from widedeep.retrieval.sources import (
    CO_LIKED,
    NEAREST,
    POPULAR,
    SIMILAR,
    CoLiked,
    CoLikedConfig,
    Ints,
    NearestItems,
    Popularity,
    Scores,
    SharedAttributes,
    contributing_sources,
    reciprocal_rank_fusion,
    top_k,
)
from widedeep.retrieval.user_index import InteractionsByUser, UserHistory

_WEIGHTS = {
    POPULAR: 1.0,
    CO_LIKED: 1.0,
    SIMILAR: 0.1,
    NEAREST: 0.1,
}
SOURCES = tuple(_WEIGHTS)


@dataclass(frozen=True, slots=True)
class RetrieverConfig:
    """Settings.

    `half_life` of a like's share in popularity, in days. A user is known by the newest `likes`,
    each of which weighs `fading` times the one after it. A item at place i (from 0) of a source's
    list gets the source's `weights` / (`constant` + 1 + i) of its score in the merged list.

    Chosen on KMRD-small's validation part, streaming; recall@20 / @100.
    Half-life, all users: 3 days .448 / .738, 14 .500 / .762, 30 .506 / .789, 60 .498 / .802,
    120 .485 / .804.
    Of users with a like (3,090 positives, standard error .009 / .007), co-liked by (power,
    shrinkage), 20 likes: (0, 0) .415 / .769, (.25, 5) .425 / .770, (.35, 5) .429 / .769, (.5, 0)
    .402 / .728, (.5, 20) .427 / .765. By likes and fading, (.25, 5): 5, 1 .431 / .770, 20, 1
    .425 / .770, 20, .9 .429 / .772, all, .9 .429 / .773; they move the two others by at most .014
    (similar .174 / .307, nearest .070 / .243).
    Merged by (constant, weights in the order of the sources): (10, 1 1 .1 .1) .459 / .791,
    (10, 1 1 0 0) .458 / .791, (10, 1 1 .25 .25) .463 / .783, (10, 1 1 1 1) .440 / .722,
    (10, 1 2 0 0) .454 / .786, (0, 1 1 0 0) .463 / .791, (60, 1 1 1 1) .404 / .760,
    (60, 1 1 .1 .1) .442 / .790; with lists of 200, the chosen ones .460 / .785. So the two
    weak sources find no more of what was rated; they stay, lightly, because they alone name items
    that few or none have liked.
    """

    half_life: float = 60.0
    likes: int = 20
    fading: float = 0.9
    constant: float = 10.0
    weights: Mapping[str, float] = field(default_factory=lambda: dict(_WEIGHTS))
    co_liked: CoLikedConfig = field(default_factory=CoLikedConfig)

    def __post_init__(self) -> None:
        if self.likes < 1 or not 0 < self.fading <= 1:
            raise InputError(f"{self}: at least 1 like and a fading above 0, up to 1, is wanted")
        if self.half_life <= 0 or self.constant < 0:
            raise InputError(f"{self}: a half-life above 0 and no negative constant is wanted")
        if set(self.weights) != set(SOURCES) or min(self.weights.values()) < 0:
            raise InputError(f"weights are {self.weights}; one of at least 0 for each of {SOURCES}")


class LikedItemsSource(Protocol):
    """A source that goes by what the user liked."""

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """How much each item belongs to the liked rows, each with a factor; 0: not at all."""
        ...


@dataclass(frozen=True, slots=True)
class CandidateSources:
    """By row of a item table; popularity grows by every like."""

    ruled: ItemEligibility
    popular: Popularity
    co_liked: CoLiked
    similar: SharedAttributes
    nearest: NearestItems

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        interactions: Interactions,
        item_table: ItemTable,
        items: pa.Table,
        config: RetrieverConfig,
    ) -> Self:
        """Observe `interactions`; `items` is the table the item table was read from.

        A rating is a like if it is a positive label to the model.
        """
        rows, count = item_table.rows(interactions.item), len(item_table.items)
        positive = model.transform.spec.history.positive(interactions.value)
        likes = np.flatnonzero(positive & (rows < count))
        popular = Popularity.of(count, config.half_life)
        popular.count_likes(rows[likes], interactions.time[likes])
        return cls(
            ItemEligibility.of(item_table, items),
            popular,
            CoLiked.of(interactions.user[likes], rows[likes], count, config.co_liked),
            SharedAttributes.of(item_table),
            NearestItems.of(model, item_table.items),
        )

    def of_taste(self) -> Iterator[tuple[str, LikedItemsSource]]:
        """Those that go by what a user liked, by name."""
        yield CO_LIKED, self.co_liked
        yield SIMILAR, self.similar
        yield NEAREST, self.nearest


ITEM_TABLE = "item_table"
"""The source of what fills a list that would be too short: items nobody liked, the newest first."""
NO_RULES = EligibilityRules()
SHORT = 100
"""Candidates that are handed to ranking (paper, section 2: on the order of 100)."""

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A item's token, and the sources that named it, the one that spoke for it most first."""

    item: int
    sources: tuple[str, ...]


class Retriever:
    """Sources over the items of a item table, with what is known of users now.

    A rating changes its user's liked and seen items and the popularity at once; who likes what
    together is counted at load. Readers need no lock beside one writer; writers take turns.
    """

    def __init__(
        self,
        sources: CandidateSources,
        book: UserHistory,
        history: HistoryConfig,
        config: RetrieverConfig | None = None,
    ) -> None:
        """By sources and a book of the same ratings, which change. All is compiled by then."""
        self._sources = sources
        self._book = book
        self._history = history
        self._config = config or RetrieverConfig()
        self._writing = Lock()
        for _, source in sources.of_taste():
            source.scores(_NONE, np.ones(0))

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        interactions: Interactions,
        item_table: ItemTable,
        items: pa.Table,
        config: RetrieverConfig | None = None,
    ) -> Self:
        """Observe `interactions`; `items` is the table the item table was read from."""
        sources = CandidateSources.of(
            model, interactions, item_table, items, config or RetrieverConfig()
        )
        book = UserHistory(InteractionsByUser.of(interactions))
        return cls(sources, book, model.transform.spec.history, config)

    @property
    def items(self) -> Ints:
        """Tokens of all items that can be candidates, ascending."""
        return self._sources.ruled.items

    @property
    def popularity(self) -> Scores:
        """Decayed counts of likes of `items`, (m,)."""
        return self._sources.popular.counts

    def positive(self, value: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Which ratings are likes, shape (n,)."""
        return self._history.positive(value)

    def seen(self, user: int) -> Ints:
        """The items that the user has rated, in the order in which they were."""
        return self._book.seen(user)

    def allowed(self, user: int, at: int, rules: EligibilityRules = NO_RULES) -> Ints:
        """All items that may be shown to the user at UNIX seconds `at`, ascending."""
        return self.items[self._allowed(user, at, rules)]

    def liked(self, user: int) -> Ints:
        """The items that the user is known by, the newest first."""
        items, rates = self._book.rates(user)
        return items[self.positive(rates)][::-1][: self._config.likes]

    def observe(self, user: int, item: int, value: int, time: int) -> bool:
        """Take a rating, 1 to 10 at UNIX seconds; False for a repeat of a pair, which is nothing.

        Ratings may come in any order of time: a user's likes stand in the order in which they
        came, and popularity counts each by its own time.
        """
        with self._writing:
            if not self._book.add(FeedbackEvent(user, item, value, time)):
                return False
            if self.positive(np.array([value], np.int8))[0]:
                for row in _rows(self.items, np.array([item])).tolist():
                    self._sources.popular.add(row, time)
            return True

    def candidates(
        self, user: int, at: int, limit: int = SHORT, rules: EligibilityRules = NO_RULES
    ) -> tuple[Candidate, ...]:
        """At most `limit` items for the user at UNIX seconds `at`, the most promising first.

        Nothing the user has rated and nothing `rules` leave out. Fewer only if there are no more.
        `at` decides what is released; all that was observed counts.

        Raises:
            InputError: `limit` is less than 1.
        """
        rows, shares = self._short(user, self._allowed(user, at, rules), limit)
        sources = contributing_sources(SOURCES, shares)
        rest = [(ITEM_TABLE,)] * (len(rows) - len(sources))
        return tuple(map(Candidate, self.items[rows].tolist(), [*sources, *rest]))

    def shortlist(self, user: int, allowed: NDArray[np.bool_], limit: int = SHORT) -> Ints:
        """The tokens of `candidates`, for one of many users of a moment.

        `allowed` (m,) is what the rules of the moment allow of `items`.
        """
        return self.items[self._short(user, self._unseen(user, allowed), limit)[0]]

    def record(self, user: int) -> bytes:
        """What decides a user's shortlist: those who have rated the same alike have the same."""
        items, rates = self._book.rates(user)
        return items.tobytes() + self.positive(rates).tobytes()

    def ruled(self, at: int, rules: EligibilityRules = NO_RULES) -> NDArray[np.bool_]:
        """Which of `items` may be shown at UNIX seconds `at`, (m,)."""
        return self._sources.ruled.allowed(rules, at)

    def _short(
        self, user: int, allowed: NDArray[np.bool_], limit: int
    ) -> tuple[Ints, NDArray[np.float64]]:
        """Rows of candidates, and what each source gave to each of the first of them."""
        lists = self._lists(user, allowed, limit)
        weights, constant = self._config.weights, self._config.constant
        merged, shares = reciprocal_rank_fusion(lists, weights, constant, limit, len(allowed))
        allowed[merged] = False
        rest = self._unliked(allowed, limit - len(merged))
        return np.concatenate([merged, rest]), shares

    def lists(
        self, user: int, at: int, limit: int = SHORT, rules: EligibilityRules = NO_RULES
    ) -> dict[str, Ints]:
        """Tokens that each source names for the user, the best first, at most `limit` each."""
        found = self._lists(user, self._allowed(user, at, rules), limit)
        return {name: self.items[rows] for name, rows in found.items()}

    def _allowed(self, user: int, at: int, rules: EligibilityRules) -> NDArray[np.bool_]:
        return self._unseen(user, self.ruled(at, rules))

    def _unseen(self, user: int, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        left = allowed.copy()
        left[_rows(self.items, self._book.seen(user))] = False
        return left

    def _lists(self, user: int, allowed: NDArray[np.bool_], limit: int) -> dict[str, Ints]:
        """Rows by source, best first."""
        if limit < 1:
            raise InputError(f"the limit is {limit}; at least 1 candidate is wanted")
        found = {POPULAR: top_k(self._sources.popular.counts, allowed, limit)}
        liked = _rows(self.items, self.liked(user))
        factors = np.power(self._config.fading, np.arange(len(liked)), dtype=np.float64)
        if not len(liked):
            return found | dict.fromkeys((name for name, _ in self._sources.of_taste()), _NONE)
        for name, source in self._sources.of_taste():
            found[name] = top_k(source.scores(liked, factors), allowed, limit)
        return found

    def _unliked(self, allowed: NDArray[np.bool_], limit: int) -> Ints:
        """Rows that fill a list: the newest items first, those of unknown year last."""
        if limit < 1:
            return _NONE
        year = np.nan_to_num(self._sources.ruled.original_year, nan=0.0)
        return top_k(1.0 + np.maximum(year, 0.0), allowed, limit)


def _rows(items: Ints, tokens: Ints) -> Ints:
    """The rows of those tokens that are in `items` (sorted), in the order of the tokens."""
    places = positions_of(items, tokens)
    return places[places < len(items)]

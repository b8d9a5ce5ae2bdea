"""Retrieval: a short list of candidates for a user out of all items (paper, figure 2).

`Retriever` asks four sources for a ranked list each, applies the eligibility rules and merges the
lists by reciprocal rank fusion. `CandidateSources` are built from the ratings known at load;
`Retriever.update` takes the ratings that follow. `RetrieverConfig` holds the settings and the
values that were tried.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.tables import Interactions, SideTables
from widedeep.features import FeatureTables
from widedeep.features.attributes import positions_in
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
    groups_of,
    reciprocal_rank_fusion,
    top_k,
)
from widedeep.retrieval.user_index import InteractionsByUser, UserHistory

SHORTLIST_SIZE = 100
"""Candidates that are passed on to ranking (paper, section 2: on the order of 100)."""

CATALOGUE = "catalogue"
"""The source of items that fill up a short list: items without a like, the newest first."""

NO_RULES = EligibilityRules()

_WEIGHTS = {POPULAR: 1.0, CO_LIKED: 1.0, SIMILAR: 0.1, NEAREST: 0.1}
SOURCES = tuple(_WEIGHTS)

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class RetrieverConfig:
    """Settings of retrieval.

    Chosen on the validation part of KMRD-small, streaming protocol; recall@20 / recall@100.

    All users, by half-life in days:

        3     .448 / .738
        14    .500 / .762
        30    .506 / .789
        60    .498 / .802
        120   .485 / .804

    Users with a like (3,090 positives, standard error .009 / .007). Co-liked with 20 likes, by
    (power, shrinkage):

        (0, 0)     .415 / .769
        (.25, 5)   .425 / .770
        (.35, 5)   .429 / .769
        (.5, 0)    .402 / .728
        (.5, 20)   .427 / .765

    Co-liked with (.25, 5), by likes and fading. The same values move the other two sources (similar
    .174 / .307, nearest .070 / .243) by at most .014:

        5, 1      .431 / .770
        20, 1     .425 / .770
        20, .9    .429 / .772
        all, .9   .429 / .773

    Merged lists, by constant and the weights in the order of `SOURCES`:

        10   1 1 .1 .1     .459 / .791   chosen; .460 / .785 with lists of 200
        10   1 1 0 0       .458 / .791
        10   1 1 .25 .25   .463 / .783
        10   1 1 1 1       .440 / .722
        10   1 2 0 0       .454 / .786
        0    1 1 0 0       .463 / .791
        60   1 1 1 1       .404 / .760
        60   1 1 .1 .1     .442 / .790

    The two weak sources do not find more of what was rated. They stay, with little weight, because
    only they name items that few or no users have liked.

    Attributes:
        half_life: Days after which a like counts half in popularity.
        likes: How many of a user's newest likes describe the user.
        fading: How much a like counts relative to the next newer one.
        constant: The constant of `reciprocal_rank_fusion`.
        weights: The weight of each of `SOURCES` in the merged list.
        co_liked: Settings of the co-liked source.

    Raises:
        InputError: A value is out of range, or a source has no weight.
    """

    half_life: float = 60.0
    likes: int = 20
    fading: float = 0.9
    constant: float = 10.0
    weights: Mapping[str, float] = field(default_factory=lambda: dict(_WEIGHTS))
    co_liked: CoLikedConfig = field(default_factory=CoLikedConfig)

    def __post_init__(self) -> None:
        if self.likes < 1 or not 0 < self.fading <= 1:
            raise InputError(f"{self}: expected at least 1 like and 0 < fading <= 1")
        if self.half_life <= 0 or self.constant < 0:
            raise InputError(f"{self}: expected half_life > 0 and constant >= 0")
        if set(self.weights) != set(SOURCES) or min(self.weights.values()) < 0:
            raise InputError(
                f"weights are {self.weights}; expected one of at least 0 for each of {SOURCES}"
            )


class LikedItemsSource(Protocol):
    """A source that scores items by what a user liked."""

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """Score every item, (m,), by the liked rows (n,), each with a factor; 0 is no relation."""
        ...


@dataclass(frozen=True, slots=True)
class CandidateSources:
    """All sources and the eligibility of the items, by row of one item table of m items.

    Only `popular` changes after load: it counts every like.
    """

    eligibility: ItemEligibility
    popular: Popularity
    co_liked: CoLiked
    similar: SharedAttributes
    nearest: NearestItems

    @classmethod
    def from_interactions(
        cls,
        model: TrainedModel,
        interactions: Interactions,
        tables: FeatureTables,
        side: SideTables,
        config: RetrieverConfig,
    ) -> Self:
        """Count the likes in `interactions` and read the items; a like is a positive label.

        Args:
            model: Has the embeddings of the items.
            interactions: In order of time.
            tables: The items that can be candidates.
            side: What `tables` was read from; it has the titles, and says what the data mean.
            config: Settings.
        """
        rows, item_count = tables.items.find_rows(interactions.item), len(tables.items.ids)
        likes = np.flatnonzero(interactions.label & (rows < item_count))
        history = model.transform.spec.history
        groups = groups_of(side.spec, (*history.user_attributes, *history.attributes))
        users, rows, times = interactions.user[likes], rows[likes], interactions.time[likes]
        popular = Popularity.empty(item_count, config.half_life)
        popular.count_likes(rows, times)
        return cls(
            ItemEligibility.from_tables(tables, side),
            popular,
            CoLiked.from_likes(users, rows, item_count, config.co_liked),
            SharedAttributes.from_items(tables.items, groups),
            NearestItems.from_model(model, tables.items.ids),
        )

    def by_likes(self) -> Iterator[tuple[str, LikedItemsSource]]:
        """Yield name and source of those that score by what a user liked."""
        yield CO_LIKED, self.co_liked
        yield SIMILAR, self.similar
        yield NEAREST, self.nearest


@dataclass(frozen=True, slots=True)
class Candidate:
    """The id of an item, and the sources that named it, the one with the largest share first."""

    item: int
    sources: tuple[str, ...]


class Retriever:
    """Names candidates for a user, from all ratings known so far.

    A rating changes at once what its user has seen and liked, and the popularity of the item; which
    items are liked together is only counted at load. Any number of threads may read without a lock
    while one writes; writers wait for each other.
    """

    def __init__(
        self,
        sources: CandidateSources,
        user_history: UserHistory,
        config: RetrieverConfig | None = None,
    ) -> None:
        """Take sources and a user history of the same interactions; both change with `update`.

        All compiled code is loaded then, so that no request waits for it.
        """
        self.sources = sources
        self.user_history = user_history
        self._config = config or RetrieverConfig()
        self._writing = Lock()
        for _, source in sources.by_likes():
            source.scores(_NONE, np.ones(0))

    @classmethod
    def from_interactions(
        cls,
        model: TrainedModel,
        interactions: Interactions,
        tables: FeatureTables,
        side: SideTables,
        config: RetrieverConfig | None = None,
    ) -> Self:
        """Build everything from `interactions`; arguments as in `CandidateSources`."""
        config = config or RetrieverConfig()
        sources = CandidateSources.from_interactions(model, interactions, tables, side, config)
        by_user = InteractionsByUser.from_interactions(interactions)
        user_history = UserHistory(by_user, repeats=side.spec.interactions.repeats == "all")
        return cls(sources, user_history, config)

    @property
    def items(self) -> Ints:
        """Ids of all items that can be candidates, ascending, (m,)."""
        return self.sources.eligibility.items

    def update(self, event: FeedbackEvent) -> bool:
        """Take an interaction; return False for a repeated pair that changes nothing.

        Interactions may come in any order of time: a user's likes are kept in the order of arrival,
        and popularity counts each like by its own time.
        """
        with self._writing:
            if not self.user_history.add(event):
                return False
            if event.label:
                for row in self._rows(np.array([event.item])).tolist():
                    self.sources.popular.add(row, event.time)
            return True

    def candidates(
        self, user: int, at: int, limit: int = SHORTLIST_SIZE, rules: EligibilityRules = NO_RULES
    ) -> tuple[Candidate, ...]:
        """Return at most `limit` candidates for a user, the most promising first.

        Items that the user has rated or that the rules leave out are never among them. There are
        fewer only if no more items are left. `at`, UNIX seconds, decides which items are released;
        every rating taken so far counts.

        Raises:
            InputError: `limit` is less than 1.
        """
        allowed = self.unseen(user, self.eligible(at, rules))
        rows, shares = self._shortlist_rows(user, allowed, limit)
        sources = contributing_sources(SOURCES, shares)
        fillers = [(CATALOGUE,)] * (len(rows) - len(sources))
        return tuple(map(Candidate, self.items[rows].tolist(), [*sources, *fillers]))

    def shortlist(self, user: int, eligible: NDArray[np.bool_], limit: int) -> Ints:
        """Return the ids of `candidates`, (n,): for many users at one moment.

        `eligible`, shape (m,), is the result of `eligible` for that moment.
        """
        return self.items[self._shortlist_rows(user, self.unseen(user, eligible), limit)[0]]

    def shortlist_key(self, user: int) -> bytes:
        """Return what decides a user's shortlist: users with the same key have the same one."""
        items, labels = self.user_history.labels(user)
        return items.tobytes() + labels.tobytes()

    def liked(self, user: int) -> Ints:
        """Return the ids of the likes that describe a user, the newest first, (n,)."""
        items, labels = self.user_history.labels(user)
        return items[labels][::-1][: self._config.likes]

    def eligible(self, at: int, rules: EligibilityRules = NO_RULES) -> NDArray[np.bool_]:
        """Return which of `items` the rules allow at UNIX seconds `at`, (m,)."""
        return self.sources.eligibility.allowed(rules, at)

    def unseen(self, user: int, eligible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a copy of `eligible` (m,) without the items that the user has rated."""
        unseen = eligible.copy()
        unseen[self._rows(self.user_history.seen(user))] = False
        return unseen

    def lists(self, user: int, allowed: NDArray[np.bool_], limit: int) -> dict[str, Ints]:
        """Return the rows of `items` that each source names for a user, best first.

        `allowed`, shape (m,), says which rows may be named; at most `limit` are of each source.

        Raises:
            InputError: `limit` is less than 1.
        """
        if limit < 1:
            raise InputError(f"limit is {limit}; expected at least 1 candidate")
        lists = {POPULAR: top_k(self.sources.popular.counts, allowed, limit)}
        liked = self._rows(self.liked(user))
        factors = np.power(self._config.fading, np.arange(len(liked)), dtype=np.float64)
        for name, source in self.sources.by_likes():
            lists[name] = (
                top_k(source.scores(liked, factors), allowed, limit) if len(liked) else _NONE
            )
        return lists

    def _shortlist_rows(
        self, user: int, allowed: NDArray[np.bool_], limit: int
    ) -> tuple[Ints, Scores]:
        """Return rows of candidates, and the shares of the sources in the first of them.

        `allowed` (m,) is changed.
        """
        lists = self.lists(user, allowed, limit)
        weights, constant = self._config.weights, self._config.constant
        merged, shares = reciprocal_rank_fusion(lists, weights, constant, limit, len(allowed))
        allowed[merged] = False
        fillers = self._newest(allowed, limit - len(merged))
        return np.concatenate([merged, fillers]), shares

    def _newest(self, allowed: NDArray[np.bool_], limit: int) -> Ints:
        """Return rows by year, the newest first and those of unknown year last."""
        if limit < 1:
            return _NONE
        year = np.nan_to_num(self.sources.eligibility.released, nan=0.0)
        return top_k(1.0 + np.maximum(year, 0.0), allowed, limit)

    def _rows(self, items: Ints) -> Ints:
        """Return the rows of the item ids that can be candidates, in the order of the ids."""
        rows = positions_in(self.items, items)
        return rows[rows < len(self.items)]

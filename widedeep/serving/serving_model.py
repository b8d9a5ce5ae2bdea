"""A model version with everything that answers by it.

What is known of cards, and how people find them; most versions know the same cards.

A registered version, as a server finds it.

What has to be worked out before a version can serve.

It takes most of the time of loading a version, so another process may do it than the one that
serves (`save`, `load`).

A version is tried before anybody is answered by it.

Why a item stands in a user's list: the model's own sum for the pair, as it is scored now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.choices import Precision
from widedeep.data.feedback_log import FeedbackEvent
from widedeep.evaluation.explain import (
    DataSnapshot,
    Explanation,
    WidePart,
    item_table_digests,
    load_item_tables,
)
from widedeep.evaluation.naming import DisplayNames
from widedeep.evaluation.scoring import GOLDEN, NOBODY, GoldenRequests
from widedeep.features.history import HistoryColumns, Queries
from widedeep.features.history_state import NUMERIC
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged
from widedeep.features.raw_features import RawFeatures
from widedeep.features.vocabulary import IndexedBag
from widedeep.model.compute import matmul_dtype
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.eligibility import EligibilityRules
from widedeep.retrieval.retriever import (
    NO_RULES,
    SHORT,
    CandidateSources,
    Retriever,
    RetrieverConfig,
)
from widedeep.retrieval.sources import NearestItems
from widedeep.retrieval.user_index import InteractionsByUser, UserHistory, merge_feedback
from widedeep.serving.handoff import load_record, save_record
from widedeep.serving.item_search import ItemCards, ItemSearch
from widedeep.serving.live_state import FeatureRow, HistorySnapshot, LiveState
from widedeep.serving.ranker import Ranker, Ranking
from widedeep.serving.scorer import FastScorer, known_tokens


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """Attributes, names, cards and titles of the items in two tables of a `Companion`."""

    digests: tuple[str, str]
    item_table: ItemTable
    names: DisplayNames
    cards: ItemCards
    titles: ItemSearch

    @classmethod
    def load(cls, history: Path, rated: NDArray[np.int64], before: Self | None = None) -> Self:
        """Read a folder `history`; the shelf `before` where it is of the same items and people.

        Among equally good titles the more popular stand first, by the items (tokens) that were
        `rated`, once for each rating, when a shelf was made.
        """
        digests = item_table_digests(history)
        if before is not None and before.digests == digests:
            return before
        items, people = load_item_tables(history)
        item_table, names = ItemTable.from_table(items), DisplayNames.of(items, people)
        count = len(item_table.items)
        ratings = np.bincount(item_table.rows(rated), minlength=count + 1)[:count]
        titles = ItemSearch.of(items, ratings)
        return cls(digests, item_table, names, ItemCards.of(items, names), titles)


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """The folders of what it serves and of what it came with."""

    model: str
    number: str
    served: Path
    history: Path


@dataclass(frozen=True, slots=True)
class WarmState:
    """The model made ready, and all that follows from the ratings; serving changes that."""

    model: FastScorer
    wide: WidePart
    ratings: InteractionsByUser
    snapshot: HistorySnapshot
    sources: CandidateSources

    @classmethod
    def of(
        cls, version: ServedVersion, events: pa.Table, precision: Precision = Precision.AUTO
    ) -> Self:
        """For what a version came with, and the `events` since, as an event log has them."""
        model, companion = TrainedModel.load(version.served), DataSnapshot.load(version.history)
        history, prior = model.transform.spec.history, model.transform.prior
        interactions, item_table = merge_feedback(companion, events), companion.item_table
        snapshot = HistorySnapshot.of(interactions, item_table, history, prior, known_tokens(model))
        tokens = snapshot.users, snapshot.items
        return cls(
            FastScorer.of(model, tokens, item_table, matmul_dtype(precision)),
            WidePart.of(model),
            InteractionsByUser.of(interactions),
            snapshot,
            CandidateSources.of(
                model, interactions, item_table, companion.items, RetrieverConfig()
            ),
        )

    def save(self, path: Path) -> None:
        """Write one file."""
        save_record(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, hardly copying it: the file may lose its name, not change."""
        return load_record(cls, path)


def check_version(version: ServedVersion, precision: Precision) -> str | None:
    """What is wrong with a version, for people; None if all is well.

    It is loaded as a server loads it, and asked what it was registered with the answers to: pairs
    with strangers among them. In float32 they must be the same whatever a server computes in; in
    its own precision as near as that allows. What cannot be loaded or asked is wrong, too.
    """
    try:
        companion = DataSnapshot.load(version.history)
        golden = GoldenRequests.load(version.history / GOLDEN)
        model = TrainedModel.load(version.served)
        exact = Ranker.of(model, companion.interactions, companion.item_table, Precision.FLOAT32)
        served = Ranker.on(exact.state, model, companion.item_table, precision)
        return _differs(exact, golden) or _differs(served, golden) or _fails_strangers(served)
    except Exception as error:  # noqa: BLE001  a model from elsewhere may fail in any way
        return f"it cannot be loaded and asked: {type(error).__name__}: {error}"


def _differs(ranker: Ranker, golden: GoldenRequests) -> str | None:
    given = np.concatenate(
        [
            ranker.scores(user, np.array([item]), time)
            for user, item, time in zip(
                golden.user.tolist(), golden.item.tolist(), golden.time.tolist(), strict=True
            )
        ]
    )
    apart = float(np.abs(given - golden.probability).max())
    if not apart <= ranker.tolerance:
        return f"answers in {ranker.precision} differ by up to {apart:.2g} from those in training"
    return None


def _fails_strangers(ranker: Ranker) -> str | None:
    items = np.append(ranker.items[:100], NOBODY)
    scores = ranker.scores(NOBODY, items, ranker.known_until)
    sound = np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()
    return None if sound else "a stranger's scores are no probabilities"


Ints = NDArray[np.int64]

_SIMILAR = 3


@dataclass(frozen=True, slots=True)
class Similar:
    """A item that the user liked, and the cosine of both items' embeddings, -1 to 1."""

    item: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Reason:
    """The logit taken apart, and what the user liked that the deep part finds alike."""

    explanation: Explanation
    similar: tuple[Similar, ...]


@dataclass(frozen=True, slots=True)
class Explainer:
    """A model, the part of it that can be told, and the state of its users.

    `nearest` is by row of the item table.
    """

    model: FastScorer
    wide: WidePart
    nearest: NearestItems
    state: LiveState
    item_table: ItemTable
    names: DisplayNames

    def reasons(self, user: int, items: Sequence[int], at: int) -> tuple[Reason, ...]:
        """One for each item, as the model scores it for a user at UNIX seconds `at`."""
        asked = np.array(items, np.int64)
        reading = self.state.read(user, asked, at)
        rows = self._rows(user, asked, reading)
        explained = self.wide.explain(rows, self.model.logits(reading), self.names)
        similar = self._similar(asked, self.state.items.token(reading.liked))
        return tuple(Reason(*pair) for pair in zip(explained, similar, strict=True))

    def _rows(self, user: int, items: Ints, reading: FeatureRow) -> RawFeatures:
        """What was read, in the form in which a model's transform takes it."""
        moment = np.full(len(items), reading.time)
        queries = Queries(np.full(len(items), user), items, moment, moment)
        liked, disliked = (
            _repeated(self.state.items.token(codes), len(items))
            for codes in (reading.liked, reading.disliked)
        )
        numeric = reading.values[:, : len(NUMERIC)].astype(np.float32)
        history = HistoryColumns(numeric, IndexedBag.of(liked), IndexedBag.of(disliked))
        return RawFeatures.of(queries, history, self.item_table)

    def _similar(self, items: Ints, liked: Ints) -> list[tuple[Similar, ...]]:
        """For each item, the liked ones nearest in the deep embedding."""
        if not len(liked):
            return [()] * len(items)
        ours, theirs = (self._directions(tokens) for tokens in (items, liked))
        cosines = ours @ theirs.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :_SIMILAR]
        return [
            tuple(Similar(int(liked[i]), float(row[i])) for i in best if row[i] > 0)
            for row, best in zip(cosines, order, strict=True)
        ]

    def _directions(self, items: Ints) -> NDArray[np.float32]:
        """Embeddings of length 1, (n, width); of length 0 for a item that is not known."""
        rows = self.item_table.rows(items)
        held = np.minimum(rows, len(self.nearest.known) - 1)
        known = self.nearest.known[held] & (held == rows)
        return np.where(known[:, None], self.nearest.embeddings[held], np.float32(0))


def _repeated(tokens: Ints, times: int) -> Ragged:
    return Ragged.from_lengths(np.tile(tokens, times), np.full(times, len(tokens)))


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A item in a list, and which sources of retrieval proposed it."""

    item: int
    probability: float
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServingModel:
    """What a version is made of never changes; what it knows of users grows by `observe`."""

    version: ServedVersion
    ranker: Ranker
    retrieval: Retriever
    why: Explainer
    shelf: ItemMetadata
    book: UserHistory

    @classmethod
    def load(
        cls,
        version: ServedVersion,
        groundwork: WarmState,
        before: Self | None = None,
    ) -> Self:
        """A version for which the `groundwork` is done; that goes on with it.

        A first request has been answered then, so that no user waits for compiling. What is told of
        items is shared with the bundle `before`, if it is the same.
        """
        model, wide, ratings = groundwork.model, groundwork.wide, groundwork.ratings
        history, prior = wide.transform.spec.history, wide.transform.prior
        shelf = ItemMetadata.load(version.history, ratings.item, before.shelf if before else None)
        state = LiveState(groundwork.snapshot, ratings, history, prior)
        book = UserHistory(ratings)
        bundle = cls(
            version,
            Ranker(state, model),
            Retriever(groundwork.sources, book, history),
            Explainer(
                model, wide, groundwork.sources.nearest, state, shelf.item_table, shelf.names
            ),
            shelf,
            book,
        )
        bundle.recommend(NOBODY, 1, 0)
        return bundle

    @property
    def cards(self) -> ItemCards:
        """Cards of the cards."""
        return self.shelf.cards

    @property
    def titles(self) -> ItemSearch:
        """Items by title."""
        return self.shelf.titles

    def observe(self, event: FeedbackEvent) -> bool:
        """Take a rating; False if it repeats a pair, of which the first one counts."""
        news = self.ranker.observe(event.user, event.item, event.value, event.time)
        if news:
            self.retrieval.observe(event.user, event.item, event.value, event.time)
        return news

    def rank(self, user: int, candidates: list[int], k: int, now: int) -> Ranking:
        """The best `k` of the candidates, knowing every rating observed so far."""
        return self.ranker.rank(user, np.array(candidates, np.int64), self._moment(now), k)

    def recommend(
        self, user: int, k: int, now: int, rules: EligibilityRules = NO_RULES
    ) -> tuple[Recommendation, ...]:
        """Retrieval, then ranking: the best `k` items that the user has not rated."""
        moment = self._moment(now)
        found = self.retrieval.candidates(user, moment, SHORT, rules)
        sources = {one.item: one.sources for one in found}
        if not sources:
            return ()
        ranking = self.ranker.rank(user, np.array([*sources], np.int64), moment, k)
        return tuple(Recommendation(r.item, r.probability, sources[r.item]) for r in ranking)

    def reasons(self, user: int, items: list[int], now: int) -> tuple[Reason, ...]:
        """Why each item is scored as it is."""
        return self.why.reasons(user, items, self._moment(now))

    def _moment(self, now: int) -> int:
        """UNIX seconds at which every rating observed so far counts."""
        return max(now, self.ranker.known_until)

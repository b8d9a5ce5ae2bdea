"""One registered version of a model, with everything a server needs to answer by it.

`WarmState.compute` does the slow part of loading a version (it may run in another process and be
handed over as a file), `check_version` tries a version before it serves, and `ServingModel.load`
puts the parts together: `rank`, `recommend`, `reasons`, and `update` for feedback.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.tables import Categories, Interactions, SideTables
from widedeep.evaluation.explain import WidePart
from widedeep.evaluation.naming import DisplayNames
from widedeep.evaluation.snapshot import (
    GOLDEN,
    UNKNOWN_ID,
    DataSnapshot,
    GoldenRequests,
    side_table_digests,
)
from widedeep.features import FeatureTables, Transform
from widedeep.features.request import NOTHING_GIVEN, RequestFeatures
from widedeep.inputs import Precision
from widedeep.model.compute import matmul_dtype
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.eligibility import EligibilityRules
from widedeep.retrieval.retriever import (
    NO_RULES,
    SHORTLIST_SIZE,
    CandidateSources,
    Retriever,
    RetrieverConfig,
)
from widedeep.retrieval.user_index import InteractionsByUser, UserHistory, merge_feedback
from widedeep.serving.explainer import LiveExplainer, Reason
from widedeep.serving.handoff import load_record, save_record
from widedeep.serving.history_snapshot import HistorySnapshot
from widedeep.serving.item_search import ItemCards, ItemSearch
from widedeep.serving.live_state import LiveState
from widedeep.serving.ranker import Ranker, Ranking
from widedeep.serving.scorer import FastScorer, known_ids

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A registered version: its model's name, its number, and the folders of its files.

    Attributes:
        model: Name of the registered model.
        number: Number of the version.
        served: Folder of the `TrainedModel`.
        history: Folder of the `DataSnapshot` and of the golden requests.
    """

    model: str
    number: str
    served: Path
    history: Path


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An item of a recommended list, P(positive), and the candidate sources that proposed it."""

    item: int
    probability: float
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServingModel:
    """A version that answers. Its weights never change; what it knows of users does, by `update`.

    Attributes:
        version: The registered version.
        ranker: Scores and sorts candidates.
        retriever: Proposes candidates.
        explainer: Explains scores.
        metadata: Names, cards and search index of the items.
        user_history: The ratings of each user, for display and retrieval.
    """

    version: ServedVersion
    ranker: Ranker
    retriever: Retriever
    explainer: LiveExplainer
    metadata: "ItemMetadata"
    user_history: UserHistory

    @property
    def transform(self) -> Transform:
        """The fitted features of the model."""
        return self.explainer.wide.transform

    @classmethod
    def load(
        cls, version: ServedVersion, warm_state: "WarmState", before: Self | None = None
    ) -> Self:
        """Put a version together and answer a first request, so that no user waits for compiling.

        Args:
            version: The registered version.
            warm_state: Computed for this version; its arrays are changed by `update`.
            before: The version in service, whose item metadata is shared if it is the same.
        """
        scorer, wide, rated = warm_state.scorer, warm_state.wide, warm_state.interactions
        config, prior = wide.transform.spec.history, wide.transform.prior
        loaded = before.metadata if before else None
        metadata = ItemMetadata.load(version.history, rated.item, loaded)
        repeats = metadata.side.spec.interactions.repeats == "all"
        state = LiveState(
            warm_state.snapshot,
            rated,
            config,
            prior,
            more_numbers=len(metadata.tables.numbers),
            repeats=repeats,
        )
        user_history = UserHistory(rated, repeats=repeats)
        model = cls(
            version,
            Ranker(state, scorer),
            Retriever(warm_state.sources, user_history),
            LiveExplainer(
                scorer, wide, warm_state.sources.nearest, state, metadata.tables, metadata.names
            ),
            metadata,
            user_history,
        )
        model.recommend(UNKNOWN_ID, 1, 0)
        return model

    def update(self, event: FeedbackEvent) -> bool:
        """Let an interaction count from now on; return False if it repeats a pair to no effect."""
        new = self.ranker.update(event)
        if new:
            self.retriever.update(event)
        return new

    def rank(
        self,
        user: int,
        candidates: list[int],
        k: int,
        now: int,
        given: RequestFeatures = NOTHING_GIVEN,
    ) -> Ranking:
        """Return the best `k` of the candidates, by all interactions so far.

        `now` is in UNIX seconds; `given` holds what the request says of context and user.
        """
        items = np.array(candidates, np.int64)
        return self.ranker.rank(user, items, self._query_time(now), k, given)

    def recommend(
        self,
        user: int,
        k: int,
        now: int,
        rules: EligibilityRules = NO_RULES,
        given: RequestFeatures = NOTHING_GIVEN,
    ) -> tuple[Recommendation, ...]:
        """Retrieve candidates and rank them: the best `k` items that are new to the user."""
        at = self._query_time(now)
        candidates = self.retriever.candidates(user, at, SHORTLIST_SIZE, rules)
        sources = {candidate.item: candidate.sources for candidate in candidates}
        if not sources:
            return ()
        ranking = self.ranker.rank(user, np.array([*sources], np.int64), at, k, given)
        return tuple(
            Recommendation(ranked.item, ranked.probability, sources[ranked.item])
            for ranked in ranking
        )

    def reasons(
        self, user: int, items: list[int], now: int, given: RequestFeatures = NOTHING_GIVEN
    ) -> tuple[Reason, ...]:
        """Return for each item why it is scored as it is; arguments as in `rank`."""
        return self.explainer.reasons(user, items, self._query_time(now), given)

    def _query_time(self, now: int) -> int:
        """Return UNIX seconds, `now` or later, at which every rating so far counts."""
        return max(now, self.ranker.known_until)


@dataclass(frozen=True, slots=True)
class WarmState:
    """What takes most of the time of loading a version: the prepared model and its users' state.

    Another process may compute it than the one that serves, see `save` and `load`.
    """

    scorer: FastScorer
    wide: WidePart
    interactions: InteractionsByUser
    snapshot: HistorySnapshot
    sources: CandidateSources

    @classmethod
    def compute(
        cls, version: ServedVersion, feedback: Interactions, precision: Precision = Precision.AUTO
    ) -> Self:
        """Prepare a version, with the feedback taken since it was trained.

        Args:
            version: The registered version.
            feedback: As `read_feedback` returns it.
            precision: Of the matrix products.
        """
        model, data = TrainedModel.load(version.served), DataSnapshot.load(version.history)
        config, prior = model.transform.spec.history, model.transform.prior
        interactions, tables = merge_feedback(data, feedback), data.tables
        snapshot = HistorySnapshot.from_interactions(
            interactions, tables.items, config, prior, known_ids(model)
        )
        ids = snapshot.users, snapshot.items
        return cls(
            FastScorer.from_model(model, ids, tables, matmul_dtype(precision)),
            WidePart.from_model(model),
            InteractionsByUser.from_interactions(interactions),
            snapshot,
            CandidateSources.from_interactions(
                model, interactions, tables, data.side, RetrieverConfig()
            ),
        )

    def save(self, path: Path) -> None:
        """Write everything into one file, for `load` in another process of this machine."""
        save_record(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map what `save` wrote, without copying; the file may be unlinked but must not change."""
        return load_record(cls, path)


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """Attributes, names, cards and search index of the items of a `DataSnapshot`.

    `digests` identify the files that it was read from.
    """

    digests: tuple[str, ...]
    side: SideTables
    tables: FeatureTables
    names: DisplayNames
    cards: ItemCards
    search: ItemSearch

    @classmethod
    def load(cls, history: Path, rated: Ints, before: Self | None = None) -> Self:
        """Read the items of a folder `history`, or return `before` if its files are the same.

        Args:
            history: Folder of a `DataSnapshot`.
            rated: The item ids of all ratings, (n,); the search lists items with more ratings first
                among equally good matches.
            before: Metadata already in memory.
        """
        digests = side_table_digests(history)
        if before is not None and before.digests == digests:
            return before
        side = SideTables.load(history)
        tables, names = FeatureTables.from_side_tables(side), DisplayNames.from_tables(side)
        count = len(tables.items.ids)
        popularity = np.bincount(tables.items.find_rows(rated), minlength=count + 1)[:count]
        search = ItemSearch.from_table(side.items, popularity)
        return cls(digests, side, tables, names, ItemCards.from_tables(side, names), search)


def check_version(version: ServedVersion, precision: Precision) -> str | None:
    """Try a version; return what is wrong with it, or None if nothing is.

    The version is loaded as a server loads it, and scores the golden requests (unknown users among
    them) that it was registered with: in float32 whatever `precision` is, and in `precision`, each
    within the tolerance of the ranker. A version that cannot be loaded or queried is wrong, too.
    """
    try:
        data = DataSnapshot.load(version.history)
        golden = GoldenRequests.load(version.history / GOLDEN)
        model, items = TrainedModel.load(version.served), data.tables
        exact = Ranker.from_interactions(model, data.interactions, items, Precision.FLOAT32)
        served = Ranker.from_state(exact.state, model, items, precision)
        return (
            _check_golden(exact, golden)
            or _check_golden(served, golden)
            or _check_unknown_user(served)
        )
    except Exception as error:  # noqa: BLE001  files written elsewhere may fail in any way
        return f"it cannot be loaded or queried: {type(error).__name__}: {error}"


def _check_golden(ranker: Ranker, golden: GoldenRequests) -> str | None:
    requests = zip(golden.user.tolist(), golden.item.tolist(), golden.time.tolist(), strict=True)
    scores = [
        ranker.scores(user, np.array([item]), time, RequestFeatures(context_of_row(golden, row)))
        for row, (user, item, time) in enumerate(requests)
    ]
    largest = float(np.abs(np.concatenate(scores) - golden.probability).max())
    # Written so that NaN fails.
    if not largest <= ranker.tolerance:
        return (
            f"scores in {ranker.precision} differ by up to {largest:.2g} from those recorded in "
            f"training; expected at most {ranker.tolerance:.2g}"
        )
    return None


def context_of_row(golden: GoldenRequests, row: int) -> dict[str, str | float]:
    """Return the context of one golden request as a request gives it."""
    return {
        name: str(column.ids[column.codes[row]])
        if isinstance(column, Categories)
        else float(column[row])
        for name, column in golden.context.items()
    }


def _check_unknown_user(ranker: Ranker) -> str | None:
    items = np.append(ranker.items[:100], UNKNOWN_ID)
    scores = ranker.scores(UNKNOWN_ID, items, ranker.known_until)
    valid = np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()
    return None if valid else "scores of an unknown user are not all probabilities"

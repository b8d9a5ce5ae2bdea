"""Why a served model scores an item as it does for a user, by the user's live state.

The logit is taken apart as `widedeep.evaluation.explain` does for a batch; in addition the liked
items are named that the deep part finds most similar.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.evaluation.explain import Explanation, WidePart
from widedeep.evaluation.naming import DisplayNames, Language
from widedeep.features import (
    NUMERIC,
    FeatureTables,
    HistoryColumns,
    IndexedBag,
    Queries,
    Ragged,
    RawFeatures,
)
from widedeep.features.request import (
    NOTHING_GIVEN,
    RequestFeatures,
    given_context,
    with_given_user,
)
from widedeep.retrieval.sources import NearestItems
from widedeep.serving.live_state import FeatureRow, LiveState
from widedeep.serving.scorer import FastScorer

Ints = NDArray[np.int64]

_SIMILAR_ITEMS = 3


@dataclass(frozen=True)
class SimilarItem:
    """An item that the user liked, and the cosine of two items' deep embeddings, in [-1, 1]."""

    item: int
    korean: str
    english: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Reason:
    """A logit taken apart, and the liked items that the deep part finds most similar."""

    explanation: Explanation
    similar: tuple[SimilarItem, ...]


@dataclass(frozen=True, slots=True)
class LiveExplainer:
    """A model prepared for explaining its scores.

    Attributes:
        scorer: Computes logits from live features.
        wide: The wide features with their weights.
        nearest: The items' deep embeddings, by row of `tables`.
        state: The live state of users and items.
        tables: Attributes of the items.
        names: For the words of an explanation.
    """

    scorer: FastScorer
    wide: WidePart
    nearest: NearestItems
    state: LiveState
    tables: FeatureTables
    names: DisplayNames

    def reasons(
        self,
        user: int,
        items: Sequence[int],
        at: int,
        given: RequestFeatures = NOTHING_GIVEN,
    ) -> tuple[Reason, ...]:
        """Return a reason for each item, as the model scores it for a user at UNIX seconds `at`.

        `given` holds what the request says of context and user.
        """
        ids = np.array(items, np.int64)
        features = self.state.read(user, ids, at, given)
        rows = self._raw_features(user, ids, features)
        logits = self.scorer.logits(features)
        explanations = self.wide.explain(rows, logits, self.names)
        similar = self._similar(ids, self.state.items.ids_of(features.liked))
        return tuple(Reason(*pair) for pair in zip(explanations, similar, strict=True))

    def _raw_features(self, user: int, items: Ints, features: FeatureRow) -> RawFeatures:
        """Return live features in the form that a model's transform reads."""
        count = len(items)
        at = np.full(count, features.time)
        liked, disliked = (
            IndexedBag.from_ragged(_repeat(self.state.items.ids_of(codes), count))
            for codes in (features.liked, features.disliked)
        )
        config = self.wide.transform.spec.history
        names = (*NUMERIC, *config.attribute_numbers)
        numbers = features.values[:, : len(names)].astype(np.float32)
        context = given_context(features.given, self.tables, count)
        queries = Queries(np.full(count, user), items, at, at, context)
        history = HistoryColumns(numbers, liked, disliked, names)
        tables = with_given_user(self.tables, user, features.given)
        return RawFeatures.from_history(queries, history, tables)

    def _similar(self, items: Ints, liked: Ints) -> list[tuple[SimilarItem, ...]]:
        """Return for each item the liked items with the largest positive cosines."""
        if not len(liked):
            return [()] * len(items)
        cosines = self._unit_embeddings(items) @ self._unit_embeddings(liked).T
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :_SIMILAR_ITEMS]
        return [
            tuple(self._similar_item(int(liked[i]), float(row[i])) for i in columns if row[i] > 0)
            for row, columns in zip(cosines, nearest, strict=True)
        ]

    def _similar_item(self, item: int, similarity: float) -> SimilarItem:
        korean, english = (self.names.item(item, language) for language in Language)
        return SimilarItem(item, korean, english, similarity)

    def _unit_embeddings(self, items: Ints) -> NDArray[np.float32]:
        """Return embeddings of length 1, (n, dimensions), all zeros for items without one."""
        rows = self.tables.items.find_rows(items)
        in_table = np.minimum(rows, len(self.nearest.known) - 1)
        known = self.nearest.known[in_table] & (in_table == rows)
        return np.where(known[:, None], self.nearest.embeddings[in_table], np.float32(0))


def _repeat(ids: Ints, times: int) -> Ragged:
    return Ragged.from_lengths(np.tile(ids, times), np.full(times, len(ids)))

"""Rank candidates for one user, best first, by a model that knows all ratings taken so far.

The scores are those of `widedeep.evaluation.scoring.model_scorer` for streaming queries, within
`Ranker.tolerance`, but computed one request at a time: see `widedeep.serving.scorer`.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.tables import Interactions
from widedeep.features import FeatureTables
from widedeep.features.request import NOTHING_GIVEN, RequestFeatures
from widedeep.inputs import InputError, Precision
from widedeep.model.compute import matmul_dtype
from widedeep.model.network import sigmoid
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.live_state import LiveState
from widedeep.serving.scorer import FastScorer, known_ids

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]


@dataclass(frozen=True)  # without slots, orjson writes it in a fifth of the time
class RankedItem:
    """The id of an item and P(positive), between 0 and 1."""

    item: int
    probability: float


Ranking = tuple[RankedItem, ...]
"""Best first; of equal probabilities the lower id comes first."""


class Ranker:
    """A scorer together with the live state of users and items.

    The scorer never changes, and the state takes one rating or one read at a time (see
    `LiveState`). So any number of threads may ask while others update: a request sees a rating
    completely or not at all.

    Unknown users and items are treated as new ones. Moments are UNIX seconds: a request at `at`
    knows what happened strictly before, so a rating counts from the next second on. To let it count
    at once, ask for `max(now, ranker.known_until)`. Time only moves forward: a rating older than
    the newest one counts as given at the same second as the newest, and a request for an earlier
    moment is answered as of that second.
    """

    def __init__(self, state: LiveState, scorer: FastScorer) -> None:
        self._state = state
        self._scorer = scorer

    @classmethod
    def from_interactions(
        cls,
        model: TrainedModel,
        interactions: Interactions,
        tables: FeatureTables,
        precision: Precision = Precision.AUTO,
        *,
        repeats: bool = False,
    ) -> Self:
        """Take in the ratings, prepare the model, and answer a first request to compile all code.

        Raises:
            InputError: The interactions are not in order of time, or the processor lacks the
                precision.
        """
        transform = model.transform
        history, prior = transform.spec.history, transform.prior
        state = LiveState.from_interactions(
            interactions, tables, history, prior, known_ids(model), repeats=repeats
        )
        return cls.from_state(state, model, tables, precision)

    @classmethod
    def from_state(
        cls, state: LiveState, model: TrainedModel, tables: FeatureTables, precision: Precision
    ) -> Self:
        """Prepare the model for a state that was not updated yet, and answer a first request."""
        ids = state.users.ids, state.items.ids
        scorer = FastScorer.from_model(model, ids, tables, matmul_dtype(precision))
        ranker = cls(state, scorer)
        ranker.scores(-1, np.array([-1]), max(state.known_until, 0))
        return ranker

    @property
    def state(self) -> LiveState:
        """The state of users and items, which `update` changes."""
        return self._state

    @property
    def scorer(self) -> FastScorer:
        """The scorer that computes logits from reads of the state."""
        return self._scorer

    @property
    def precision(self) -> Precision:
        """The precision of the matrix products."""
        return self._scorer.precision

    @property
    def tolerance(self) -> float:
        """How far a probability may be from the one that the model itself computes."""
        return self._scorer.tolerance

    @property
    def known_until(self) -> int:
        """The first UNIX second at which every rating taken so far counts."""
        return self._state.known_until

    @property
    def items(self) -> Ints:
        """Ids of all items of the item table, the ratings and the model, (m,)."""
        return self._state.items.ids

    def update(self, event: FeedbackEvent) -> bool:
        """Take an interaction; return False for a repeated pair that does not count, a no-op."""
        return self._state.update(event)

    def scores(
        self, user: int, candidates: Ints, at: int, given: RequestFeatures = NOTHING_GIVEN
    ) -> Singles:
        """Return P(positive) of each candidate at UNIX seconds `at`, float32 (n,).

        `given` holds the context and the user's attributes that the request states.
        """
        if not len(candidates):
            return np.empty(0, np.float32)
        request = self._state.read(user, np.asarray(candidates, np.int64), at, given)
        return sigmoid(self._scorer.logits(request)).astype(np.float32)

    def rank(
        self,
        user: int,
        candidates: Ints,
        at: int,
        k: int,
        given: RequestFeatures = NOTHING_GIVEN,
    ) -> Ranking:
        """Return the best `k` candidates at UNIX seconds `at`, each once; `given` as in `scores`.

        Raises:
            InputError: `k` is less than 1.
        """
        check_k(k)
        items = np.unique(np.asarray(candidates, np.int64))
        probability = self.scores(user, items, at, given)
        best = np.argsort(-probability, kind="stable")[:k]
        pairs = zip(items[best].tolist(), probability[best].tolist(), strict=True)
        return tuple(RankedItem(*pair) for pair in pairs)


def check_k(k: int) -> None:
    """Refuse a list length `k` below 1.

    Raises:
        InputError: `k` is less than 1.
    """
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1 ranked item")

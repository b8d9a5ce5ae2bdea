"""Candidates of one user, best first, by a model that knows all ratings observed so far.

Scores are those of `widedeep.evaluation.scoring.model_scorer` for streaming queries (within
`Ranker.tolerance`), computed a request at a time: what only the item decides is ready before, what
only the user decides is computed once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.choices import Precision
from widedeep.data.tables import Interactions
from widedeep.evaluation.explain import DataSnapshot
from widedeep.features.items import ItemTable
from widedeep.inputs import InputError
from widedeep.model.compute import matmul_dtype
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import sigmoid
from widedeep.serving.live_state import LiveState
from widedeep.serving.scorer import FastScorer, known_tokens

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A item's token and P(positive)."""

    item: int
    probability: float


Ranking = tuple[Ranked, ...]
"""Best first; of equal ones the lower token first."""


class Ranker:
    """A prepared model with the live state of users and items.

    The model's parts never change; the state takes one rating or one reading at a time (see
    `LiveState`), so any number of threads may ask while one observes (or several do): a request
    sees a rating wholly or not at all.

    A user or item that nobody knows is a cold one. Moments are UNIX seconds: a request at `at`
    knows what is strictly before it, so a rating counts from the next second on. To let it count at
    once, ask for `max(now, ranker.known_until)`. Time only goes forward: a rating older than the
    newest one counts as one of the newest instant, and a request older than that is answered as of
    that instant.
    """

    def __init__(self, state: LiveState, model: FastScorer) -> None:
        self._state = state
        self._model = model

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        interactions: Interactions,
        item_table: ItemTable,
        precision: Precision = Precision.AUTO,
    ) -> Self:
        """Observe `interactions`, prepare the model, and answer a first request, so that all is compiled.

        Raises:
            InputError: The log is not in order of time, or the processor lacks the precision.
        """
        transform = model.transform
        history, prior = transform.spec.history, transform.prior
        state = LiveState.of(interactions, item_table, history, prior, known_tokens(model))
        return cls.on(state, model, item_table, precision)

    @classmethod
    def on(
        cls, state: LiveState, model: TrainedModel, item_table: ItemTable, precision: Precision
    ) -> Self:
        """Prepare the model for a state that has met no others yet, and answer a first request."""
        tokens = state.users.tokens, state.items.tokens
        ranker = cls(state, FastScorer.of(model, tokens, item_table, matmul_dtype(precision)))
        ranker.scores(-1, np.array([-1]), max(state.known_until, 0))
        return ranker

    @classmethod
    def load(
        cls, model_folder: Path, history_folder: Path, precision: Precision = Precision.AUTO
    ) -> Self:
        """Read a registered model's folders; raises as `of`."""
        known = DataSnapshot.load(history_folder)
        return cls.of(
            TrainedModel.load(model_folder), known.interactions, known.item_table, precision
        )

    @property
    def state(self) -> LiveState:
        """What is known of users and items now."""
        return self._state

    @property
    def model(self) -> FastScorer:
        """What gives logits to readings of the state."""
        return self._model

    @property
    def precision(self) -> Precision:
        """In what the matrix products are computed."""
        return self._model.precision

    @property
    def tolerance(self) -> float:
        """How far a probability may be from the one that the model itself gives."""
        return self._model.tolerance

    @property
    def known_until(self) -> int:
        """The first UNIX second at which everything counts that was observed so far."""
        return self._state.known_until

    @property
    def known_users(self) -> Ints:
        """Tokens of all users who have rated, or whom the model knows."""
        return self._state.users.tokens

    @property
    def items(self) -> Ints:
        """Tokens of all items of the item table, the ratings and the model."""
        return self._state.items.tokens

    def observe(self, user: int, item: int, value: int, time: int) -> bool:
        """Take a rating, 1 to 10 at UNIX seconds; False for a repeat of a pair, which is nothing.

        Only the first rating of a pair is an example.
        """
        return self._state.observe(user, item, value, time)

    def seen(self, user: int) -> Ints:
        """The items that the user has rated, in order of time, (n,)."""
        return self._state.seen(user)

    def scores(self, user: int, candidates: Ints, at: int) -> Singles:
        """P(positive) of each candidate at UNIX seconds `at`, float32 (n,)."""
        if not len(candidates):
            return np.empty(0, np.float32)
        reading = self._state.read(user, np.asarray(candidates, np.int64), at)
        return sigmoid(self._model.logits(reading)).astype(np.float32)

    def rank(self, user: int, candidates: Ints, at: int, k: int) -> Ranking:
        """The best `k` candidates, each once.

        Raises:
            InputError: `k` is less than 1.
        """
        if k < 1:
            raise InputError(f"k is {k}; at least 1 ranked movie is wanted")
        items = np.unique(np.asarray(candidates, np.int64))
        probability = self.scores(user, items, at)
        best = np.argsort(-probability, kind="stable")[:k]
        pairs = zip(items[best].tolist(), probability[best].tolist(), strict=True)
        return tuple(Ranked(*pair) for pair in pairs)

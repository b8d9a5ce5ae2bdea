"""A model on the holdout, in both protocols.

streaming: history up to just before each rating, what a server with the event log knows.
frozen: history as of the holdout's start, what a nightly batch knows.

Requests with the answers a model must give: what a loaded copy is tried with.

The lists of ten that a model shows, to see how much of them a new model changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.data.split import Split
from widedeep.data.tables import Interactions, first_times, save_columns
from widedeep.features.history import ColumnSelection, HistoryConfig, Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.sampling import DAY, new_user_rows
from widedeep.features.training_data import FROZEN, PROTOCOLS, STREAMING, queries_by_protocol
from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import predict

Floats = NDArray[np.float64]
Scorer = Callable[[Queries], Floats]
"""Gives P(positive) of each query, float64 of shape (n,)."""
ModelScorer = Callable[[TrainedModel, Interactions, ItemTable], Scorer]
"""Gives what scores by a model with the history in the ratings; see `model_scorer`."""

PREDICTIONS = "predictions.parquet"
CHAMPION_PREDICTIONS = "champion_predictions.parquet"
BASELINE_PREDICTIONS = "baseline_predictions.parquet"

POINTWISE = {
    "auc": metrics.auc,
    "log_loss": metrics.log_loss,
    "pr_auc": metrics.pr_auc,
    "ece": metrics.ece,
}
RANKED = {"gauc": metrics.gauc, "ndcg_at_10": metrics.ndcg_at_10}


@dataclass(frozen=True, slots=True)
class Predictions:
    """The holdout's rows with label (bool) and both protocols' probabilities, shape (n,) each."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]
    label: NDArray[np.bool_]
    streaming: Floats
    frozen: Floats

    @classmethod
    def of(
        cls, interactions: Interactions, split: Split, history: HistoryConfig, scorer: Scorer
    ) -> Self:
        """Score every holdout row of `interactions` twice."""
        rows = split.holdout(interactions.time)
        asked = queries_by_protocol(interactions, rows, split.holdout_from)
        return cls(
            interactions.user[rows],
            interactions.item[rows],
            interactions.time[rows],
            history.positive(interactions.value[rows]),
            **{name: scorer(part) for name, part in asked.items()},
        )

    def save(self, path: Path) -> None:
        """Write one Parquet file with a column for each field."""
        save_columns(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        return cls(*(table[name].to_numpy() for name in cls.__slots__))

    def measure(self) -> dict[str, dict[str, float | None]]:
        """All metrics by protocol.

        Ranking metrics compare a user's candidates at one instant, so they are taken on frozen
        history only: under streaming, the user's own state differs between the compared rows. They
        are None where no user has rows that could be ranked.
        """
        measured: dict[str, dict[str, float | None]] = {
            name: {metric: measure(self.label, scores) for metric, measure in POINTWISE.items()}
            for name, scores in ((STREAMING, self.streaming), (FROZEN, self.frozen))
        }
        for metric, measure in RANKED.items():
            measured[FROZEN][metric] = _if_any(measure, self.label, self.frozen, self.user)
        return measured


def model_scorer(model: TrainedModel, interactions: Interactions, item_table: ItemTable) -> Scorer:
    """Score by the model, through its own transform."""

    def score(asked: Queries) -> Floats:
        rows = model.transform.describe(interactions, asked, item_table)
        return predict(model.network, model.transform.encode(rows))

    return score


def user_item_mean(
    transform: Transform, interactions: Interactions, item_table: ItemTable
) -> Scorer:
    """The baseline without training: the item's smoothed mean plus the user's mean residual."""

    def score(asked: Queries) -> Floats:
        known = (interactions, asked, item_table, transform.spec.history, transform.prior)
        rows = RawFeatures.describe(
            *known, wanted=ColumnSelection(("mean_plus_residual",), bags=())
        )
        return rows.number("mean_plus_residual").astype(np.float64).clip(0, 1)

    return score


def slices(interactions: Interactions, split: Split) -> dict[str, NDArray[np.bool_]]:
    """Holdout rows by what is known of their user and item; masks over the holdout, (n,).

    A user is new who has no earlier rating; a item is new that was first rated in the holdout.
    """
    held = split.holdout(interactions.time)
    new_user = new_user_rows(interactions)[held]
    new_item = first_times(interactions.item, interactions.time)[held] >= split.holdout_from
    return {
        "new_user": new_user,
        "returning_user": ~new_user,
        "new_item": new_item,
        "old_item": ~new_item,
    }


def measure_slices(
    predictions: Predictions, masks: dict[str, NDArray[np.bool_]]
) -> dict[str, dict[str, Any]]:
    """Rows and, where both classes are there, AUC and log loss of each slice, by protocol."""
    measured: dict[str, dict[str, Any]] = {}
    for name, mask in masks.items():
        label = predictions.label[mask]
        found: dict[str, Any] = {"rows": int(mask.sum())}
        for protocol in PROTOCOLS:
            scores = getattr(predictions, protocol)[mask]
            found[protocol] = _slice_metrics(label, scores)
        measured[name] = found
    return measured


def _slice_metrics(label: NDArray[np.bool_], scores: Floats) -> dict[str, float | None]:
    return {
        "auc": _if_any(metrics.auc, label, scores),
        "log_loss": _if_any(metrics.log_loss, label, scores),
    }


def _if_any(measure: Callable[..., float], *rows: Any) -> float | None:  # noqa: ANN401
    """A metric, or None where these rows give it no value."""
    try:
        return measure(*rows)
    except InputError:
        return None


GOLDEN = "golden.parquet"
"""The file's name beside a registered model's history."""

ROWS = 200
NOBODY = -1
"""A token that no user and no item has."""


@dataclass(frozen=True, slots=True)
class GoldenRequests:
    """The answers (probability) to the requests (user, item, time); (ROWS,) each."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]
    probability: Floats

    @classmethod
    def of(cls, interactions: Interactions, scorer: Scorer) -> Self:
        """The last rated pairs right after the last rating, with strangers among them."""
        user, item = interactions.user[-ROWS:].copy(), interactions.item[-ROWS:].copy()
        user[::10], item[5::10] = NOBODY, NOBODY
        time = np.full(len(user), interactions.time[-1] + 1)
        return cls(user, item, time, scorer(Queries(user, item, time, time)))

    def save(self, path: Path) -> None:
        """Write one Parquet file with a column for each field."""
        save_columns(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        return cls(*(table[name].to_numpy() for name in cls.__slots__))


Ints = NDArray[np.int64]

LENGTH = 10
USERS = ITEMS = 100
_YEAR = 365 * DAY


@dataclass(frozen=True, slots=True)
class TopLists:
    """The best `item` tokens of each `user`, int64 (users, LENGTH), the best first."""

    user: Ints
    item: Ints

    @classmethod
    def of(cls, interactions: Interactions, at: int, scorer: Scorer) -> Self:
        """Rank for the users seen last before `at` the items rated most in the year before.

        Items that a user has rated are not shown again. Who is asked does not depend on the model.
        """
        users, items = _last_seen(interactions), _most_rated(interactions, at)
        scores = scorer(Queries.of_every_pair(users, items, at)).reshape(len(users), len(items))
        scores[_rated(interactions, users, items)] = -1.0
        best = np.argsort(-scores, axis=1, kind="stable")[:, :LENGTH]
        return cls(users, items[best])

    def churn(self, other: Self) -> float:
        """Share of the shown items that `other` doesn't show to the same user, in [0, 1]."""
        pairs = zip(self.item, other.item, strict=True)
        kept = [len(np.intersect1d(ours, theirs)) for ours, theirs in pairs]
        return 1.0 - float(np.sum(kept)) / max(self.item.size, 1)

    def coverage(self) -> int:
        """How many different items are shown to anybody."""
        return len(np.unique(self.item))

    def save(self, path: Path) -> None:
        """Write one Parquet file, a row a user."""
        pq.write_table(pa.table({"user": self.user, "items": list(self.item)}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        items = np.array(table["items"].to_pylist(), np.int64)
        return cls(table["user"].to_numpy(), items.reshape(table.num_rows, -1))


def _last_seen(interactions: Interactions) -> Ints:
    """Users by their last rating, the latest USERS of them, by token."""
    users, newest = np.unique(interactions.user[::-1], return_index=True)
    return np.sort(users[np.argsort(newest, kind="stable")[:USERS]])


def _most_rated(interactions: Interactions, at: int) -> Ints:
    """The MOVIES tokens rated most in the year before `at` (or ever, if nothing was), by token."""
    lately = interactions.item[interactions.time >= at - _YEAR]
    items, ratings = np.unique(lately if len(lately) else interactions.item, return_counts=True)
    return np.sort(items[np.argsort(-ratings, kind="stable")[:ITEMS]])


def _rated(interactions: Interactions, users: Ints, items: Ints) -> NDArray[np.bool_]:
    """Who has rated what, (users, items)."""
    known = np.isin(interactions.user, users) & np.isin(interactions.item, items)
    rated = np.zeros((len(users), len(items)), np.bool_)
    places = (
        np.searchsorted(users, interactions.user[known]),
        np.searchsorted(items, interactions.item[known]),
    )
    rated[places] = True
    return rated

"""A model on the holdout, in both protocols.

streaming: history up to just before each rating, what a server with the event log knows.
frozen: history as of the holdout's start, what a nightly batch knows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.columns import save_columns
from widedeep.data.ratings import RatingLog, first_times
from widedeep.data.split import Split
from widedeep.errors import InputError
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import HistoryConfig, Queries
from widedeep.features.history_columns import Wanted
from widedeep.features.raw_columns import RawColumns
from widedeep.features.sampling import of_new_users
from widedeep.features.training_set import FROZEN, PROTOCOLS, STREAMING, queries_by_protocol
from widedeep.features.transform import Transform
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import predict

Floats = NDArray[np.float64]
Scorer = Callable[[Queries], Floats]
"""Gives P(positive) of each query, float64 of shape (n,)."""
ModelScorer = Callable[[TrainedModel, RatingLog, Catalogue], Scorer]
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
    movie: NDArray[np.int64]
    time: NDArray[np.int64]
    label: NDArray[np.bool_]
    streaming: Floats
    frozen: Floats

    @classmethod
    def of(cls, log: RatingLog, split: Split, history: HistoryConfig, scorer: Scorer) -> Self:
        """Score every holdout row of `log` twice."""
        rows = split.holdout(log.time)
        asked = queries_by_protocol(log, rows, split.holdout_from)
        return cls(
            log.user[rows],
            log.movie[rows],
            log.time[rows],
            history.positive(log.rate[rows]),
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


def model_scorer(model: TrainedModel, log: RatingLog, catalogue: Catalogue) -> Scorer:
    """Score by the model, through its own transform."""

    def score(asked: Queries) -> Floats:
        rows = model.transform.describe(log, asked, catalogue)
        return predict(model.network, model.transform.encode(rows))

    return score


def user_movie_mean(transform: Transform, log: RatingLog, catalogue: Catalogue) -> Scorer:
    """The baseline without training: the movie's smoothed mean plus the user's mean residual."""

    def score(asked: Queries) -> Floats:
        known = (log, asked, catalogue, transform.spec.history, transform.prior)
        rows = RawColumns.describe(*known, wanted=Wanted(("mean_plus_residual",), bags=()))
        return rows.number("mean_plus_residual").astype(np.float64).clip(0, 1)

    return score


def slices(log: RatingLog, split: Split) -> dict[str, NDArray[np.bool_]]:
    """Holdout rows by what is known of their user and movie; masks over the holdout, (n,).

    A user is new who has no earlier rating; a movie is new that was first rated in the holdout.
    """
    held = split.holdout(log.time)
    new_user = of_new_users(log)[held]
    new_movie = first_times(log.movie, log.time)[held] >= split.holdout_from
    return {
        "new_user": new_user,
        "returning_user": ~new_user,
        "new_movie": new_movie,
        "old_movie": ~new_movie,
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

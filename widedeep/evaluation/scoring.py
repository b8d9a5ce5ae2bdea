"""Score the holdout with a model, and compute everything that an evaluation reads of the scores.

A `Scorer` maps queries to probabilities: `model_scorer` makes one from a trained model,
`baseline_scorer` one from the baseline model. `Predictions.compute` scores every holdout row under
both protocols:

- streaming: history up to just before each rating, as a server with the feedback log has it;
- frozen: history up to the start of the holdout, as a nightly batch has it.

`slice_masks` divides the holdout into new and returning users, into new and old items, and by the
categories of users and the context.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.data.ids import NO_TEXTS, column_keys
from widedeep.data.split import Split
from widedeep.data.tables import Categories, Interactions, first_times
from widedeep.features import (
    FROZEN,
    PROTOCOLS,
    STREAMING,
    ColumnSelection,
    FeatureTables,
    Queries,
    RawFeatures,
    Transform,
    queries_by_protocol,
)
from widedeep.features.sampling import new_user_rows
from widedeep.inputs import InputError, to_iso
from widedeep.metrics import Floats
from widedeep.model.network import predict
from widedeep.model.trained_model import TrainedModel
from widedeep.store import content_id

Scorer = Callable[[Queries], Floats]
"""Returns P(positive) of each query, float64 (n,)."""
ModelScorer = Callable[[TrainedModel, Interactions, FeatureTables], Scorer]
"""Returns the scorer of a model that knows the history in the interactions; see `model_scorer`."""
Masks = Mapping[str, NDArray[np.bool_]]
"""Rows of the holdout, bool (n,) each, by the name of a slice or of a protocol."""

PREDICTIONS = "predictions.parquet"
CHAMPION_PREDICTIONS = "champion_predictions.parquet"
BASELINE_PREDICTIONS = "baseline_predictions.parquet"

_POINTWISE = {
    "auc": metrics.auc,
    "log_loss": metrics.log_loss,
    "pr_auc": metrics.pr_auc,
    "ece": metrics.ece,
}
_RANKED = {"gauc": metrics.gauc, "ndcg_at_10": metrics.ndcg_at_10}


def model_scorer(model: TrainedModel, interactions: Interactions, tables: FeatureTables) -> Scorer:
    """Return a scorer that passes each query through the model's own transform and network."""

    def score(queries: Queries) -> Floats:
        rows = model.transform.compute_features(interactions, queries, tables)
        return predict(model.network, model.transform.encode(rows))

    return score


def baseline_scorer(
    transform: Transform, interactions: Interactions, tables: FeatureTables
) -> Scorer:
    """Return the scorer of the baseline model, which needs no training.

    Its score is the item's smoothed mean label plus the user's mean residual, clipped to [0, 1].
    """

    def score(queries: Queries) -> Floats:
        rows = RawFeatures.compute(
            interactions,
            queries,
            tables,
            transform.spec.history,
            transform.prior,
            columns=ColumnSelection(("mean_plus_residual",), bags=()),
        )
        return rows.number("mean_plus_residual").astype(np.float64).clip(0, 1)

    return score


_PREDICTED = ("time", "label", "streaming", "frozen")


@dataclass(frozen=True, slots=True)
class Predictions:
    """The holdout's rows with label (bool) and the probabilities under both protocols; (n,) each.

    Times are in UNIX seconds.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]
    label: NDArray[np.bool_]
    streaming: Floats
    frozen: Floats

    @classmethod
    def compute(cls, interactions: Interactions, split: Split, scorer: Scorer) -> Self:
        """Score every holdout row of `interactions` under both protocols."""
        rows = split.holdout(interactions.time)
        queries = queries_by_protocol(interactions, rows, split.holdout_from)
        return cls(
            interactions.user[rows],
            interactions.item[rows],
            interactions.time[rows],
            interactions.label[rows],
            **{protocol: scorer(part) for protocol, part in queries.items()},
        )

    def save(self, path: Path, tables: FeatureTables | None = None) -> None:
        """Write one Parquet file with a column for each field.

        Ids are written as they stand in the data, which takes the `tables` if they are text.
        """
        users, items = (tables.users.texts, tables.items.texts) if tables else (NO_TEXTS, NO_TEXTS)
        columns = {
            "user": users.column(self.user),
            "item": items.column(self.item),
            **{name: getattr(self, name) for name in _PREDICTED},
        }
        pq.write_table(pa.table(columns), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the Parquet file that `save` wrote."""
        table = pq.read_table(path)
        user, item = column_keys(table["user"]), column_keys(table["item"])
        time, label, streaming, frozen = (table[name].to_numpy() for name in _PREDICTED)
        return cls(user, item, time, label, streaming, frozen)

    def measure(self) -> dict[str, dict[str, float | None]]:
        """Return all metrics, by protocol and name.

        Ranking metrics compare a user's candidates at one instant, so they are computed on frozen
        history only: under streaming, the user's own state differs between the compared rows. They
        are None where no user has rows that can be ranked.
        """
        measured: dict[str, dict[str, float | None]] = {
            protocol: {name: metric(self.label, scores) for name, metric in _POINTWISE.items()}
            for protocol, scores in ((STREAMING, self.streaming), (FROZEN, self.frozen))
        }
        for name, metric in _RANKED.items():
            measured[FROZEN][name] = _value_or_none(metric, self.label, self.frozen, self.user)
        return measured


@dataclass(frozen=True, slots=True)
class HoldoutRows:
    """The rows that the metrics of an evaluation were measured on.

    Two models' metrics are comparable where the digests are equal, and only there.

    Attributes:
        begin: The first moment of the holdout, in UNIX seconds.
        end: The moment after the holdout, in UNIX seconds.
        rows: The number of rows.
        digest: A digest of user, item, time and label of all rows, as they stand in the data.
    """

    begin: int
    end: int
    rows: int
    digest: str

    @classmethod
    def read(cls, predictions: Path, split: Split) -> Self:
        """Return the rows of a file that `Predictions.save` wrote."""
        table = pq.read_table(predictions, columns=["user", "item", "time", "label"])
        digest = content_id({name: table[name].to_pylist() for name in table.column_names})
        return cls(split.holdout_from, split.as_of, table.num_rows, digest)

    @property
    def period(self) -> str:
        """The first day and the day of the end, as `2018-01-02 to 2018-10-01`."""
        return f"{to_iso(self.begin)[:10]} to {to_iso(self.end)[:10]}"

    def to_text(self) -> str:
        """Return period, number and digest, as `2018-01-02 to 2018-10-01, 1,000 rows, ab12…`."""
        return f"{self.period}, {self.rows:,} rows, {self.digest}"


def slice_masks(
    interactions: Interactions, split: Split, tables: FeatureTables | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Return masks over the holdout, bool (n,) each: new users and items, and categories.

    A user without an earlier interaction is new, and so is an item that was first met in the
    holdout. Given the `tables`, there is one more slice for each value of small categories of users
    and of the context, called `device=mobile`.
    """
    holdout = split.holdout(interactions.time)
    new_user = new_user_rows(interactions)[holdout]
    new_item = first_times(interactions.item, interactions.time)[holdout] >= split.holdout_from
    return {
        "new_user": new_user,
        "returning_user": ~new_user,
        "new_item": new_item,
        "old_item": ~new_item,
        **(_category_masks(interactions.select_rows(holdout), tables) if tables else {}),
    }


def _category_masks(holdout: Interactions, tables: FeatureTables) -> dict[str, NDArray[np.bool_]]:
    """Return a mask over the rows for each value of the small categories of users and context."""
    rows = tables.users.find_rows(holdout.user)
    columns = {name: values[rows] for name, values in tables.users.categories.items()}
    for name, column in holdout.context.items():
        if isinstance(column, Categories):
            columns[name] = column.ids[column.codes]
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, values in columns.items():
        distinct = pd.unique(values.astype(object))
        if len(distinct) <= _MOST_SLICES:
            masks |= {f"{name}={v or 'missing'}": values == v for v in sorted(distinct)}
    return masks


_MOST_SLICES = 10
"""A category with more values is not cut into slices."""


def measure_slices(predictions: Predictions, masks: Masks) -> dict[str, dict[str, Any]]:
    """Return the number of rows of each slice and, by protocol, its AUC and log loss.

    A metric is None where it has no value: AUC on rows of one class, both on no rows.
    """
    return {
        name: {
            "rows": int(mask.sum()),
            **{
                protocol: _slice_metrics(
                    predictions.label[mask], getattr(predictions, protocol)[mask]
                )
                for protocol in PROTOCOLS
            },
        }
        for name, mask in masks.items()
    }


def _slice_metrics(label: NDArray[np.bool_], scores: Floats) -> dict[str, float | None]:
    return {
        "auc": _value_or_none(metrics.auc, label, scores),
        "log_loss": _value_or_none(metrics.log_loss, label, scores),
    }


def _value_or_none(metric: Callable[..., float], *columns: NDArray[Any]) -> float | None:
    """Return a metric of rows, or None where it has no value on them."""
    try:
        return metric(*columns)
    except InputError:
        return None

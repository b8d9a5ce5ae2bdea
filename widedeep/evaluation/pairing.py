"""Two models' streaming predictions of the same rows, as the gate looks at them."""

import numpy as np
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.evaluation.bootstrap import PairedDifference, paired_bootstrap
from widedeep.evaluation.promotion import GateConfig, Score
from widedeep.evaluation.scoring import Predictions

BOOTSTRAP_SEED = 1606_07792


def streaming_difference(
    ours: Predictions, theirs: Predictions, gate: GateConfig, rows: NDArray[np.bool_] | None = None
) -> PairedDifference:
    """How much better the one set of predictions is, on the same `rows`, by the gate's intervals.

    Raises:
        InputError: the rows have one class only, or nearly.
    """
    chosen = slice(None) if rows is None else rows
    return paired_bootstrap(
        ours.label[chosen],
        ours.streaming[chosen],
        theirs.streaming[chosen],
        ours.user[chosen],
        generator=np.random.default_rng(BOOTSTRAP_SEED),
        replicates=gate.replicates,
        confidence=gate.confidence,
    )


def streaming_score(predictions: Predictions) -> Score:
    """Of the rows as they were met; InputError if they have one class only."""
    return Score(
        metrics.auc(predictions.label, predictions.streaming),
        metrics.log_loss(predictions.label, predictions.streaming),
    )

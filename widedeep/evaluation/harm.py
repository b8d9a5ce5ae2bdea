"""The guards of one comparison: everything that a better streaming AUC must not cost."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.evaluation.bootstrap import Interval, PairedDifference
from widedeep.evaluation.guards import Guard
from widedeep.evaluation.pairing import streaming_difference
from widedeep.evaluation.promotion import GateConfig
from widedeep.evaluation.scoring import Predictions
from widedeep.evaluation.top_lists import TopLists

Masks = Mapping[str, NDArray[np.bool_]]


def guards(
    predictions: tuple[Predictions, Predictions],
    difference: PairedDifference,
    masks: Masks,
    lists: tuple[TopLists, TopLists],
    gate: GateConfig,
) -> list[Guard]:
    """Log loss, calibration, AUC of each slice with enough rows, and the films that are shown.

    Args:
        predictions: The challenger's and the champion's.
        difference: Of the two on the whole holdout.
        masks: The slices, (n,) each, by name.
        lists: The challenger's and the champion's lists of ten for the same users.
        gate: The margins.
    """
    label = predictions[0].label
    loss, other_loss = (metrics.log_loss(label, one.streaming) for one in predictions)
    ece, other_ece = (metrics.ece(label, one.streaming) for one in predictions)
    return [
        Guard("streaming log loss", loss, other_loss, difference.log_loss, gate.log_loss_margin),
        Guard("streaming calibration error", ece, other_ece, difference.ece, gate.ece_margin),
        *_slices(predictions, masks, gate),
        _coverage(lists, gate),
    ]


def _slices(
    predictions: tuple[Predictions, Predictions], masks: Masks, gate: GateConfig
) -> Iterator[Guard]:
    ours, theirs = predictions
    for name, rows in masks.items():
        users = len(np.unique(ours.user[rows]))
        classes = len(np.unique(ours.label[rows]))
        if rows.sum() < gate.minimum_rows or users < gate.minimum_users or classes == 1:
            continue
        mine, other = (metrics.auc(ours.label[rows], one.streaming[rows]) for one in predictions)
        change = streaming_difference(ours, theirs, gate, rows).auc
        title = f"streaming AUC of {name.replace('_', ' ')}s"
        yield Guard(title, mine, other, change, -gate.slice_margin)


def _coverage(lists: tuple[TopLists, TopLists], gate: GateConfig) -> Guard:
    """A model that shows everybody the same few films may well have the better AUC."""
    ours, theirs = (float(one.coverage()) for one in lists)
    change = Interval(ours - theirs, ours - theirs, ours - theirs)
    margin = -max(gate.coverage_margin * theirs, 1.0)
    return Guard("films in top-10 lists", ours, theirs, change, margin)

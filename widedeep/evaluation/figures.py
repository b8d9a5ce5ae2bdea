"""An evaluation as pictures, each of which answers one question; both models on the same rows.

| file | question |
|---|---|
| roc_pr.png | how well are positives separated from negatives? |
| calibration.png | does a predicted 70 % come true in 70 %? |
| slices.png | for which users and items is the challenger better or worse, and how sure is that? |
| score_shift.png | how much does the challenger change what users are shown? |
| learning_curve.png | how did it learn? |
| memory.png | how much does the wide part remember, and what would another L1 keep? |

`draw_figures` writes all of them into a folder.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from widedeep import metrics
from widedeep.evaluation.gate import Guardrail
from widedeep.evaluation.scoring import Predictions

FIGURES = (
    "roc_pr.png",
    "calibration.png",
    "slices.png",
    "score_shift.png",
    "learning_curve.png",
    "memory.png",
)

Models = Mapping[str, Predictions]
"""Predictions by the model's title; the challenger first, then the model it is compared with."""

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#c05a1c", "#888888"
_DPI = 110
_CELLS = 60


def draw_figures(
    models: Models,
    guardrails: Sequence[Guardrail],
    training: Mapping[str, Any],
    memory: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write all of `FIGURES` into `folder`.

    Args:
        models: The challenger and the model it is compared with.
        guardrails: Those of the comparison; empty without a champion.
        training: The summary of the challenger's training, with `curve` and `best_epoch`.
        memory: `Memorisation.summary` of the challenger.
        folder: A folder that exists.
    """
    figures = (
        _roc_pr(models),
        _calibration(models),
        _slices(guardrails),
        _score_shift(models),
        _learning_curve(training),
        _memory(memory),
    )
    for name, figure in zip(FIGURES, figures, strict=True):
        figure.savefig(folder / name, dpi=_DPI)


def _roc_pr(models: Models) -> Figure:
    figure, (roc, pr) = _panels(2)
    for colour, (title, model) in zip((_BLUE, _ORANGE), models.items(), strict=False):
        false_positives, true_positives, _ = roc_curve(model.label, model.streaming)
        area = metrics.auc(model.label, model.streaming)
        roc.plot(false_positives, true_positives, color=colour, label=f"{title}: AUC {area:.4f}")
        precision, recall, _ = precision_recall_curve(model.label, model.streaming)
        area = metrics.pr_auc(model.label, model.streaming)
        pr.plot(recall, precision, color=colour, label=f"{title}: PR-AUC {area:.4f}")
    share = float(next(iter(models.values())).label.mean())
    roc.plot((0, 1), (0, 1), ":", color=_GREY)
    pr.axhline(share, linestyle=":", color=_GREY)
    _label(roc, "ROC, streaming", "false positive rate", "true positive rate")
    _label(pr, "precision and recall, streaming", "recall", "precision")
    return figure


def _calibration(models: Models) -> Figure:
    figure, (curve, counts) = _panels(2)
    for colour, (title, model) in zip((_BLUE, _ORANGE), models.items(), strict=False):
        bins = metrics.calibration_bins(model.streaming)
        rows = np.bincount(bins)
        filled = rows > 0
        predicted, observed = (
            np.bincount(bins, weights=value)[filled] / rows[filled]
            for value in (model.streaming, model.label)
        )
        error = metrics.ece(model.label, model.streaming)
        label = f"{title}: ECE {error:.4f}"
        curve.plot(predicted, observed, "o-", color=colour, ms=4, label=label)
        counts.hist(
            model.streaming, bins=40, range=(0, 1), histtype="step", color=colour, label=title
        )
    curve.plot((0, 1), (0, 1), ":", color=_GREY)
    _label(curve, "calibration, streaming", "mean predicted probability", "share of positives")
    _label(counts, "predicted probabilities", "probability", "rows of the holdout")
    return figure


def _slices(guardrails: Sequence[Guardrail]) -> Figure:
    """Draw every guardrail that was sampled; counted ones have no interval to draw."""
    sampled = [rail for rail in guardrails if rail.change.low != rail.change.high]
    figure = Figure(figsize=(8.0, 1.6 + 0.45 * max(len(sampled), 1)), layout="constrained")
    axes = figure.subplots()
    for row, guardrail in enumerate(sampled):
        change = guardrail.change
        allowed = min(0.0, guardrail.margin), max(0.0, guardrail.margin)
        axes.plot(allowed, (row, row), color=_ORANGE, linewidth=9, alpha=0.25)
        axes.plot((change.low, change.high), (row, row), color=_BLUE, linewidth=2)
        axes.plot(change.difference, row, "o", color=_BLUE)
    labels = [
        f"{guardrail.name}\n{guardrail.champion:.4f} → {guardrail.challenger:.4f}"
        for guardrail in sampled
    ]
    axes.set_yticks(range(len(sampled)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=_GREY, linewidth=0.8)
    axes.set_title("challenger minus champion (shaded: worse within the margin)", fontsize=10)
    if not sampled:
        axes.text(0.5, 0.5, "no champion to compare with", ha="center", transform=axes.transAxes)
    return figure


def _score_shift(models: Models) -> Figure:
    (title, challenger), (other_title, other) = models.items()
    figure, (scores, change) = _panels(2)
    scores.hist2d(
        other.streaming,
        challenger.streaming,
        bins=_CELLS,
        range=((0, 1), (0, 1)),
        cmap="Blues",
        cmin=1,
    )
    scores.plot((0, 1), (0, 1), ":", color=_GREY)
    moved = challenger.streaming - other.streaming
    change.hist(moved, bins=_CELLS, color=_BLUE)
    change.axvline(0, color=_GREY, linewidth=0.8)
    _label(scores, "the same rows", other_title, title)
    summary = f"mean {moved.mean():+.4f}, mean size {np.abs(moved).mean():.4f}"
    _label(
        change,
        f"change of probability: {summary}",
        f"{title} minus {other_title}",
        "rows of the holdout",
    )
    return figure


def _learning_curve(training: Mapping[str, Any]) -> Figure:
    figure, (loss, auc) = _panels(2)
    for axes, name, colour, label in (
        (loss, "train_loss", _GREY, "training"),
        (loss, "validation_loss", _BLUE, "validation"),
        (auc, "validation_auc", _BLUE, "validation"),
    ):
        measured = [epoch for epoch in training["curve"] if epoch[name] is not None]
        epochs, values = ([epoch[key] for epoch in measured] for key in ("epoch", name))
        axes.plot(epochs, values, "o-", color=colour, ms=4, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if training["best_epoch"]:
        loss.axvline(training["best_epoch"], color=_ORANGE, label="chosen by validation")
    _label(loss, "log loss (epochs after the chosen one: catching up)", "epoch", "")
    _label(auc, "AUC", "epoch", "")
    return figure


def _memory(memory: Mapping[str, Any]) -> Figure:
    figure, (blocks, curve) = _panels(2)
    names = [block["block"] for block in memory["blocks"]]
    shares = [block["nonzero"] / max(block["keys"], 1) for block in memory["blocks"]]
    blocks.barh(range(len(names)), shares, color=_BLUE)
    blocks.set_yticks(range(len(names)), names, fontsize=8)
    blocks.invert_yaxis()
    for row, (share, block) in enumerate(zip(shares, memory["blocks"], strict=True)):
        text = f" {block['nonzero']:,} of {block['keys']:,}"
        blocks.text(share, row, text, va="center", fontsize=7)
    _label(blocks, "wide features with a weight", "share that is not 0", "")
    points = memory["sparsity"]
    l1, nonzero = ([point[key] for point in points] for key in ("l1", "nonzero"))
    curve.plot(l1, nonzero, "o-", color=_BLUE, ms=4)
    present = next(point for point in points if point["present"])
    curve.plot(present["l1"], present["nonzero"], "o", color=_ORANGE, label="this model")
    curve.set_xscale("symlog", linthresh=max(present["l1"] / 10, 1e-3))
    _label(curve, "what another L1 would keep of this state", "L1", "weights that are not 0")
    return figure


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(5.5 * count, 4.4), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, count)
    return figure, axes


def _label(axes: Axes, title: str, below: str, beside: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(below, fontsize=9)
    axes.set_ylabel(beside, fontsize=9)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)

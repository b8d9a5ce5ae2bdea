"""An evaluation as pictures, one question each; both models on the same rows.

| file | answers |
|---|---|
| roc_pr.png | how well are positives told from negatives? |
| calibration.png | does a predicted 70 % come true in 70 %? |
| slices.png | for whom is the challenger better or worse, and how sure is that? |
| score_shift.png | how much does the challenger change what users are shown? |
| learning_curve.png | how did it learn? |
| memory.png | how much does the wide part remember, and what would another L1 keep? |

Tables in Markdown.

A model card: what a version is, what it was measured by, and what it is not for.

Mitchell et al., "Model cards for model reporting" (2019), cut to what a ranker of items has to say.

Numbers for spreadsheets.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from widedeep import metrics
from widedeep.evaluation.bootstrap import Guardrail
from widedeep.evaluation.comparison import HEADLINES
from widedeep.evaluation.scoring import Predictions

FIGURES = tuple(
    f"{name}.png"
    for name in ("roc_pr", "calibration", "slices", "score_shift", "learning_curve", "memory")
)

_OURS, _THEIRS, _GREY = "#1f5fa8", "#c05a1c", "#888888"
_DPI = 110
_CELLS = 60

Floats = NDArray[np.float64]
Models = Mapping[str, Predictions]
"""Predictions by the model's title; the challenger first."""


def draw_figures(
    models: Models,
    guards: Sequence[Guardrail],
    training: Mapping[str, Any],
    memory: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write all of `FIGURES` into `folder`.

    Args:
        models: The challenger and what it is compared with.
        guards: What was found on the slices; none without a champion.
        training: The summary of the challenger's training: `curve` and `best_epoch`.
        memory: `Memorisation.summary` of the challenger.
        folder: An existing one.
    """
    _roc_pr(models, folder / FIGURES[0])
    _calibration(models, folder / FIGURES[1])
    _slices(guards, folder / FIGURES[2])
    _score_shift(models, folder / FIGURES[3])
    _learning_curve(training, folder / FIGURES[4])
    _memory(memory, folder / FIGURES[5])


def _roc_pr(models: Models, path: Path) -> None:
    figure, (roc, pr) = _figure(2)
    for colour, (title, model) in zip((_OURS, _THEIRS), models.items(), strict=False):
        wrong, right, _ = roc_curve(model.label, model.streaming)
        area = metrics.auc(model.label, model.streaming)
        roc.plot(wrong, right, color=colour, label=f"{title}: AUC {area:.4f}")
        precision, recall, _ = precision_recall_curve(model.label, model.streaming)
        area = metrics.pr_auc(model.label, model.streaming)
        pr.plot(recall, precision, color=colour, label=f"{title}: PR-AUC {area:.4f}")
    share = float(next(iter(models.values())).label.mean())
    roc.plot((0, 1), (0, 1), ":", color=_GREY)
    pr.axhline(share, linestyle=":", color=_GREY)
    _name(roc, "ROC, streaming", "false positive rate", "true positive rate")
    _name(pr, "precision and recall, streaming", "recall", "precision")
    figure.savefig(path, dpi=_DPI)


def _calibration(models: Models, path: Path) -> None:
    figure, (curve, counts) = _figure(2)
    for colour, (title, model) in zip((_OURS, _THEIRS), models.items(), strict=False):
        bins = metrics.calibration_bins(model.streaming)
        rows = np.bincount(bins)
        seen = rows > 0
        predicted, found = (
            np.bincount(bins, weights=value)[seen] / rows[seen]
            for value in (model.streaming, model.label)
        )
        error = metrics.ece(model.label, model.streaming)
        curve.plot(predicted, found, "o-", color=colour, ms=4, label=f"{title}: ECE {error:.4f}")
        counts.hist(
            model.streaming, bins=40, range=(0, 1), histtype="step", color=colour, label=title
        )
    curve.plot((0, 1), (0, 1), ":", color=_GREY)
    _name(curve, "calibration, streaming", "mean predicted probability", "share of positives")
    _name(counts, "predicted probabilities", "probability", "rows of the holdout")
    figure.savefig(path, dpi=_DPI)


def _slices(guards: Sequence[Guardrail], path: Path) -> None:
    shown = [guard for guard in guards if guard.change.low != guard.change.high]
    figure = Figure(figsize=(8.0, 1.6 + 0.45 * max(len(shown), 1)), layout="constrained")
    axes = figure.subplots()
    for place, guard in enumerate(shown):
        change = guard.change
        worst = min(0.0, guard.margin), max(0.0, guard.margin)
        axes.plot(worst, (place, place), color=_THEIRS, linewidth=9, alpha=0.25)
        axes.plot((change.low, change.high), (place, place), color=_OURS, linewidth=2)
        axes.plot(change.difference, place, "o", color=_OURS)
    labels = [f"{guard.name}\n{guard.champion:.4f} → {guard.challenger:.4f}" for guard in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=_GREY, linewidth=0.8)
    axes.set_title(
        "challenger minus champion (shaded: as much worse as the gate allows)", fontsize=10
    )
    if not shown:
        axes.text(0.5, 0.5, "no champion to compare with", ha="center", transform=axes.transAxes)
    figure.savefig(path, dpi=_DPI)


def _score_shift(models: Models, path: Path) -> None:
    (ours_title, ours), (theirs_title, theirs) = models.items()
    figure, (both, change) = _figure(2)
    both.hist2d(
        theirs.streaming, ours.streaming, bins=_CELLS, range=((0, 1), (0, 1)), cmap="Blues", cmin=1
    )
    both.plot((0, 1), (0, 1), ":", color=_GREY)
    moved = ours.streaming - theirs.streaming
    change.hist(moved, bins=_CELLS, color=_OURS)
    change.axvline(0, color=_GREY, linewidth=0.8)
    _name(both, "the same rows", theirs_title, ours_title)
    title = f"change of probability: mean {moved.mean():+.4f}, mean size {np.abs(moved).mean():.4f}"
    _name(change, title, f"{ours_title} minus {theirs_title}", "rows of the holdout")
    figure.savefig(path, dpi=_DPI)


def _learning_curve(training: Mapping[str, Any], path: Path) -> None:
    figure, (loss, auc) = _figure(2)
    for axes, name, colour, label in (
        (loss, "train_loss", _GREY, "training"),
        (loss, "validation_loss", _OURS, "validation"),
        (auc, "validation_auc", _OURS, "validation"),
    ):
        judged = [one for one in training["curve"] if one[name] is not None]
        epochs, values = ([one[key] for one in judged] for key in ("epoch", name))
        axes.plot(epochs, values, "o-", color=colour, ms=4, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if training["best_epoch"]:
        loss.axvline(training["best_epoch"], color=_THEIRS, label="chosen by validation")
    _name(loss, "log loss (after the choice: catching up)", "epoch", "")
    _name(auc, "AUC", "epoch", "")
    figure.savefig(path, dpi=_DPI)


def _memory(memory: Mapping[str, Any], path: Path) -> None:
    figure, (blocks, curve) = _figure(2)
    names = [block["block"] for block in memory["blocks"]]
    shares = [block["nonzero"] / max(block["keys"], 1) for block in memory["blocks"]]
    blocks.barh(range(len(names)), shares, color=_OURS)
    blocks.set_yticks(range(len(names)), names, fontsize=8)
    blocks.invert_yaxis()
    for place, block in enumerate(memory["blocks"]):
        text = f" {block['nonzero']:,} of {block['keys']:,}"
        blocks.text(shares[place], place, text, va="center", fontsize=7)
    _name(blocks, "wide features with a weight", "share that is not 0", "")
    points = memory["sparsity"]
    curve.plot([p["l1"] for p in points], [p["nonzero"] for p in points], "o-", color=_OURS, ms=4)
    present = next(p for p in points if p["present"])
    curve.plot(present["l1"], present["nonzero"], "o", color=_THEIRS, label="this model")
    curve.set_xscale("symlog", linthresh=max(present["l1"] / 10, 1e-3))
    _name(curve, "what another L1 would keep of this state", "L1", "weights that are not 0")
    figure.savefig(path, dpi=_DPI)


def _figure(panels: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(5.5 * panels, 4.4), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, panels)
    return figure, axes


def _name(axes: Axes, title: str, below: str, beside: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(below, fontsize=9)
    axes.set_ylabel(beside, fontsize=9)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """Lines with a newline each; the first `words` columns are text, the rest figures."""
    rule = ["---"] * words + ["--:"] * (len(columns) - words)
    return "".join(_line(cells) for cells in (columns, rule, *rows))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the card says.

    Attributes:
        title: Model and version.
        facts: What it is made of and from, in order; shown as they are.
        evaluation: A `Comparison` as JSON values.
        verdict: What was decided.
        reasons: Why.
    """

    title: str
    facts: Mapping[str, str]
    evaluation: Mapping[str, Any]
    verdict: str
    reasons: Sequence[str]

    def as_markdown(self) -> str:
        """For people who find the version in the registry."""
        facts = "".join(f"- **{name}**: {value}\n" for name, value in self.facts.items())
        reasons = "".join(f"- {reason}\n" for reason in self.reasons)
        return (
            f"# {self.title}\n\n"
            "Gives the probability that a user rates a film with 10 of 10 (or whatever the label "
            "says below), to order candidates for that user. Wide & Deep, one logistic loss.\n\n"
            f"{facts}\n## On its holdout\n\n{self._table()}\n## Decision: {self.verdict}\n\n"
            f"{reasons}\n## Limits\n\n"
            "- Half of the traffic are users without a rating: for them it knows the film alone.\n"
            "- Who rates a film has chosen to see it: the probability is of liking, given a "
            "rating, not of watching.\n"
            "- It is as fresh as the ratings it is given; the numbers above hold for the period "
            "named.\n"
        )

    def _table(self) -> str:
        ours, theirs = self.evaluation["challenger"], self.evaluation["champion"]
        means, slices = self.evaluation["baseline"], self.evaluation["challenger_slices"]
        rows = [
            (
                title,
                *(_model_card_figure(found, protocol, metric) for found in (ours, theirs, means)),
            )
            for protocol, metric, title in HEADLINES
        ]
        table = markdown_table(("", "this model", "champion", "user + item mean"), rows, 1)
        by_slice = [
            (
                name.replace("_", " "),
                f"{found['rows']:,}",
                _model_card_figure(found, "streaming", "auc"),
            )
            for name, found in slices.items()
        ]
        return table + "\n" + markdown_table(("rows with a", "rows", "streaming AUC"), by_slice, 1)


def _model_card_figure(found: Mapping[str, Any] | None, protocol: str, metric: str) -> str:
    value = found[protocol].get(metric) if found else None
    return "-" if value is None else f"{value:.4f}"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write at least one row under a heading of the first one's keys."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

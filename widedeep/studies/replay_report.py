"""A replay as a table to read, as rows of numbers for programs, and as a picture.

`replay_markdown` is the report, `policy_numbers` the same step by step and unrounded. `draw_replay`
shows quality, cost and verdicts over the years.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from widedeep.evaluation.bootstrap import PairedDifference
from widedeep.evaluation.gate import Verdict
from widedeep.evaluation.report import markdown_table
from widedeep.inputs import to_iso
from widedeep.studies.replay import Policy
from widedeep.studies.replay_result import (
    REFERENCE,
    GateStep,
    PolicyResult,
    PolicyStep,
    ReplayResult,
)

POLICY_COLUMNS = (
    "policy",
    "AUC",
    "against always cold",
    "log loss",
    "mean AUC of the periods",
    "training s",
    "rows trained",
    "lists changed",
)


def replay_markdown(result: ReplayResult, title: str) -> str:
    """Return the report: the table of policies, and how often the gate was right."""
    table = markdown_table(POLICY_COLUMNS, policy_rows(result), 1)
    verdicts = "\n".join(f"- {sentence}" for sentence in gate_sentences(result))
    return f"# {title}\n\n{table}\n## The gate\n\n{verdicts}\n"


def policy_rows(result: ReplayResult) -> list[tuple[str, ...]]:
    """Return a row of texts for each policy, with a cell for each of `POLICY_COLUMNS`."""
    return [
        (
            str(policy.policy),
            f"{policy.score.auc:.4f}",
            _difference_text(policy.difference),
            f"{policy.score.log_loss:.4f}",
            f"{policy.mean_auc:.4f}",
            f"{policy.seconds:,.0f}",
            f"{policy.training_rows:,}",
            f"{policy.churn:.0%}",
        )
        for policy in result.policies
    ]


def _difference_text(difference: PairedDifference | None) -> str:
    if difference is None:
        return ""
    auc = difference.auc
    return f"{auc.difference:+.4f} [{auc.low:+.4f}, {auc.high:+.4f}]"


def gate_sentences(result: ReplayResult) -> list[str]:
    """Say how often the gate gave each verdict and was right, and its regret in log loss."""
    verdicts = (
        (Verdict.PROMOTE, "promoted"),
        (Verdict.HOLD, "held back"),
        (Verdict.INSUFFICIENT, "called the evidence insufficient"),
    )
    loss = {policy.policy: policy.score.log_loss for policy in result.policies}
    return [
        *(_verdict_sentence(result.gate, *verdict) for verdict in verdicts),
        *(
            f"regret of the gate (its log loss, caught up, minus that of “{other}”): "
            f"{loss[Policy.CAUGHT_UP] - loss[other]:+.4f} nats an interaction"
            for other in (Policy.ALWAYS, Policy.NEVER)
        ),
    ]


def _verdict_sentence(gate: Sequence[GateStep], verdict: Verdict, words: str) -> str:
    same = [step for step in gate if step.verdict is verdict]
    right = sum(step.right for step in same if step.right is not None)
    return f"{words} {len(same)} times; right, by the period that followed, {right} times"


def policy_numbers(result: ReplayResult) -> list[dict[str, Any]]:
    """Return a row of numbers for each policy and step."""
    return [
        {
            "policy": str(policy.policy),
            "as_of": to_iso(step.at),
            "rows": step.rows,
            "auc": step.score.auc if step.score else None,
            "log_loss": step.score.log_loss if step.score else None,
            "training_seconds": round(step.seconds, 3),
            "training_rows": step.training_rows,
            "tokens": step.tokens,
            "churn": step.churn,
        }
        for policy in result.policies
        for step in policy.steps
    ]


_COLOURS = {
    Policy.COLD: "#222222",
    Policy.WINDOW: "#8a6d3b",
    Policy.ALWAYS: "#1f5fa8",
    Policy.CAUGHT_UP: "#2e8b57",
    Policy.GATED: "#c05a1c",
    Policy.NEVER: "#b03060",
}
_MARKERS = {Verdict.PROMOTE: "^", Verdict.HOLD: "v", Verdict.INSUFFICIENT: "o"}
_RIGHT_COLOURS = {True: "#2e8b57", False: "#b03060", None: "#999999"}
_WIDTH, _HEIGHT = 12.0, 11.0
_SMOOTHED = 4
"""Steps in the running mean of the differences: single periods are noisy."""


def draw_replay(result: ReplayResult, title: str, path: Path) -> None:
    """Write a PNG with the clock from left to right."""
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    quality, loss, cost, gate = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": [3, 3, 3, 1.2]}
    )
    _draw_difference(quality, result, "auc", "AUC minus always cold")
    _draw_difference(loss, result, "log_loss", "log loss minus always cold")
    _draw_cost(cost, result.policies)
    _draw_gate(gate, result.gate)
    figure.savefig(path, dpi=110)


def _draw_difference(axes: Axes, result: ReplayResult, metric: str, label: str) -> None:
    reference = next(policy for policy in result.policies if policy.policy is REFERENCE)
    base = _metric_by_step(reference, metric)
    for policy in result.policies:
        difference = _running_mean(_metric_by_step(policy, metric) - base)
        axes.plot(
            _moments(policy.steps), difference, color=_COLOURS[policy.policy], label=policy.policy
        )
    axes.set_ylabel(f"{label}\n(mean of {_SMOOTHED} periods)", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=3)


def _draw_cost(axes: Axes, policies: Iterable[PolicyResult]) -> None:
    for policy in policies:
        seconds = np.cumsum([step.seconds for step in policy.steps])
        axes.plot(_moments(policy.steps), seconds, color=_COLOURS[policy.policy])
    axes.set_yscale("log")
    axes.set_ylabel("training so far, s on one thread", fontsize=9)
    axes.grid(alpha=0.3)


def _draw_gate(axes: Axes, steps: Sequence[GateStep]) -> None:
    for step, moment in zip(steps, _moments(steps), strict=True):
        colour = _RIGHT_COLOURS[step.right]
        axes.plot([moment], [0], _MARKERS[step.verdict], color=colour, markersize=8)
    axes.set_yticks([])
    axes.set_ylabel("the gate", fontsize=9)
    axes.set_xlabel(
        "up: promoted, down: held back, circle: insufficient evidence; green: right by the period "
        "that followed, red: wrong",
        fontsize=9,
    )


def _metric_by_step(policy: PolicyResult, metric: str) -> NDArray[np.float64]:
    """Return a metric of each step, (steps,); NaN where it has no value."""
    return np.array(
        [getattr(step.score, metric) if step.score else np.nan for step in policy.steps]
    )


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each value and those before it, (n,); NaN is left out."""
    windows = (values[max(0, i + 1 - _SMOOTHED) : i + 1] for i in range(len(values)))
    return np.array(
        [np.nanmean(window) if np.isfinite(window).any() else np.nan for window in windows]
    )


def _moments(steps: Sequence[PolicyStep | GateStep]) -> NDArray[np.datetime64]:
    return np.array([step.at for step in steps], "datetime64[s]")

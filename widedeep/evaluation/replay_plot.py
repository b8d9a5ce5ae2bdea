"""A replay as a picture: quality over the years, cost over the years, what the gate did."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from widedeep.evaluation.promotion import Verdict
from widedeep.evaluation.replay import Policy
from widedeep.evaluation.replay_result import (
    REFERENCE,
    GateStep,
    PolicyResult,
    PolicyStep,
    ReplayResult,
)

_COLOURS = {
    Policy.COLD: "#222222",
    Policy.WINDOW: "#8a6d3b",
    Policy.ALWAYS: "#1f5fa8",
    Policy.CAUGHT_UP: "#2e8b57",
    Policy.GATED: "#c05a1c",
    Policy.NEVER: "#b03060",
}
_MARKS = {Verdict.PROMOTE: "^", Verdict.HOLD: "v", Verdict.INSUFFICIENT: "o"}
_WIDTH, _HEIGHT = 12.0, 11.0
_SMOOTHED = 4
"""Steps in the running mean of the differences: single periods are noisy."""


def draw(found: ReplayResult, title: str, path: Path) -> None:
    """Write a PNG with the clock from left to right."""
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    quality, loss, cost, gate = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": [3, 3, 3, 1.2]}
    )
    _draw_difference(quality, found, "auc", "AUC minus always cold")
    _draw_difference(loss, found, "log_loss", "log loss minus always cold")
    _draw_cost(cost, found.policies)
    _draw_gate(gate, found.gate)
    figure.savefig(path, dpi=110)


def _draw_difference(axes: Axes, found: ReplayResult, metric: str, label: str) -> None:
    reference = next(policy for policy in found.policies if policy.policy is REFERENCE)
    base = _values(reference, metric)
    for policy in found.policies:
        difference = _running_mean(_values(policy, metric) - base)
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
        colour = {True: "#2e8b57", False: "#b03060", None: "#999999"}[step.right]
        axes.plot([moment], [0], _MARKS[step.verdict], color=colour, markersize=8)
    axes.set_yticks([])
    axes.set_ylabel("the gate", fontsize=9)
    axes.set_xlabel(
        "up: promoted, down: held back, circle: insufficient evidence; green: right by the period "
        "that followed, red: wrong",
        fontsize=9,
    )


def _values(policy: PolicyResult, metric: str) -> NDArray[np.float64]:
    return np.array([getattr(s.score, metric) if s.score else np.nan for s in policy.steps])


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each value and those before it, NaN left out."""
    windows = (values[max(0, i + 1 - _SMOOTHED) : i + 1] for i in range(len(values)))
    return np.array([np.nanmean(w) if np.isfinite(w).any() else np.nan for w in windows])


def _moments(steps: Sequence[PolicyStep | GateStep]) -> NDArray[np.datetime64]:
    return np.array([step.at for step in steps], "datetime64[s]")

"""What a replay found, policy by policy and step by step.

A replay as a picture: quality over the years, cost over the years, what the gate did.

A replay as a table, and as numbers for spreadsheets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from widedeep.evaluation.bootstrap import PairedDifference
from widedeep.evaluation.gate import (
    GateConfig,
    StreamingScore,
    Verdict,
    streaming_difference,
    streaming_score,
)
from widedeep.evaluation.report import markdown_table
from widedeep.evaluation.scoring import PREDICTIONS, Predictions, TopLists
from widedeep.inputs import InputError, to_iso
from widedeep.store import Artifact
from widedeep.studies.replay import LISTS, Policy, Replay, ReplayStep

REFERENCE = Policy.COLD


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """A policy at one step.

    `score` is what users got in the period that followed, None where it has one class only.
    `seconds` and `training_rows` are those of all models trained for the policy at this step;
    `tokens` counts all vocabularies of what is published. `churn` is the share of shown items that
    changed with the model, 0 where the model stayed, None at the first step.
    """

    at: int
    rows: int
    score: StreamingScore | None
    seconds: float
    training_rows: int
    tokens: int
    churn: float | None


@dataclass(frozen=True, slots=True)
class GateStep:
    """A verdict, and what the two models would have been worth in the period that followed."""

    at: int
    verdict: Verdict
    candidate: StreamingScore | None
    champion: StreamingScore | None

    @property
    def right(self) -> bool | None:
        """Whether the better one of the two (by log loss) is published; None if nobody knows."""
        if self.candidate is None or self.champion is None:
            return None
        better = self.candidate.log_loss < self.champion.log_loss
        return better == (self.verdict is Verdict.PROMOTE)


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """A policy over all steps.

    `score` is that of all periods together, `mean_auc` the mean over the periods. `difference` is
    to the reference on the same rows, None for the reference itself.
    """

    policy: Policy
    steps: tuple[PolicyStep, ...]
    score: StreamingScore
    mean_auc: float
    difference: PairedDifference | None

    @property
    def seconds(self) -> float:
        """Of training, over all steps."""
        return sum(step.seconds for step in self.steps)

    @property
    def training_rows(self) -> int:
        """Over all steps, stale copies included."""
        return sum(step.training_rows for step in self.steps)

    @property
    def churn(self) -> float:
        """Mean over the steps after the first; 0 if there is none."""
        found = [step.churn for step in self.steps if step.churn is not None]
        return float(np.mean(found)) if found else 0.0


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """All policies on the same steps, and what the gate decided."""

    policies: tuple[PolicyResult, ...]
    gate: tuple[GateStep, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "policies": [
                {
                    **asdict(found),
                    "seconds": found.seconds,
                    "training_rows": found.training_rows,
                    "churn": found.churn,
                }
                for found in self.policies
            ],
            "gate": [{**asdict(step), "right": step.right} for step in self.gate],
        }


def replay_result(replay: Replay, steps: Sequence[ReplayStep]) -> ReplayResult:
    """Read the judgements of all steps (found again, if `step` made them already).

    Raises:
        InputError: no period has ratings of both classes.
    """
    pooled = {policy: _pooled(replay, steps, policy) for policy in Policy}
    policies = tuple(_policy(replay, steps, policy, pooled) for policy in Policy)
    return ReplayResult(policies, tuple(_gate(replay, steps)))


def judge_step(
    replay: Replay, step: ReplayStep, before: ReplayStep | None
) -> dict[Policy, PolicyStep]:
    """Judge what is published at a step, and what it replaced."""
    return {policy: _policy_step(replay, step, before, policy) for policy in Policy}


def _policy(
    replay: Replay, steps: Sequence[ReplayStep], policy: Policy, pooled: dict[Policy, Predictions]
) -> PolicyResult:
    befores = [None, *steps[:-1]]
    found = tuple(
        _policy_step(replay, step, before, policy)
        for step, before in zip(steps, befores, strict=True)
    )
    score = _score(pooled[policy])
    if score is None:
        raise InputError("no period of the replay has ratings of both classes")
    difference = (
        None
        if policy is REFERENCE
        else streaming_difference(pooled[policy], pooled[REFERENCE], GateConfig())
    )
    mean = float(np.mean([step.score.auc for step in found if step.score]))
    return PolicyResult(policy, found, score, mean, difference)


def _policy_step(
    replay: Replay, step: ReplayStep, before: ReplayStep | None, policy: Policy
) -> PolicyStep:
    published = step.published[policy]
    judged = replay.judge(published, step.at, step.until)
    predictions = Predictions.load(judged.path / PREDICTIONS)
    trained = [model.summary for model in step.trained[policy]]
    return PolicyStep(
        step.at,
        len(predictions.label),
        _score(predictions),
        sum(summary["seconds"]["training"] for summary in trained),
        sum(summary["training_rows"] for summary in trained),
        published.summary["tokens"],
        _churn(replay, step, before, policy),
    )


def _churn(
    replay: Replay, step: ReplayStep, before: ReplayStep | None, policy: Policy
) -> float | None:
    """Of the lists at one moment, so that new ratings alone change nothing."""
    if before is None:
        return None
    models = (step.published[policy], before.published[policy])
    if models[0].id == models[1].id:
        return 0.0
    new, old = (TopLists.load(replay.judge(m, step.at, step.until).path / LISTS) for m in models)
    return new.churn(old)


def _gate(replay: Replay, steps: Sequence[ReplayStep]) -> list[GateStep]:
    found = []
    for step, before in zip(steps[1:], steps, strict=False):
        if step.gate is not None:
            champion = before.published[Policy.GATED]
            scores = [_judged(replay, model, step) for model in (step.candidate, champion)]
            verdict = Verdict(step.gate.summary["decision"]["verdict"])
            found.append(GateStep(step.at, verdict, *scores))
    return found


def _judged(replay: Replay, model: Artifact, step: ReplayStep) -> StreamingScore | None:
    judged = replay.judge(model, step.at, step.until)
    return _score(Predictions.load(judged.path / PREDICTIONS))


def _pooled(replay: Replay, steps: Sequence[ReplayStep], policy: Policy) -> Predictions:
    parts = [
        Predictions.load(
            replay.judge(step.published[policy], step.at, step.until).path / PREDICTIONS
        )
        for step in steps
    ]
    return Predictions(*(_joined(parts, name) for name in Predictions.__slots__))


def _joined(parts: Sequence[Predictions], name: str) -> NDArray[Any]:
    return np.concatenate([getattr(part, name) for part in parts])


def _score(predictions: Predictions) -> StreamingScore | None:
    label = predictions.label
    if label.all() or not label.any():
        return None
    return streaming_score(predictions)


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


def draw_replay(found: ReplayResult, title: str, path: Path) -> None:
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


COLUMNS = (
    "policy",
    "AUC",
    "against always cold",
    "log loss",
    "mean AUC of the periods",
    "training s",
    "rows trained",
    "lists changed",
)


def policy_rows(found: ReplayResult) -> list[tuple[str, ...]]:
    """Cells by COLUMNS, a row a policy."""
    return [_row(policy) for policy in found.policies]


def replay_markdown(found: ReplayResult, title: str) -> str:
    """The whole report: the table, and what the gate refused and whether it was right."""
    table = markdown_table(COLUMNS, policy_rows(found), 1)
    verdicts = "\n".join(f"- {sentence}" for sentence in gate_sentences(found))
    return f"# {title}\n\n{table}\n## The gate\n\n{verdicts}\n"


def gate_sentences(found: ReplayResult) -> list[str]:
    """How often it said what, how often that was right, and the regret in log loss."""
    kinds = ((Verdict.PROMOTE, "promoted"), (Verdict.HOLD, "held back"))
    sentences = [_verdict_sentence(found.gate, *kind) for kind in kinds]
    asked = _verdict_sentence(found.gate, Verdict.INSUFFICIENT, "called the evidence insufficient")
    loss = {policy.policy: policy.score.log_loss for policy in found.policies}
    regrets = [
        f"regret of the gate (its log loss, caught up, minus that of “{other}”): "
        f"{loss[Policy.CAUGHT_UP] - loss[other]:+.4f} nats a rating"
        for other in (Policy.ALWAYS, Policy.NEVER)
    ]
    return [*sentences, asked, *regrets]


def policy_numbers(found: ReplayResult) -> list[dict[str, Any]]:
    """A row a policy and step."""
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
        for policy in found.policies
        for step in policy.steps
    ]


def _row(found: PolicyResult) -> tuple[str, ...]:
    against = ""
    if found.difference:
        auc = found.difference.auc
        against = f"{auc.difference:+.4f} [{auc.low:+.4f}, {auc.high:+.4f}]"
    return (
        str(found.policy),
        f"{found.score.auc:.4f}",
        against,
        f"{found.score.log_loss:.4f}",
        f"{found.mean_auc:.4f}",
        f"{found.seconds:,.0f}",
        f"{found.training_rows:,}",
        f"{found.churn:.0%}",
    )


def _verdict_sentence(gate: Sequence[GateStep], verdict: Verdict, words: str) -> str:
    same = [step for step in gate if step.verdict is verdict]
    known = [step.right for step in same if step.right is not None]
    return f"{words} {len(same)} times; right, by the period that followed, {sum(known)} times"

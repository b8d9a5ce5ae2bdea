"""What a replay found, policy by policy and step by step."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widedeep.artifact_store import Artifact
from widedeep.errors import InputError
from widedeep.evaluation.bootstrap import PairedDifference
from widedeep.evaluation.pairing import streaming_difference, streaming_score
from widedeep.evaluation.promotion import GateConfig, Score, Verdict
from widedeep.evaluation.replay import LISTS, Policy, Replay, Step
from widedeep.evaluation.scoring import PREDICTIONS, Predictions
from widedeep.evaluation.top_lists import TopLists

REFERENCE = Policy.COLD


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """A policy at one step.

    `score` is what users got in the period that followed, None where it has one class only.
    `seconds` and `training_rows` are those of all models trained for the policy at this step;
    `tokens` counts all vocabularies of what is published. `churn` is the share of shown films that
    changed with the model, 0 where the model stayed, None at the first step.
    """

    at: int
    rows: int
    score: Score | None
    seconds: float
    training_rows: int
    tokens: int
    churn: float | None


@dataclass(frozen=True, slots=True)
class GateStep:
    """A verdict, and what the two models would have been worth in the period that followed."""

    at: int
    verdict: Verdict
    candidate: Score | None
    champion: Score | None

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
    score: Score
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


def result(replay: Replay, steps: Sequence[Step]) -> ReplayResult:
    """Read the judgements of all steps (found again, if `step` made them already).

    Raises:
        InputError: no period has ratings of both classes.
    """
    pooled = {policy: _pooled(replay, steps, policy) for policy in Policy}
    policies = tuple(_policy(replay, steps, policy, pooled) for policy in Policy)
    return ReplayResult(policies, tuple(_gate(replay, steps)))


def judge_step(replay: Replay, step: Step, before: Step | None) -> dict[Policy, PolicyStep]:
    """Judge what is published at a step, and what it replaced."""
    return {policy: _policy_step(replay, step, before, policy) for policy in Policy}


def _policy(
    replay: Replay, steps: Sequence[Step], policy: Policy, pooled: dict[Policy, Predictions]
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


def _policy_step(replay: Replay, step: Step, before: Step | None, policy: Policy) -> PolicyStep:
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


def _churn(replay: Replay, step: Step, before: Step | None, policy: Policy) -> float | None:
    """Of the lists at one moment, so that new ratings alone change nothing."""
    if before is None:
        return None
    models = (step.published[policy], before.published[policy])
    if models[0].id == models[1].id:
        return 0.0
    new, old = (TopLists.load(replay.judge(m, step.at, step.until).path / LISTS) for m in models)
    return new.churn(old)


def _gate(replay: Replay, steps: Sequence[Step]) -> list[GateStep]:
    found = []
    for step, before in zip(steps[1:], steps, strict=False):
        if step.gate is not None:
            champion = before.published[Policy.GATED]
            scores = [_judged(replay, model, step) for model in (step.candidate, champion)]
            verdict = Verdict(step.gate.summary["decision"]["verdict"])
            found.append(GateStep(step.at, verdict, *scores))
    return found


def _judged(replay: Replay, model: Artifact, step: Step) -> Score | None:
    judged = replay.judge(model, step.at, step.until)
    return _score(Predictions.load(judged.path / PREDICTIONS))


def _pooled(replay: Replay, steps: Sequence[Step], policy: Policy) -> Predictions:
    parts = [
        Predictions.load(
            replay.judge(step.published[policy], step.at, step.until).path / PREDICTIONS
        )
        for step in steps
    ]
    return Predictions(*(_joined(parts, name) for name in Predictions.__slots__))


def _joined(parts: Sequence[Predictions], name: str) -> NDArray[Any]:
    return np.concatenate([getattr(part, name) for part in parts])


def _score(predictions: Predictions) -> Score | None:
    label = predictions.label
    if label.all() or not label.any():
        return None
    return streaming_score(predictions)

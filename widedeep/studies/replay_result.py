"""What a replay measured: each policy step by step and over all steps, and the gate's verdicts.

`score_step` scores one step of a replay, `replay_result` all of them. A policy is scored on what
its users would have met: at each step, the ratings of the period that follows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from widedeep.evaluation.bootstrap import PairedDifference
from widedeep.evaluation.comparison import streaming_difference, streaming_score
from widedeep.evaluation.gate import GateConfig, StreamingScore, Verdict
from widedeep.evaluation.lists import TopLists
from widedeep.evaluation.scoring import PREDICTIONS, Predictions
from widedeep.inputs import InputError
from widedeep.store import Artifact
from widedeep.studies.replay import LISTS, Policy, Replay, ReplayStep

REFERENCE = Policy.COLD


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """What a policy cost at one step, and what its users got in the period that followed.

    Attributes:
        at: Where the clock stood, UNIX seconds.
        rows: Ratings of the period.
        score: Score of the published model on the period; None where it has one class only.
        seconds: Training of all models trained for the policy at this step.
        training_rows: Rows that these models were trained on.
        tokens: Size of all vocabularies of the published model.
        churn: Share of shown items that changed with the model: 0 where the model stayed, None at
            the first step.
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
    """A verdict, and both models' scores on the period that followed."""

    at: int
    verdict: Verdict
    candidate: StreamingScore | None
    champion: StreamingScore | None

    @property
    def right(self) -> bool | None:
        """Whether the better model (by log loss) was published; None if a score is missing."""
        if self.candidate is None or self.champion is None:
            return None
        better = self.candidate.log_loss < self.champion.log_loss
        return better == (self.verdict is Verdict.PROMOTE)


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """A policy over all steps.

    Attributes:
        policy: The policy.
        steps: Its steps, in order.
        score: Score on the ratings of all periods together.
        mean_auc: Mean AUC of the periods that have one.
        difference: Difference to the reference on the same rows; None for the reference itself.
    """

    policy: Policy
    steps: tuple[PolicyStep, ...]
    score: StreamingScore
    mean_auc: float
    difference: PairedDifference | None

    @property
    def seconds(self) -> float:
        """Seconds of training over all steps."""
        return sum(step.seconds for step in self.steps)

    @property
    def training_rows(self) -> int:
        """Training rows over all steps, copies with stale history included."""
        return sum(step.training_rows for step in self.steps)

    @property
    def churn(self) -> float:
        """Mean churn of the steps after the first; 0 if there is none."""
        churns = [step.churn for step in self.steps if step.churn is not None]
        return float(np.mean(churns)) if churns else 0.0


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """All policies on the same steps, and what the gate decided."""

    policies: tuple[PolicyResult, ...]
    gate: tuple[GateStep, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all attributes and properties of policies and verdicts as JSON values."""
        return {
            "policies": [
                {
                    **asdict(policy),
                    "seconds": policy.seconds,
                    "training_rows": policy.training_rows,
                    "churn": policy.churn,
                }
                for policy in self.policies
            ],
            "gate": [{**asdict(step), "right": step.right} for step in self.gate],
        }


def replay_result(replay: Replay, steps: Sequence[ReplayStep]) -> ReplayResult:
    """Collect the scores of all steps; those that `score_step` made already are reused.

    Raises:
        InputError: no period has ratings of both classes.
    """
    predictions = {policy: _all_periods(replay, steps, policy) for policy in Policy}
    policies = tuple(_policy_result(replay, steps, policy, predictions) for policy in Policy)
    return ReplayResult(policies, tuple(_gate_steps(replay, steps)))


def score_step(
    replay: Replay, step: ReplayStep, before: ReplayStep | None
) -> dict[Policy, PolicyStep]:
    """Score what each policy publishes at a step, and its churn since the step before."""
    return {policy: _policy_step(replay, step, before, policy) for policy in Policy}


def _policy_result(
    replay: Replay,
    steps: Sequence[ReplayStep],
    policy: Policy,
    predictions: Mapping[Policy, Predictions],
) -> PolicyResult:
    policy_steps = tuple(
        _policy_step(replay, step, before, policy)
        for step, before in zip(steps, [None, *steps[:-1]], strict=True)
    )
    score = _score_or_none(predictions[policy])
    if score is None:
        raise InputError("no period of the replay has interactions of both classes")
    difference = (
        None
        if policy is REFERENCE
        else streaming_difference(predictions[policy], predictions[REFERENCE], GateConfig())
    )
    mean_auc = float(np.mean([step.score.auc for step in policy_steps if step.score]))
    return PolicyResult(policy, policy_steps, score, mean_auc, difference)


def _policy_step(
    replay: Replay, step: ReplayStep, before: ReplayStep | None, policy: Policy
) -> PolicyStep:
    published = step.published[policy]
    predictions = _load_predictions(replay, published, step)
    trained = [model.summary for model in step.trained[policy]]
    return PolicyStep(
        step.at,
        len(predictions.label),
        _score_or_none(predictions),
        sum(summary["seconds"]["training"] for summary in trained),
        sum(summary["training_rows"] for summary in trained),
        published.summary["tokens"],
        _churn(replay, step, before, policy),
    )


def _churn(
    replay: Replay, step: ReplayStep, before: ReplayStep | None, policy: Policy
) -> float | None:
    """Compare the lists of both models at one moment, so that new ratings alone change nothing."""
    if before is None:
        return None
    models = (step.published[policy], before.published[policy])
    if models[0].id == models[1].id:
        return 0.0
    new, old = (
        TopLists.load(replay.score_period(model, step.at, step.until).path / LISTS)
        for model in models
    )
    return new.churn(old)


def _gate_steps(replay: Replay, steps: Sequence[ReplayStep]) -> Iterable[GateStep]:
    for step, before in zip(steps[1:], steps, strict=False):
        if step.gate is not None:
            models = (step.candidate, before.published[Policy.GATED])
            scores = (_score_or_none(_load_predictions(replay, model, step)) for model in models)
            yield GateStep(step.at, Verdict(step.gate.summary["decision"]["verdict"]), *scores)


def _all_periods(replay: Replay, steps: Sequence[ReplayStep], policy: Policy) -> Predictions:
    """Return the predictions that a policy's users got in all periods, one after another."""
    periods = [_load_predictions(replay, step.published[policy], step) for step in steps]
    return Predictions(
        *(
            np.concatenate([getattr(period, name) for period in periods])
            for name in Predictions.__slots__
        )
    )


def _load_predictions(replay: Replay, model: Artifact, step: ReplayStep) -> Predictions:
    scored = replay.score_period(model, step.at, step.until)
    return Predictions.load(scored.path / PREDICTIONS)


def _score_or_none(predictions: Predictions) -> StreamingScore | None:
    """Return the score, or None where the rows have one class only."""
    label = predictions.label
    if label.all() or not label.any():
        return None
    return streaming_score(predictions)

"""Which model serves next: a verdict from the numbers of two models, and from nothing else.

The headline is the streaming AUC. A model is promoted only where the whole interval of a paired
bootstrap speaks for it: on a holdout of 14,000 rows the better of two point values is often luck.

A better AUC must not cost too much elsewhere: each guardrail is a number that may get worse by a
stated margin and no more. It is a non-inferiority test: the whole interval of the change has to
stay within the margin. A change whose interval lies past the margin is harm that was shown; a
change whose interval reaches past it is harm that was not ruled out.

`decide_against_champion` and `decide_against_baseline` are pure functions; `comparison` measures
what they decide from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, Self

from widedeep.evaluation.bootstrap import Interval, PairedDifference, signed_text
from widedeep.evaluation.sequential import PooledDifference
from widedeep.inputs import InputError

BASELINE_NAME = "user + item mean baseline"
"""Name of the baseline model in reports; see `scoring.baseline_scorer`."""

# Allows for probabilities that were rounded to float32 on one of the two ways.
_TOLERANCE = 1e-6


class Verdict(StrEnum):
    """The outcome for a challenger; the values appear in logs and in `--json`."""

    PROMOTE = "promote"
    HOLD = "hold"
    INSUFFICIENT = "insufficient_evidence"

    @property
    def outcome(self) -> str:
        """What people are told became of the challenger."""
        return "promoted" if self is Verdict.PROMOTE else "not promoted"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and its reasons: first a conclusion for people, then each measurement behind it."""

    verdict: Verdict
    reasons: tuple[str, ...]

    def to_text(self) -> str:
        """Return the outcome and the conclusion."""
        return f"{self.verdict.outcome}: {self.reasons[0]}"


@dataclass(frozen=True, slots=True)
class StreamingScore:
    """One model's streaming metrics on the holdout: AUC in [0, 1], log loss in nats."""

    auc: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class GateConfig:
    """How much evidence a promotion needs.

    Attributes:
        confidence: Share of bootstrap replicates inside an interval, in [0.5, 1).
        replicates: Bootstrap replicates, at least 100.
        log_loss_margin: Rise of log loss, in nats, that a better AUC may cost; above 0.
        ece_margin: The same for the calibration error.
        slice_margin: Fall of AUC on a slice of the holdout that a better AUC may cost; above 0.
        coverage_margin: The same for the number of items in top-10 lists, as a share of the
            champion's.
        latency_budget: Seconds in which the registered model has to answer the requests of its dry
            run; above 0.
        minimum_rows: Holdout rows below which nothing is promoted, and rows below which a slice has
            no guardrail; at least 1.
        minimum_users: The same for users: a bootstrap over a handful of users gives an interval
            that is too short, over one user it has no width at all. At least 2.
    """

    confidence: float = 0.95
    replicates: int = 2000
    log_loss_margin: float = 0.002
    ece_margin: float = 0.015
    slice_margin: float = 0.01
    coverage_margin: float = 0.2
    latency_budget: float = 5.0
    minimum_rows: int = 500
    minimum_users: int = 50

    def __post_init__(self) -> None:
        """Raise InputError for a setting out of its range."""
        above_0 = ("log_loss_margin", "ece_margin", "slice_margin", "coverage_margin")
        for name in (*above_0, "latency_budget"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; expected a number above 0")
        for name, bound in {"replicates": 100, "minimum_rows": 1, "minimum_users": 2}.items():
            value = getattr(self, name)
            if value < bound:
                raise InputError(f"{name} is {value}; expected at least {bound}")
        if not 0.5 <= self.confidence < 1:  # noqa: PLR2004
            raise InputError(f"confidence is {self.confidence}; expected a share in [0.5, 1)")


class GuardrailStatus(StrEnum):
    """Where a change lies relative to its margin; the values are words of the reason."""

    WITHIN = "stays within"
    REACHES = "reaches past"
    PAST = "lies past"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One number of both models, and how much worse the challenger's may be.

    Attributes:
        name: The number's name in reports.
        challenger: The challenger's value.
        champion: The champion's value.
        change: Challenger minus champion with its interval; without width where it was counted
            rather than sampled.
        margin: The worst change allowed: above 0 where a rise does harm, below 0 where a fall does.
    """

    name: str
    challenger: float
    champion: float
    change: Interval
    margin: float

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the guardrail that a comparison has written as JSON values."""
        return cls(**{**values, "change": Interval(**values["change"])})

    @property
    def status(self) -> GuardrailStatus:
        """Whether the change stays within the margin, may reach past it, or lies past it."""
        least, most = sorted(end / self.margin for end in (self.change.low, self.change.high))
        if most <= 1:
            return GuardrailStatus.WITHIN
        return GuardrailStatus.PAST if least > 1 else GuardrailStatus.REACHES

    @property
    def margin_text(self) -> str:
        """The margin, and whether it is kept."""
        words = {GuardrailStatus.WITHIN: "kept", GuardrailStatus.REACHES: "may be passed"}
        return f"{signed_text(self.margin)} {words.get(self.status, 'passed')}"

    def cells(self) -> tuple[str, ...]:
        """Return a row of a table: name, both values, change with interval, margin."""
        values = _value_text(self.challenger), _value_text(self.champion)
        return self.name, *values, self.change.to_text(), self.margin_text

    def to_text(self, confidence: float) -> str:
        """Return a sentence with both values, the interval and the margin."""
        return (
            f"{self.name} {_value_text(self.challenger)} against the champion's "
            f"{_value_text(self.champion)}: {self.change.to_text(confidence)}, "
            f"{self.status} the margin of {signed_text(self.margin)}"
        )


def _value_text(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.4f}"


def decide_against_champion(
    difference: PairedDifference,
    challenger: StreamingScore,
    champion: StreamingScore,
    guardrails: Sequence[Guardrail],
    gate: GateConfig,
    *,
    pooled: PooledDifference | None = None,
) -> Decision:
    """Promote, hold, or ask for more evidence, on the same holdout for both models.

    Promote: the AUC interval, of this holdout or of all windows `pooled`, lies above 0 and every
    guardrail stays within its margin. Hold: the AUC interval lies below 0 or a guardrail lies past
    its margin. Anything else, a holdout that is too small, or two models that score alike:
    insufficient evidence.

    Raises:
        ValueError: `difference` is not challenger minus champion, or has another confidence.
    """
    _check_pair(difference, challenger, champion, gate)
    measured = [
        _auc_reason(difference, challenger, champion, "champion"),
        *(guardrail.to_text(difference.confidence) for guardrail in guardrails),
    ]
    if pooled is not None:
        measured.append(pooled.to_text())
    if shortage := _shortage(difference, gate):
        return Decision(Verdict.INSUFFICIENT, (shortage, *measured))
    if _is_zero(difference.auc) and _is_zero(difference.log_loss):
        alike = "challenger and champion score every row of the holdout alike"
        return Decision(Verdict.INSUFFICIENT, (alike,))
    statuses = {guardrail.status for guardrail in guardrails}
    worse = difference.auc.high < 0 or GuardrailStatus.PAST in statuses
    gain = difference.auc.low > 0 or (pooled is not None and pooled.auc.low > 0)
    better = gain and statuses <= {GuardrailStatus.WITHIN}
    conclusion = _conclusion(difference, guardrails, pooled)
    return Decision(_verdict(better=better, worse=worse), (conclusion, *measured))


def decide_against_baseline(
    difference: PairedDifference,
    model: StreamingScore,
    baseline: StreamingScore,
    constant_log_loss: float,
    gate: GateConfig,
) -> Decision:
    """Judge a first model, which has no champion to beat, by two models that need no training.

    Promote: the AUC interval against the baseline model lies above 0 and the log loss is below that
    of the constant (the training rows' mean label). Hold: the AUC interval lies below 0, or the log
    loss is above the constant's by more than the margin. Else insufficient evidence.

    Args:
        difference: Model minus baseline model.
        model: Score of the first model.
        baseline: Score of the baseline model.
        constant_log_loss: Log loss of the constant on the same rows, in nats.
        gate: How much evidence a promotion needs.

    Raises:
        ValueError: `difference` is not model minus baseline, or has another confidence.
    """
    _check_pair(difference, model, baseline, gate)
    rise = model.log_loss - constant_log_loss
    constant = _constant_reason(model, constant_log_loss)
    measured = (_auc_reason(difference, model, baseline, BASELINE_NAME), constant)
    if shortage := _shortage(difference, gate):
        return Decision(Verdict.INSUFFICIENT, (shortage, *measured))
    worse = difference.auc.high < 0 or rise > gate.log_loss_margin
    better = difference.auc.low > 0 and rise < 0
    auc = f"{_gain(difference.auc)}, against the {BASELINE_NAME}"
    conclusion = auc if rise < 0 else f"{auc}, but {constant}"
    return Decision(_verdict(better=better, worse=worse), (conclusion, *measured))


def _conclusion(
    difference: PairedDifference,
    guardrails: Sequence[Guardrail],
    pooled: PooledDifference | None,
) -> str:
    """Return in one sentence why a challenger is promoted or not."""
    gain = _gain(difference.auc)
    if pooled is not None and pooled.auc.low > 0 >= difference.auc.low:
        gain += f", but over {pooled.looks} windows {_gain(pooled.auc)}"
    for status, harm in ((GuardrailStatus.PAST, "is"), (GuardrailStatus.REACHES, "may be")):
        harmful = [guardrail for guardrail in guardrails if guardrail.status is status]
        if harmful:
            first, others = harmful[0], len(harmful) - 1
            more = f", and {others} more" if others else ""
            return (
                f"{gain}, and {first.name} {first.change.to_text()} {harm} worse by more than "
                f"its margin of {signed_text(first.margin)}{more}"
            )
    return f"{gain}, and everything else stays within its margin"


def _gain(auc: Interval) -> str:
    """Return what the interval of a difference of AUC shows."""
    shown = "is better" if auc.low > 0 else "is worse" if auc.high < 0 else "could be chance"
    return f"AUC {auc.to_text()} {shown}"


def _verdict(*, better: bool, worse: bool) -> Verdict:
    if worse:
        return Verdict.HOLD
    return Verdict.PROMOTE if better else Verdict.INSUFFICIENT


def _check_pair(
    difference: PairedDifference, model: StreamingScore, other: StreamingScore, gate: GateConfig
) -> None:
    """Raise ValueError for a swapped pair or scores of another protocol.

    Either would promote the wrong model, with reasons.
    """
    pairs = {
        "AUC": (difference.auc.difference, model.auc - other.auc),
        "log loss": (difference.log_loss.difference, model.log_loss - other.log_loss),
    }
    for name, (stated, expected) in pairs.items():
        if not abs(stated - expected) <= _TOLERANCE:
            raise ValueError(f"difference of {name} is {stated}; the scores differ by {expected}")
    if difference.confidence != gate.confidence:
        raise ValueError(
            f"the intervals have confidence {difference.confidence}; "
            f"the gate expects {gate.confidence}"
        )


def _is_zero(interval: Interval) -> bool:
    return interval.difference == interval.low == interval.high == 0


def _shortage(difference: PairedDifference, gate: GateConfig) -> str:
    """Return which counts of the holdout are below the gate's minimum; empty if none is."""
    counts = (
        ("rows", difference.rows, gate.minimum_rows),
        ("users", difference.users, gate.minimum_users),
    )
    return " and ".join(
        f"the holdout has {count} {unit}; the gate needs at least {minimum}"
        for unit, count, minimum in counts
        if count < minimum
    )


def _auc_reason(
    difference: PairedDifference, model: StreamingScore, other: StreamingScore, name: str
) -> str:
    return (
        f"streaming AUC {model.auc:.4f} against the {name}'s {other.auc:.4f}: "
        f"{difference.auc.to_text(difference.confidence)}, {difference.auc.position}"
    )


def _constant_reason(model: StreamingScore, constant_log_loss: float) -> str:
    rise = model.log_loss - constant_log_loss
    return (
        f"streaming log loss {model.log_loss:.4f} against {constant_log_loss:.4f} for the share of "
        f"positives alone: {signed_text(rise)}, {'below it' if rise < 0 else 'not below it'}"
    )

"""Who serves next: a verdict from the numbers of two models, and from nothing else.

The headline is the streaming AUC. A model is promoted only where the whole interval of a paired
bootstrap speaks for it: on a holdout of 14,000 rows the better of two point values is often luck.

Two models' streaming predictions of the same rows, as the gate looks at them.

The guards of one comparison: everything that a better streaming AUC must not cost.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.evaluation.bootstrap import (
    Guardrail,
    GuardrailStatus,
    Interval,
    PairedDifference,
    interval_position,
    interval_text,
    paired_bootstrap,
    signed_text,
)
from widedeep.evaluation.scoring import Predictions, TopLists
from widedeep.evaluation.sequential import PooledDifference
from widedeep.inputs import InputError

# Room for probabilities that went through float32 on one of the two ways.
_SAME = 1e-6


class Verdict(StrEnum):
    """What becomes of a challenger; the values stand in logs and in `--json`."""

    PROMOTE = "promote"
    HOLD = "hold"
    INSUFFICIENT = "insufficient_evidence"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the sentences that carry it, at least one."""

    verdict: Verdict
    reasons: tuple[str, ...]


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
        minimum_rows: Holdout rows below which nothing is promoted, and rows below which a slice is
            no guard; at least 1.
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
                raise InputError(f"{name} is {value}, wanted is a number above 0")
        for name, bound in {"replicates": 100, "minimum_rows": 1, "minimum_users": 2}.items():
            value = getattr(self, name)
            if value < bound:
                raise InputError(f"{name} is {value}, wanted is at least {bound}")
        if not 0.5 <= self.confidence < 1:  # noqa: PLR2004
            raise InputError(f"confidence is {self.confidence}, wanted is a share in [0.5, 1)")


def decide_against_champion(
    difference: PairedDifference,
    challenger: StreamingScore,
    champion: StreamingScore,
    guards: Sequence[Guardrail],
    gate: GateConfig,
    *,
    pooled: PooledDifference | None = None,
) -> Decision:
    """Promote, hold, or ask for more evidence, on the same holdout for both models.

    Promote: the AUC interval, of this holdout or of all windows `pooled`, lies above 0 and every
    guard stays within its margin. Hold: the AUC interval lies below 0 or a guard lies past its
    margin. Anything else, a holdout too small, or two models that score alike: insufficient
    evidence.

    Raises:
        ValueError: `difference` is not challenger minus champion, or has another confidence.
    """
    _check_pair(difference, challenger, champion, gate)
    reasons = [
        _auc_reason(difference, challenger, champion, "champion"),
        *(guard.sentence(difference.confidence) for guard in guards),
    ]
    if short := _too_small(difference, gate):
        return Decision(Verdict.INSUFFICIENT, (*reasons, *short))
    if _no_difference(difference.auc) and _no_difference(difference.log_loss):
        alike = "challenger and champion score every row of the holdout alike"
        return Decision(Verdict.INSUFFICIENT, (*reasons, alike))
    if pooled is not None:
        reasons.append(pooled.sentence())
    findings = {guard.finding for guard in guards}
    worse = difference.auc.high < 0 or GuardrailStatus.PAST in findings
    shown = difference.auc.low > 0 or (pooled is not None and pooled.auc.low > 0)
    better = shown and findings <= {GuardrailStatus.WITHIN}
    return Decision(_verdict(better=better, worse=worse), tuple(reasons))


def decide_first(
    difference: PairedDifference,
    model: StreamingScore,
    baseline: StreamingScore,
    constant_log_loss: float,
    gate: GateConfig,
) -> Decision:
    """Judge a first model, with no champion to beat, by two models that need no training.

    Promote: the AUC interval against the user + item mean lies above 0 and the log loss is below
    that of the constant (the training rows' mean label). Hold: the AUC interval lies below 0, or
    the log loss is above the constant's by more than the margin. Else insufficient evidence.

    Args:
        difference: Model minus user + item mean.
        model: The first model.
        baseline: The user + item mean.
        constant_log_loss: Log loss of the constant on the same rows, in nats.
        gate: The evidence wanted.

    Raises:
        ValueError: `difference` is not model minus baseline, or has another confidence.
    """
    _check_pair(difference, model, baseline, gate)
    rise = model.log_loss - constant_log_loss
    reasons = (
        _auc_reason(difference, model, baseline, "user + item mean"),
        _constant_reason(model, constant_log_loss),
    )
    if short := _too_small(difference, gate):
        return Decision(Verdict.INSUFFICIENT, (*reasons, *short))
    worse = difference.auc.high < 0 or rise > gate.log_loss_margin
    better = difference.auc.low > 0 and rise < 0
    return Decision(_verdict(better=better, worse=worse), reasons)


def hold_incomparable(reason: str) -> Decision:
    """Hold, because the two models cannot be compared on this holdout."""
    return Decision(Verdict.HOLD, (reason,))


def _verdict(*, better: bool, worse: bool) -> Verdict:
    if worse:
        return Verdict.HOLD
    return Verdict.PROMOTE if better else Verdict.INSUFFICIENT


def _check_pair(
    difference: PairedDifference, model: StreamingScore, other: StreamingScore, gate: GateConfig
) -> None:
    """A swapped pair or another protocol's scores would promote the wrong model, with reasons."""
    wanted = (model.auc - other.auc, model.log_loss - other.log_loss)
    found = (difference.auc.difference, difference.log_loss.difference)
    for name, left, right in zip(("AUC", "log loss"), found, wanted, strict=True):
        if not abs(left - right) <= _SAME:
            raise ValueError(f"difference of {name} is {left}, the two scores differ by {right}")
    if difference.confidence != gate.confidence:
        raise ValueError(
            f"the intervals have confidence {difference.confidence}, the gate {gate.confidence}"
        )


def _no_difference(interval: Interval) -> bool:
    return interval.difference == interval.low == interval.high == 0


def _too_small(difference: PairedDifference, gate: GateConfig) -> tuple[str, ...]:
    found = (
        ("rows", difference.rows, gate.minimum_rows),
        ("users", difference.users, gate.minimum_users),
    )
    return tuple(
        f"the holdout has {count} {unit}, wanted are at least {least}"
        for unit, count, least in found
        if count < least
    )


def _auc_reason(
    difference: PairedDifference, model: StreamingScore, other: StreamingScore, name: str
) -> str:
    interval = difference.auc
    place = interval_position(interval)
    return (
        f"streaming AUC {model.auc:.4f} against the {name}'s {other.auc:.4f}: "
        f"{interval_text(interval, difference.confidence)}, {place}"
    )


def _constant_reason(model: StreamingScore, constant_log_loss: float) -> str:
    rise = model.log_loss - constant_log_loss
    return (
        f"streaming log loss {model.log_loss:.4f} against the constant's {constant_log_loss:.4f}: "
        f"{signed_text(rise)}, {'below it' if rise < 0 else 'not below it'}"
    )


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


def streaming_score(predictions: Predictions) -> StreamingScore:
    """Of the rows as they were met; InputError if they have one class only."""
    return StreamingScore(
        metrics.auc(predictions.label, predictions.streaming),
        metrics.log_loss(predictions.label, predictions.streaming),
    )


Masks = Mapping[str, NDArray[np.bool_]]


def measure_guardrails(
    predictions: tuple[Predictions, Predictions],
    difference: PairedDifference,
    masks: Masks,
    lists: tuple[TopLists, TopLists],
    gate: GateConfig,
) -> list[Guardrail]:
    """Log loss, calibration, AUC of each slice with enough rows, and the items that are shown.

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
        Guardrail(
            "streaming log loss", loss, other_loss, difference.log_loss, gate.log_loss_margin
        ),
        Guardrail("streaming calibration error", ece, other_ece, difference.ece, gate.ece_margin),
        *_slices(predictions, masks, gate),
        _coverage(lists, gate),
    ]


def _slices(
    predictions: tuple[Predictions, Predictions], masks: Masks, gate: GateConfig
) -> Iterator[Guardrail]:
    ours, theirs = predictions
    for name, rows in masks.items():
        users = len(np.unique(ours.user[rows]))
        classes = len(np.unique(ours.label[rows]))
        if rows.sum() < gate.minimum_rows or users < gate.minimum_users or classes == 1:
            continue
        mine, other = (metrics.auc(ours.label[rows], one.streaming[rows]) for one in predictions)
        change = streaming_difference(ours, theirs, gate, rows).auc
        title = f"streaming AUC of {name.replace('_', ' ')}s"
        yield Guardrail(title, mine, other, change, -gate.slice_margin)


def _coverage(lists: tuple[TopLists, TopLists], gate: GateConfig) -> Guardrail:
    """A model that shows everybody the same few items may well have the better AUC."""
    ours, theirs = (float(one.coverage()) for one in lists)
    change = Interval(ours - theirs, ours - theirs, ours - theirs)
    margin = -max(gate.coverage_margin * theirs, 1.0)
    return Guardrail("films in top-10 lists", ours, theirs, change, margin)

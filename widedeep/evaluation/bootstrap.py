"""Is the challenger better than the champion, or lucky? A paired bootstrap clustered by user.

A user's rows are not independent, so whole users are drawn with replacement; both models are
scored on the same draw, so what they share cancels out. Efron and Tibshirani, "An introduction to
the bootstrap" (1993), chapters 8 and 13 (percentile interval).

A replicate is a count for each user, never a copied table. The rows are sorted by score once; the
AUC of a replicate is then one walk over them that adds counts, done for a block of replicates at a
time: the counts of one user in all of them lie side by side.

What a better AUC must not cost: numbers that may get worse by a stated margin and no more.

A guard is a non-inferiority test: the whole interval of the change has to stay within the margin.
A change whose interval lies past the margin is harm that was shown; one that reaches past it is
harm that was not ruled out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from widedeep import metrics
from widedeep.inputs import InputError
from widedeep.metrics import Floats, Labels, Users

_BLOCK_REPLICATES = 64
_BLOCK_BYTES = 2**26

# A user drawn 256 times in one replicate would overflow: with fewer users it cannot happen, with
# more its probability is below 1 / 256!.
Counts = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Interval:
    """Challenger minus champion: on the data itself, and the ends of its bootstrap interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """What a paired bootstrap found.

    Attributes:
        auc: Difference of AUC; positive where the challenger is better.
        log_loss: Difference of log loss in nats; negative where the challenger is better.
        ece: Difference of calibration error; negative where the challenger is better. The bins are
            those of the data itself in every replicate.
        replicates: Replicates the intervals rest on.
        rows: Rows compared.
        users: Users among them, the units drawn.
        left_out: Replicates dropped because their rows had one class only.
        confidence: Share of the replicates between the ends of an interval.
    """

    auc: Interval
    log_loss: Interval
    ece: Interval
    replicates: int
    rows: int
    users: int
    left_out: int = 0
    confidence: float = 0.95


def paired_bootstrap(
    label: Labels,
    challenger: Floats,
    champion: Floats,
    user: Users,
    *,
    generator: np.random.Generator,
    replicates: int = 2000,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare two models on the same rows; equal generators give equal results.

    Args:
        label: (n,) bool or 0/1.
        challenger: (n,) float64 probabilities of the new model.
        champion: (n,) float64 probabilities of the model it would replace.
        user: (n,) of any sortable dtype; rows of one user are drawn together.
        generator: Source of the draws.
        replicates: Number of draws.
        confidence: Share of the replicates inside the interval, in (0, 1).

    Raises:
        InputError: input as refused by `metrics`, one class only, settings out of range, or more
            than half of the replicates with one class only.
    """
    _check_settings(replicates, confidence)
    auc = metrics.auc(label, challenger) - metrics.auc(label, champion)
    log_loss = metrics.log_loss(label, challenger) - metrics.log_loss(label, champion)
    ece = metrics.ece(label, challenger) - metrics.ece(label, champion)
    users, code = metrics.user_codes(user, len(label))
    sample = PairedSample.of(label, challenger, champion, code, users)
    blocks = [sample.differences(counts) for counts in user_draws(generator, users, replicates)]
    drawn = np.concatenate(blocks, axis=1)
    kept = drawn[:, ~np.isnan(drawn[0])]
    left_out = replicates - kept.shape[1]
    if 2 * left_out > replicates:
        raise InputError(
            f"{left_out} of {replicates} bootstrap replicates have one class only, wanted are "
            "both classes in at least half: the rarer class has too few users"
        )
    return PairedDifference(
        auc=_interval(auc, kept[0], confidence),
        log_loss=_interval(log_loss, kept[1], confidence),
        ece=_interval(ece, kept[2], confidence),
        replicates=kept.shape[1],
        rows=len(label),
        users=users,
        left_out=left_out,
        confidence=confidence,
    )


def _check_settings(replicates: int, confidence: float) -> None:
    if replicates < 1:
        raise InputError(f"replicates is {replicates}, wanted is at least 1")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}, wanted is a share between 0 and 1")


def _interval(difference: float, drawn: Floats, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(difference, float(low), float(high))


def user_draws(generator: np.random.Generator, users: int, replicates: int) -> Iterator[Counts]:
    """How often each user is drawn: (users, block) counts; a block's width changes no draw."""
    width = max(1, min(_BLOCK_REPLICATES, _BLOCK_BYTES // users))
    for start in range(0, replicates, width):
        counts = np.zeros((min(width, replicates - start), users), dtype=np.uint8)
        for replicate in counts:
            _tally(generator.integers(users, size=users), replicate)
        yield np.ascontiguousarray(counts.T)


@dataclass(frozen=True, slots=True)
class _Ranking:
    """One model's rows by rising score, (n,): their user, class, and if a tie ends there."""

    user: npt.NDArray[np.int32]
    positive: npt.NDArray[np.int8]
    closes: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, label: Labels, score: Floats, code: npt.NDArray[np.intp]) -> Self:
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        closes = np.append(ordered[1:] != ordered[:-1], True)
        return cls(code[order].astype(np.int32), label[order].astype(np.int8), closes)


@dataclass(frozen=True, slots=True)
class PairedSample:
    """The rows of two models, prepared once for all replicates.

    `totals` is (users, 3 + 2 * bins) float64, summed over each user's rows: positives, negatives,
    the challenger's log loss minus the champion's, and label minus probability in each bin of the
    challenger's calibration error and of the champion's.
    """

    challenger: _Ranking
    champion: _Ranking
    totals: Floats

    @classmethod
    def of(
        cls,
        label: Labels,
        challenger: Floats,
        champion: Floats,
        code: npt.NDArray[np.intp],
        users: int,
    ) -> Self:
        """Prepare (n,) rows, `code` being the user of each, from 0 to `users` - 1."""
        label = np.asarray(label).astype(np.bool_)
        challenger, champion = np.asarray(challenger), np.asarray(champion)
        loss = metrics.row_log_loss(label, challenger) - metrics.row_log_loss(label, champion)
        totals = [
            np.bincount(code, weights=value, minlength=users) for value in (label, ~label, loss)
        ]
        gaps = [_gaps(label, scores, code, users) for scores in (challenger, champion)]
        return cls(
            _Ranking.of(label, challenger, code),
            _Ranking.of(label, champion, code),
            np.concatenate([np.stack(totals, axis=1), *gaps], axis=1),
        )

    def differences(self, counts: Counts) -> Floats:
        """(3, block): of AUC, log loss, ECE; the first NaN where a replicate has one class only."""
        positives, negatives, loss, *gaps = _weighted_totals(counts, self.totals)
        ours, theirs = np.abs(gaps).reshape(2, -1, counts.shape[1]).sum(axis=1)
        areas = [
            _twice_areas(counts, ranking.user, ranking.positive, ranking.closes)
            for ranking in (self.challenger, self.champion)
        ]
        pairs = positives * negatives
        pairs[pairs == 0] = np.nan
        rows = positives + negatives
        return np.stack([(areas[0] - areas[1]) / (2 * pairs), loss / rows, (ours - theirs) / rows])


def _gaps(label: Labels, probability: Floats, code: npt.NDArray[np.intp], users: int) -> Floats:
    """Label minus probability, summed by user and bin of calibration, (users, bins)."""
    bins = metrics.calibration_bins(probability)
    sums = np.zeros((users, metrics.ECE_BINS))
    np.add.at(sums, (code, bins), label - probability)
    return sums


# Written as loops over a block's columns: numba turns those into vector instructions, while the
# same in array expressions took eight times as long.


@njit(cache=True)
def _tally(drawn: npt.NDArray[np.int64], counts: npt.NDArray[np.uint8]) -> None:
    for user in drawn:
        counts[user] += 1


@njit(cache=True)
def _weighted_totals(counts: Counts, totals: Floats) -> Floats:
    """`totals`.T @ `counts`, (3, block), without a float copy of the counts."""
    sums = np.zeros((totals.shape[1], counts.shape[1]))
    for user in range(counts.shape[0]):
        for column in range(totals.shape[1]):
            _add(sums[column], counts[user], totals[user, column])
    return sums


@njit(cache=True)
def _twice_areas(
    counts: Counts,
    user: npt.NDArray[np.int32],
    positive: npt.NDArray[np.int8],
    closes: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Twice the pairs won by the positive, (block,); whole numbers, so equal models are equal."""
    area, below = np.zeros((2, counts.shape[1]), dtype=np.int64)
    tied = np.zeros((2, counts.shape[1]), dtype=np.int64)
    for row in range(len(user)):
        _add(tied[positive[row]], counts[user[row]], 1)
        if closes[row]:
            _close_tie(area, below, tied)
    return area


@njit(cache=True)
def _add(sums: npt.NDArray[Any], counts: npt.NDArray[np.uint8], weight: float) -> None:
    for block in range(len(sums)):
        sums[block] += weight * counts[block]


@njit(cache=True)
def _close_tie(
    area: npt.NDArray[np.int64], below: npt.NDArray[np.int64], tied: npt.NDArray[np.int64]
) -> None:
    for block in range(len(area)):
        area[block] += tied[1, block] * (2 * below[block] + tied[0, block])
        below[block] += tied[0, block]
        tied[0, block] = 0
        tied[1, block] = 0


class GuardrailStatus(StrEnum):
    """Where a change lies; the values are the words of the sentence."""

    WITHIN = "stays within"
    REACHES = "reaches past"
    PAST = "lies past"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One number of both models.

    Attributes:
        name: What it is, for people.
        challenger: The challenger's.
        champion: The champion's.
        change: Challenger minus champion with its interval; one without width was counted.
        margin: The worst change allowed: above 0 where a rise does harm, below 0 where a fall does.
    """

    name: str
    challenger: float
    champion: float
    change: Interval
    margin: float

    @property
    def finding(self) -> GuardrailStatus:
        """Where the change lies."""
        harm = sorted(end / self.margin for end in (self.change.low, self.change.high))
        if harm[1] <= 1:
            return GuardrailStatus.WITHIN
        return GuardrailStatus.PAST if harm[0] > 1 else GuardrailStatus.REACHES

    def sentence(self, confidence: float) -> str:
        """Both numbers, the interval and the margin."""
        return (
            f"{self.name} {_number(self.challenger)} against the champion's "
            f"{_number(self.champion)}: "
            f"{interval_text(self.change, confidence)}, "
            f"{self.finding} the margin of {signed_text(self.margin)}"
        )


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.4f}"


def interval_text(interval: Interval, confidence: float) -> str:
    """A difference and, where it was sampled, its interval."""
    if interval.low == interval.high:
        return signed_text(interval.difference)
    ends = f"[{signed_text(interval.low)}, {signed_text(interval.high)}]"
    return f"{signed_text(interval.difference)}, {100 * confidence:g} % interval {ends}"


def signed_text(value: float) -> str:
    """Four decimals, or more where those would round a difference away."""
    text = f"{value:+.0f}" if value and value.is_integer() else f"{value:+.4f}"
    return f"{value:+.0e}" if value and not float(text) else text.replace("-0.0000", "+0.0000")


def interval_position(interval: Interval) -> str:
    """Where an interval lies, for people."""
    if interval.low <= 0 <= interval.high:
        return "includes 0"
    return "lies above 0" if interval.low > 0 else "lies below 0"

"""Is the challenger better than the champion, or was it lucky? A paired bootstrap by user.

The rows of a user are not independent, so whole users are drawn with replacement. Both models are
scored on the same draw, so what they share cancels out. Efron and Tibshirani, "An introduction to
the bootstrap" (1993), chapters 8 and 13 (percentile interval).

A replicate is a count for each user, never a copied table. The rows are sorted by score once; the
AUC of a replicate is then one walk over them that adds counts. The walk covers a block of
replicates at a time: the counts of one user in all of them lie side by side in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from widedeep import metrics
from widedeep.compiled import compiled
from widedeep.inputs import InputError
from widedeep.metrics import Floats, Labels, Users

BOOTSTRAP_SEED = 1606_07792
"""Seeds every bootstrap of an evaluation, so that equal predictions have equal intervals."""

_BLOCK_REPLICATES = 64
_BLOCK_BYTES = 2**26

# A user drawn 256 times in one replicate would overflow: with fewer users it cannot happen, with
# more its probability is below 1 / 256!.
Counts = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference, challenger minus champion, on the data itself and the ends of its interval."""

    difference: float
    low: float
    high: float

    @property
    def position(self) -> str:
        """Where the interval lies in relation to 0, in words."""
        if self.low <= 0 <= self.high:
            return "includes 0"
        return "lies above 0" if self.low > 0 else "lies below 0"

    def to_text(self, confidence: float | None = None) -> str:
        """Return the difference and, where it was sampled, its interval; None: do not name it."""
        if self.low == self.high:
            return signed_text(self.difference)
        named = "" if confidence is None else f", {100 * confidence:g} % interval"
        ends = f"[{signed_text(self.low)}, {signed_text(self.high)}]"
        return f"{signed_text(self.difference)}{named} {ends}"


def signed_text(value: float) -> str:
    """Return a number with its sign and four decimals, or more where those would read as 0."""
    text = f"{value:+.0f}" if value and value.is_integer() else f"{value:+.4f}"
    return f"{value:+.0e}" if value and not float(text) else text.replace("-0.0000", "+0.0000")


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The result of a paired bootstrap.

    Attributes:
        auc: Difference of AUC; positive where the challenger is better.
        log_loss: Difference of log loss in nats; negative where the challenger is better.
        ece: Difference of calibration error; negative where the challenger is better. The bins are
            those of the data itself in every replicate.
        replicates: Number of replicates behind the intervals.
        rows: Number of rows compared.
        users: Number of users among them, the units drawn.
        left_out: Number of replicates dropped because their rows had one class only.
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
        InputError: input that `metrics` refuses, one class only, settings out of range, or more
            than half of the replicates with one class only.
    """
    _check_settings(replicates, confidence)
    auc = metrics.auc(label, challenger) - metrics.auc(label, champion)
    log_loss = metrics.log_loss(label, challenger) - metrics.log_loss(label, champion)
    ece = metrics.ece(label, challenger) - metrics.ece(label, champion)
    users, code = metrics.user_codes(user, len(label))
    sample = PairedSample.from_scores(label, challenger, champion, code, users)
    blocks = [sample.differences(counts) for counts in user_draws(generator, users, replicates)]
    drawn = np.concatenate(blocks, axis=1)
    usable = drawn[:, ~np.isnan(drawn[0])]
    left_out = replicates - usable.shape[1]
    if 2 * left_out > replicates:
        raise InputError(
            f"{left_out} of {replicates} bootstrap replicates have one class only; expected both "
            "classes in at least half of them: the rarer class has too few users"
        )
    return PairedDifference(
        auc=_percentile_interval(auc, usable[0], confidence),
        log_loss=_percentile_interval(log_loss, usable[1], confidence),
        ece=_percentile_interval(ece, usable[2], confidence),
        replicates=usable.shape[1],
        rows=len(label),
        users=users,
        left_out=left_out,
        confidence=confidence,
    )


def _check_settings(replicates: int, confidence: float) -> None:
    if replicates < 1:
        raise InputError(f"replicates is {replicates}; expected at least 1")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; expected a share between 0 and 1")


def _percentile_interval(difference: float, drawn: Floats, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(difference, float(low), float(high))


def user_draws(generator: np.random.Generator, users: int, replicates: int) -> Iterator[Counts]:
    """Yield how often each user is drawn, uint8 (users, block) for a block of replicates at a time.

    The width of a block changes no draw.
    """
    width = max(1, min(_BLOCK_REPLICATES, _BLOCK_BYTES // users))
    for start in range(0, replicates, width):
        counts = np.zeros((min(width, replicates - start), users), dtype=np.uint8)
        for replicate in counts:
            _tally(generator.integers(users, size=users), replicate)
        yield np.ascontiguousarray(counts.T)


@dataclass(frozen=True, slots=True)
class _Ranking:
    """One model's rows by rising score, (n,): their user's code, class, and whether a tie ends."""

    user: npt.NDArray[np.int32]
    positive: npt.NDArray[np.int8]
    closes: npt.NDArray[np.bool_]

    @classmethod
    def from_scores(cls, label: Labels, score: Floats, code: npt.NDArray[np.intp]) -> Self:
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
    def from_scores(
        cls,
        label: Labels,
        challenger: Floats,
        champion: Floats,
        code: npt.NDArray[np.intp],
        users: int,
    ) -> Self:
        """Prepare (n,) rows; `code` is the user of each row, from 0 to `users` - 1."""
        label = np.asarray(label).astype(np.bool_)
        challenger, champion = np.asarray(challenger), np.asarray(champion)
        loss = metrics.row_log_loss(label, challenger) - metrics.row_log_loss(label, champion)
        totals = [
            np.bincount(code, weights=value, minlength=users) for value in (label, ~label, loss)
        ]
        gaps = [_calibration_gaps(label, scores, code, users) for scores in (challenger, champion)]
        return cls(
            _Ranking.from_scores(label, challenger, code),
            _Ranking.from_scores(label, champion, code),
            np.concatenate([np.stack(totals, axis=1), *gaps], axis=1),
        )

    def differences(self, counts: Counts) -> Floats:
        """Return the differences of AUC, log loss and ECE in each replicate, (3, block).

        The difference of AUC is NaN where a replicate has one class only.
        """
        positives, negatives, loss, *gaps = _weighted_totals(counts, self.totals)
        challenger_gap, champion_gap = np.abs(gaps).reshape(2, -1, counts.shape[1]).sum(axis=1)
        areas = [
            _twice_areas(counts, ranking.user, ranking.positive, ranking.closes)
            for ranking in (self.challenger, self.champion)
        ]
        pairs = positives * negatives
        pairs[pairs == 0] = np.nan
        rows = positives + negatives
        return np.stack(
            [
                (areas[0] - areas[1]) / (2 * pairs),
                loss / rows,
                (challenger_gap - champion_gap) / rows,
            ]
        )


def _calibration_gaps(
    label: Labels, probability: Floats, code: npt.NDArray[np.intp], users: int
) -> Floats:
    """Return label minus probability, summed by user and bin of calibration, (users, bins)."""
    bins = metrics.calibration_bins(probability)
    sums = np.zeros((users, metrics.ECE_BINS))
    np.add.at(sums, (code, bins), label - probability)
    return sums


# Written as loops over a block's columns: numba turns those into vector instructions, while the
# same in array expressions took eight times as long.


@compiled
def _tally(drawn: npt.NDArray[np.int64], counts: npt.NDArray[np.uint8]) -> None:
    for user in drawn:
        counts[user] += 1


@compiled
def _weighted_totals(counts: Counts, totals: Floats) -> Floats:
    """Return `totals`.T @ `counts`, (columns, block), without a float copy of the counts."""
    sums = np.zeros((totals.shape[1], counts.shape[1]))
    for user in range(counts.shape[0]):
        for column in range(totals.shape[1]):
            _add(sums[column], counts[user], totals[user, column])
    return sums


@compiled
def _twice_areas(
    counts: Counts,
    user: npt.NDArray[np.int32],
    positive: npt.NDArray[np.int8],
    closes: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Return twice the number of pairs won by the positive row in each replicate, (block,).

    The counts are whole numbers, so equal models have equal areas.
    """
    area, below = np.zeros((2, counts.shape[1]), dtype=np.int64)
    tied = np.zeros((2, counts.shape[1]), dtype=np.int64)
    for row in range(len(user)):
        _add(tied[positive[row]], counts[user[row]], 1)
        if closes[row]:
            _close_tie(area, below, tied)
    return area


@compiled
def _add(sums: npt.NDArray[Any], counts: npt.NDArray[np.uint8], weight: float) -> None:
    for block in range(len(sums)):
        sums[block] += weight * counts[block]


@compiled
def _close_tie(
    area: npt.NDArray[np.int64], below: npt.NDArray[np.int64], tied: npt.NDArray[np.int64]
) -> None:
    for block in range(len(area)):
        area[block] += tied[1, block] * (2 * below[block] + tied[0, block])
        below[block] += tied[0, block]
        tied[0, block] = 0
        tied[1, block] = 0

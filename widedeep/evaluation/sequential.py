"""Pool the evidence of several holdouts, each of which was not enough on its own.

A champion is challenged again and again. Asking each time whether everything so far is enough would
promote luck sooner or later (peeking), so the error allowed is spent over the looks (alpha
spending). Of the share alpha that one window may err on the side of promotion, the k-th pooled look
may use alpha / (k (k - 1)). That sums to alpha over any number of looks, however they depend on
each other (union bound). A window's own test keeps its alpha, so a decision errs with at most
2 alpha.

The pooled rows follow each other in time, none twice: each earlier window contributes the rows
before the next window begins, scored by the challenger of that time, which had not seen them. The
question is whether retraining has been better than this champion since it began to serve. Whether
the present challenger does harm is asked of the present window alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Self

import numpy as np

from widedeep import metrics
from widedeep.evaluation.bootstrap import Interval, PairedSample, user_draws
from widedeep.evaluation.scoring import CHAMPION_PREDICTIONS, PREDICTIONS, Predictions
from widedeep.metrics import Floats, Labels, Users
from widedeep.store import Artifact


@dataclass(frozen=True, slots=True)
class HoldoutWindow:
    """Rows with their label and both models' streaming probabilities; (n,) each."""

    label: Labels
    challenger: Floats
    champion: Floats
    user: Users

    @classmethod
    def from_predictions(
        cls, challenger: Predictions, champion: Predictions, until: int | None = None
    ) -> Self:
        """Return the rows before `until` (UNIX seconds; None: all rows)."""
        rows = slice(None) if until is None else challenger.time < until
        return cls(
            challenger.label[rows],
            challenger.streaming[rows],
            champion.streaming[rows],
            challenger.user[rows],
        )

    @property
    def auc_difference(self) -> float:
        """Difference of AUC, challenger minus champion."""
        return metrics.auc(self.label, self.challenger) - metrics.auc(self.label, self.champion)

    @property
    def has_both_classes(self) -> bool:
        """Whether the rows have both classes, without which there is no AUC."""
        return bool(self.label.any() and not self.label.all())


@dataclass(frozen=True, slots=True)
class PooledDifference:
    """The mean difference of AUC over windows, weighted by rows, with a normal interval.

    Attributes:
        auc: Challenger minus champion.
        confidence: Confidence of the interval at this look.
        looks: How often this champion has been looked at, this time included.
        rows: Rows of all windows.
    """

    auc: Interval
    confidence: float
    looks: int
    rows: int

    def to_text(self) -> str:
        """Return a sentence with the number of windows and rows, and the interval."""
        return (
            f"streaming AUC pooled over {self.looks} windows with {self.rows:,} rows: "
            f"{self.auc.to_text(self.confidence)}, {self.auc.position}"
        )


def disjoint_windows(
    earlier: Sequence[Artifact], present: tuple[Predictions, Predictions], holdout_from: int
) -> list[HoldoutWindow]:
    """Return the present window, and of each earlier one the rows before the next one begins.

    Windows without a row left, or with one class only, are left out.

    Args:
        earlier: Evaluations since the champion serves, with their predictions.
        present: The challenger's and the champion's predictions of the present holdout.
        holdout_from: Start of the present holdout, UNIX seconds.
    """
    evaluations = {evaluation.summary["holdout_from"]: evaluation for evaluation in earlier}
    starts = sorted(start for start in evaluations if start < holdout_from)
    windows = [
        HoldoutWindow.from_predictions(
            Predictions.load(evaluations[start].path / PREDICTIONS),
            Predictions.load(evaluations[start].path / CHAMPION_PREDICTIONS),
            until,
        )
        for start, until in pairwise([*starts, holdout_from])
    ]
    windows.append(HoldoutWindow.from_predictions(*present))
    return [window for window in windows if window.has_both_classes]


def confidence_at_look(confidence: float, looks: int) -> float:
    """Return the confidence of the pooled interval at a look; the first pooled look is the second.

    Args:
        confidence: Confidence of one window's own test, 1 - alpha.
        looks: Number of the look, at least 2.
    """
    return 1 - (1 - confidence) / (looks * (looks - 1))


def pool_windows(
    windows: Sequence[HoldoutWindow],
    looks: int,
    *,
    generator: np.random.Generator,
    replicates: int,
    confidence: float,
) -> PooledDifference:
    """Pool disjoint windows; in a replicate the same users are drawn in all of them.

    Args:
        windows: At least one, each with both classes.
        looks: How often this champion has been looked at, this time included; at least 2.
        generator: Source of the draws.
        replicates: Number of bootstrap replicates behind the standard error.
        confidence: Confidence of one window's own test.
    """
    rows = np.array([len(window.label) for window in windows])
    weights = rows / rows.sum()
    difference = float(weights @ [window.auc_difference for window in windows])
    users, code = metrics.user_codes(
        np.concatenate([window.user for window in windows]), int(rows.sum())
    )
    samples = [
        PairedSample.from_scores(
            window.label, window.challenger, window.champion, window_code, users
        )
        for window, window_code in zip(windows, np.split(code, np.cumsum(rows)[:-1]), strict=True)
    ]
    drawn = np.concatenate(
        [
            weights @ np.stack([sample.differences(counts)[0] for sample in samples])
            for counts in user_draws(generator, users, replicates)
        ]
    )
    confidence = confidence_at_look(confidence, looks)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * float(np.nanstd(drawn, ddof=1))
    interval = Interval(difference, difference - reach, difference + reach)
    return PooledDifference(interval, confidence, looks, int(rows.sum()))

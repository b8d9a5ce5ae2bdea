"""Evidence of several windows together, each of which was not enough.

A champion is challenged again and again; asking each time whether everything so far is enough would
promote luck sooner or later (peeking). So the error allowed is spent: of the share alpha that one
window may err on the side of promotion, the k-th pooled look may use alpha / (k (k - 1)). That sums
to alpha over any number of looks, whatever depends on what (union bound). A window's own test keeps
its alpha, so a decision errs with at most 2 alpha.

What is pooled are rows that follow each other in time, none twice: each earlier window gives those
before the next one begins, scored by the challenger of its day, which had not seen them. The
question is whether retraining has been better than this champion since it began to serve; whether
the present challenger does harm is asked of the present window alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Self

import numpy as np

from widedeep import metrics
from widedeep.evaluation.bootstrap import (
    Interval,
    PairedSample,
    interval_position,
    interval_text,
    user_draws,
)
from widedeep.evaluation.scoring import CHAMPION_PREDICTIONS, PREDICTIONS, Predictions
from widedeep.metrics import Floats, Labels, Users
from widedeep.store import Artifact


@dataclass(frozen=True, slots=True)
class HoldoutWindow:
    """Rows of both models, streaming probabilities; (n,) each."""

    label: Labels
    challenger: Floats
    champion: Floats
    user: Users

    @classmethod
    def of(cls, challenger: Predictions, champion: Predictions, until: int | None = None) -> Self:
        """The rows before `until` (UNIX seconds; None: all)."""
        rows = slice(None) if until is None else challenger.time < until
        return cls(
            challenger.label[rows],
            challenger.streaming[rows],
            champion.streaming[rows],
            challenger.user[rows],
        )

    @property
    def difference(self) -> float:
        """Of AUC, challenger minus champion."""
        return metrics.auc(self.label, self.challenger) - metrics.auc(self.label, self.champion)

    @property
    def has_both_classes(self) -> bool:
        """Whether there is an AUC."""
        return bool(self.label.any() and not self.label.all())


@dataclass(frozen=True, slots=True)
class PooledDifference:
    """The mean difference of AUC over windows, weighted by rows, with a normal interval."""

    auc: Interval
    confidence: float
    looks: int
    rows: int

    def sentence(self) -> str:
        """For people."""
        return (
            f"streaming AUC pooled over {self.looks} windows with {self.rows:,} rows: "
            f"{interval_text(self.auc, self.confidence)}, {interval_position(self.auc)}"
        )


def disjoint_windows(
    earlier: Sequence[Artifact], present: tuple[Predictions, Predictions], holdout_from: int
) -> list[HoldoutWindow]:
    """Disjoint windows: of `earlier` evaluations what lies before the next one, and the present.

    Those that have no row left, or one class only, are left out.
    """
    begins = {evaluation.summary["holdout_from"]: evaluation for evaluation in earlier}
    starts = sorted(start for start in begins if start < holdout_from)
    windows = [
        HoldoutWindow.of(
            Predictions.load(begins[start].path / PREDICTIONS),
            Predictions.load(begins[start].path / CHAMPION_PREDICTIONS),
            until,
        )
        for start, until in pairwise([*starts, holdout_from])
    ]
    found = [*windows, HoldoutWindow.of(*present)]
    return [window for window in found if window.has_both_classes]


def confidence_at_look(confidence: float, looks: int) -> float:
    """The confidence of the pooled interval at a look, the second being the first pooled one."""
    return 1 - (1 - confidence) / (looks * (looks - 1))


def pool_windows(
    windows: Sequence[HoldoutWindow],
    looks: int,
    *,
    generator: np.random.Generator,
    replicates: int,
    confidence: float,
) -> PooledDifference:
    """Pool disjoint windows, the users drawn being the same in all of them.

    Args:
        windows: At least one, each with both classes.
        looks: How often this champion has been looked at, this time included; at least 2.
        generator: Source of the draws.
        replicates: Bootstrap replicates that the standard error rests on.
        confidence: Of one window's own test.
    """
    rows = np.array([len(window.label) for window in windows])
    weights = rows / rows.sum()
    difference = float(weights @ [window.difference for window in windows])
    users, code = metrics.user_codes(np.concatenate([w.user for w in windows]), int(rows.sum()))
    codes = np.split(code, np.cumsum(rows)[:-1])
    samples = [
        PairedSample.of(window.label, window.challenger, window.champion, mine, users)
        for window, mine in zip(windows, codes, strict=True)
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

"""Probes for columns that were known too late: they tell the label, or they tell the future.

A model that reads such a column looks good until it serves.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from widedeep.data.ids import Keys
from widedeep.data.profile.columns import SECONDS_A_YEAR, Column, Mask, Numbers

_MOST_BINS = 50
_FEWEST_IDS = 50
_SUSPICIOUS, _TELLS_LABEL = 0.95, 0.98
_FOLLOWS = 0.9
_MOST_BEFORE_YEAR = 0.05


@dataclass(frozen=True, slots=True)
class Leak:
    """How a column was known too late: it tells the label with an AUC (if given), or the future.

    The `reason` has the column as its subject.
    """

    reason: str
    auc: float | None = None

    @property
    def certain(self) -> bool:
        """Whether there is no doubt, so that no model should read the column."""
        return self.auc is None or self.auc > _TELLS_LABEL


@dataclass(frozen=True, slots=True)
class LeakProbes:
    """What columns are compared with to find those that were known too late.

    Attributes:
        label: The label of each interaction, bool (n,).
        seconds: The time of each interaction, (n,), UNIX seconds.
    """

    label: Mask
    seconds: Keys

    def of_context(self, column: Column) -> Leak | None:
        """Return how a column of the interactions, (n,), tells their label."""
        return _label_leak(label_auc(column, self.label))

    def of_attribute(
        self, column: Column, owner: str, keys: Keys, owners: Keys, *, dated: bool
    ) -> Leak | None:
        """Return how an attribute of users or items tells the label or the future.

        Args:
            column: The attribute of some users or items, (m,).
            owner: What they are: user or item.
            keys: Which ones they are, (m,).
            owners: The user or the item of each interaction, (n,).
            dated: Whether the attribute is the year or the date from which on they exist.
        """
        rows = rows_of(keys, owners)
        met = rows >= 0
        leak = _label_leak(label_auc(column.take(rows[met]), self.label[met]))
        if leak is None and column.numeric:
            rank = activity_correlation(column.numbers, keys, owners)
            if abs(rank) > _FOLLOWS:
                leak = Leak(
                    f"follows the number of the {owner}'s interactions (rank correlation "
                    f"{rank:.2f}), so it was counted later and tells the future"
                )
        if leak is None and owner == "item" and dated:
            early = share_before_year(column.years[rows[met]], self.seconds[met])
            if early > _MOST_BEFORE_YEAR:
                leak = Leak(f"is later than {early:.0%} of the interactions: it tells the future")
        return leak


def rows_of(keys: Keys, owners: Keys) -> Keys:
    """Return at which row of `keys`, (m,), each owner stands first, (n,) int64; -1: nowhere."""
    first = pd.Series(keys).drop_duplicates()
    at = pd.Index(first).get_indexer(pd.Index(owners))
    rows: Keys = np.where(at < 0, -1, first.index.to_numpy()[at])
    return rows


def _label_leak(auc: float) -> Leak | None:
    if auc <= _SUSPICIOUS:
        return None
    too_late = "so it was" if auc > _TELLS_LABEL else "as if it were"
    return Leak(f"alone tells the label with AUC {auc:.3f}, {too_late} known too late", auc)


def label_auc(column: Column, label: Mask) -> float:
    """Return the AUC with which a column alone tells the label, from .5 to 1.

    A number tells it by its size, its quantile, or by being there at all. The values of a category
    are ordered by their share of positive labels in the other half of the rows, so that a value
    which occurs once tells nothing.

    Args:
        column: A column of (n,) rows.
        label: The labels, bool (n,).
    """
    if not len(label) or label.all() or not label.any():
        return 0.5
    if not column.numeric or column.distinct <= _MOST_BINS:
        return _auc(_by_other_half(pd.factorize(column.keys)[0], label), label)
    numbers = np.nan_to_num(column.numbers, nan=float(np.nanmedian(column.numbers)))
    by_size = _auc(numbers, label)
    ranks = pd.Series(column.numbers).rank(pct=True).fillna(-1.0).to_numpy()
    by_bin = _auc(_by_other_half(np.floor(_MOST_BINS * ranks).astype(int) + 50, label), label)
    return max(by_size, 1.0 - by_size, by_bin)


def _by_other_half(codes: Keys, label: Mask) -> Numbers:
    """Return the share of positive labels that each row's code has in the other half, (n,)."""
    half = np.random.default_rng(0).permutation(len(label)) % 2 == 0
    mean, score = float(label.mean()), np.empty(len(label))
    for rows, others in ((half, ~half), (~half, half)):
        size = int(codes.max()) + 1
        count = np.bincount(codes[others], minlength=size)
        positives = np.bincount(codes[others], label[others], minlength=size)
        score[rows] = ((positives + mean) / (count + 1.0))[codes[rows]]
    return score


def _auc(score: Numbers, label: Mask) -> float:
    """Return the area under the ROC curve of scores, (n,), for labels of both classes."""
    ranks = pd.Series(score).rank().to_numpy()
    positives = int(label.sum())
    above = ranks[label].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(label) - positives)))


def activity_correlation(numbers: Numbers, keys: Keys, interactions: Keys) -> float:
    """Return the rank correlation of a number with how often the user or item occurs.

    A number that counts interactions, or an id that is assigned by their number, has one close to
    1 or -1; it was known only after them, so it tells the future.

    Args:
        numbers: The number of each user or item, (m,).
        keys: Whose they are, (m,).
        interactions: The users or items of the interactions, (n,).
    """
    counts = pd.Series(interactions).value_counts().reindex(keys)
    frame = pd.DataFrame({"value": numbers, "count": counts.to_numpy()})
    ranks = frame.dropna().rank()
    if len(ranks) < _FEWEST_IDS or ranks["value"].nunique() < 10 or ranks["count"].nunique() < 3:  # noqa: PLR2004
        return 0.0
    return float(np.corrcoef(ranks["value"], ranks["count"])[0, 1])


def share_before_year(years: Numbers, seconds: Keys) -> float:
    """Return the share of interactions that are older than the year of their item.

    Args:
        years: The year of each interaction's item, (n,), NaN where unknown.
        seconds: The time of each interaction, (n,), UNIX seconds.
    """
    known = np.isfinite(years)
    year_of_time = 1970.0 + seconds / SECONDS_A_YEAR
    return float((years[known] > year_of_time[known]).mean()) if known.any() else 0.0

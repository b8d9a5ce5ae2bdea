"""Metrics of predicted probabilities against binary labels.

Use it as `from widedeep import metrics`. Every function takes `label`, (n,) bool or 0/1 integers,
and `probability`, (n,) finite float64. `auc`, `pr_auc`, `gauc` and `ndcg_at_10` use only the order
and accept any score; `log_loss` and `ece` need values in [0, 1]. Equal probabilities are true ties
everywhere, so no metric depends on the order of the rows. All raise InputError on unusable input
and where the metric is undefined.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from widedeep.inputs import InputError

PROBABILITY_FLOOR = 1e-7
ECE_BINS = 15
NDCG_CUTOFF = 10

Labels = npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Users = npt.NDArray[Any]
_Index = npt.NDArray[np.intp]
_Bools = npt.NDArray[np.bool_]


def auc(label: Labels, probability: Floats) -> float:
    """Return the area under the ROC curve, in [0, 1].

    This is the Mann-Whitney statistic, in which a tied pair counts one half.

    Raises:
        InputError: `label` has only one class.
    """
    # Imported here, because scoring and explaining need this file but not scikit-learn.
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    label, probability = _checked(label, probability)
    _require_both_classes(label, "AUC")
    return float(roc_auc_score(label, probability))


def pr_auc(label: Labels, probability: Floats) -> float:
    """Return the average precision, in (0, 1].

    Precision is summed over the steps of recall, without interpolation.

    Raises:
        InputError: `label` has only one class.
    """
    from sklearn.metrics import average_precision_score  # noqa: PLC0415  see `auc`

    label, probability = _checked(label, probability)
    _require_both_classes(label, "PR-AUC")
    return float(average_precision_score(label, probability))


def row_log_loss(label: Labels, probability: Floats) -> Floats:
    """Return the negative log-likelihood of each row in nats, (n,) float64.

    Probabilities are clipped to [1e-7, 1 - 1e-7] first.

    Raises:
        InputError: A probability is outside [0, 1].
    """
    label, probability = _checked(label, probability)
    _require_unit_interval(probability)
    clipped = np.clip(probability, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -np.log(np.where(label, clipped, 1 - clipped))


def log_loss(label: Labels, probability: Floats) -> float:
    """Return the mean of `row_log_loss`, in nats; it is defined for one class too."""
    return float(row_log_loss(label, probability).mean())


def ece(label: Labels, probability: Floats) -> float:
    """Return the expected calibration error, in [0, 1], over 15 bins of nearly equal size.

    This is the sum over bins of |mean label - mean probability| x the bin's share of the rows.
    Equal probabilities share the bin of their group's middle rank, so a constant has one bin. A
    perfectly calibrated model does not score 0 but its sampling noise: about .009 at 14,000 rows.
    Bins of equal size follow Nguyen and O'Connor, "Posterior calibration and exploratory analysis
    for natural language processing models" (2015).

    Raises:
        InputError: A probability is outside [0, 1].
    """
    label, probability = _checked(label, probability)
    _require_unit_interval(probability)
    gaps = np.bincount(calibration_bins(probability), weights=label - probability)
    return float(np.abs(gaps).sum() / len(label))


def calibration_bins(probability: Floats) -> _Index:
    """Return the bin of each row in `ece`, (n,) intp from 0 to ECE_BINS - 1."""
    _, tie, sizes = np.unique(probability, return_inverse=True, return_counts=True)
    twice_middle = 2 * np.cumsum(sizes) - sizes - 1
    bins: _Index = (ECE_BINS * twice_middle // (2 * len(probability)))[tie]
    return bins


def gauc(label: Labels, probability: Floats, user: Users) -> float:
    """Return the AUC within each user, averaged over users, weighted by their numbers of rows.

    Only users with both classes count. Zhou et al., "Deep interest network for click-through rate
    prediction" (2018).

    Args:
        label: (n,) bool or 0/1.
        probability: (n,) float64.
        user: (n,) of any sortable dtype; used only to group the rows.

    Raises:
        InputError: No user has both classes.
    """
    lists = _user_lists(label, probability, user)
    rows, positives = lists.per_user(1.0), lists.per_user(lists.label)
    negatives = rows - positives
    position = lists.mean_over_ties(lists.position.astype(np.float64))
    above = lists.per_user(lists.label * position)
    beaten = positives * (rows - (positives + 1) / 2) - above
    usable = (positives > 0) & (negatives > 0)
    if not usable.any():
        raise InputError(f"GAUC needs a user with both classes; none of {len(rows)} users has them")
    user_auc = beaten[usable] / (positives[usable] * negatives[usable])
    return float(np.average(user_auc, weights=rows[usable]))


def ndcg_at_10(label: Labels, probability: Floats, user: Users) -> float:
    """Return NDCG at 10 with binary gains, averaged over users.

    Only users with a positive and at least two rows count. Ties take the expected value over all
    orders of the tied rows, as in scikit-learn's `ndcg_score`:
    McSherry and Najork, "Computing information retrieval performance measures efficiently in the
    presence of tied scores" (2008).

    Args:
        label: (n,) bool or 0/1.
        probability: (n,) float64.
        user: (n,) of any sortable dtype; used only to group the rows.

    Raises:
        InputError: No user has a positive and two rows.
    """
    lists = _user_lists(label, probability, user)
    rows, positives = lists.per_user(1.0), lists.per_user(lists.label).astype(np.intp)
    discount = 1 / np.log2(np.arange(NDCG_CUTOFF) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(positives, NDCG_CUTOFF)]
    reachable = np.append(discount, 0.0)[np.minimum(lists.position, NDCG_CUTOFF)]
    gained = lists.per_user(lists.label * lists.mean_over_ties(reachable))
    usable = (positives > 0) & (rows > 1)
    if not usable.any():
        raise InputError(
            f"NDCG needs a user with a positive and two rows; none of {len(rows)} users has them"
        )
    return float(np.mean(gained[usable] / ideal[usable]))


@dataclass(frozen=True, slots=True)
class _UserLists:
    """Rows sorted by user and then by falling probability; all arrays are (n,).

    Attributes:
        label: Whether the row is positive.
        user: Code of the row's user, from 0.
        position: The row's position in its user's list, 0 at the top.
        tie: Number of the row's group of equal probabilities of one user, from 0.
    """

    label: _Bools
    user: _Index
    position: _Index
    tie: _Index

    def per_user(self, value: Floats | _Bools | float) -> Floats:
        """Return the sum of `value` over each user's rows, (users,)."""
        weights = np.broadcast_to(value, self.user.shape)
        return np.asarray(np.bincount(self.user, weights=weights), dtype=np.float64)

    def mean_over_ties(self, value: Floats) -> Floats:
        """Return the mean of `value` over each row's tie, (n,)."""
        means = np.bincount(self.tie, weights=value) / np.bincount(self.tie)
        return np.asarray(means[self.tie], dtype=np.float64)


def _user_lists(label: Labels, probability: Floats, user: Users) -> _UserLists:
    label, probability = _checked(label, probability)
    _, code = user_codes(user, len(label))
    order = np.lexsort((-probability, code))
    code, probability = code[order], probability[order]
    new_user = np.append(True, code[1:] != code[:-1])
    new_tie = new_user | np.append(True, probability[1:] != probability[:-1])
    first = np.flatnonzero(new_user)[code]
    return _UserLists(label[order], code, np.arange(len(code)) - first, np.cumsum(new_tie) - 1)


def user_codes(user: Users, rows: int) -> tuple[int, _Index]:
    """Return the number of users, and each row's user as a code in sorted order, (rows,) intp.

    Raises:
        InputError: `user` does not have one value for each row.
    """
    user = np.asarray(user)
    if user.shape != (rows,):
        raise InputError(f"user has shape {user.shape}; expected ({rows},) as label has")
    distinct, code = np.unique(user, return_inverse=True)
    return len(distinct), code


def _checked(label: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[_Bools, Floats]:
    labels, scores = np.asarray(label), np.asarray(probability, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise InputError(
            f"label has shape {labels.shape} and probability {scores.shape}; "
            "expected one value for each row in both"
        )
    if not len(labels):
        raise InputError("label has 0 rows; expected at least 1")
    not_binary = np.flatnonzero((labels != 0) & (labels != 1))
    if len(not_binary):
        raise InputError(f"label has the value {labels[not_binary[0]]}; expected 0 or 1")
    infinite = np.flatnonzero(~np.isfinite(scores))
    if len(infinite):
        raise InputError(f"probability has the value {scores[infinite[0]]}; expected a finite one")
    return labels.astype(np.bool_), scores


def _require_both_classes(label: _Bools, metric: str) -> None:
    if label.all() or not label.any():
        raise InputError(f"{metric} needs both classes; all {len(label)} labels are {label[0]:d}")


def _require_unit_interval(probability: Floats) -> None:
    outside = probability[(probability < 0) | (probability > 1)]
    if len(outside):
        raise InputError(f"probability has the value {outside[0]}; expected one in [0, 1]")

"""The online logistic model of additive terms, which says what label to expect of a rating.

The expected logit is a base rate, a term of the user's activity, one of the user and one of the
item. The last two are Gaussians, as in the rating system Glicko (Glickman, "Parameter estimation in
large dynamic paired comparison experiments", 1999): a rating moves a term by as much as its
variance says that something is still to be learned. Between ratings a user's term falls back to 0
and its variance to that of a new user; an item's variance grows.

A row of the state keeps a term as its precision beyond that of a new user or item, its mean
weighted by precision, and the time for which they hold: in this form the ratings of one moment
just add up.
"""

import math

import numpy as np

from widedeep.compiled import inlined
from widedeep.features.history.config import HistoryParams
from widedeep.features.history.state import ACTIVITY_LEVELS
from widedeep.features.history.table import DAY, Pair, Row, decay, shrunk_mean

RESIDUALS = np.dtype(
    [
        (name, np.float64)
        for name in (
            "error",
            "from_item_mean",
            "from_user_mean",
            "item_step",
            "user_count",
            "item_count",
            "user_precision",
            "user_weighted_mean",
            "item_precision",
            "item_weighted_mean",
            "user_term",
            "user_variance",
            "item_term",
            "item_variance",
        )
    ]
)
"""What is noted of a rating before any rating of its moment is applied. The first six fields are
those of `Rating`; then what the rating adds to precision and weighted mean of both terms, and both
terms and their variances at its time."""


@inlined
def expected_logit(global_: Row, params: HistoryParams, user_count: float, terms: float) -> float:
    """Return the logit of a user's next rating; `terms` is the user's plus the item's."""
    base = math.log(params.prior / (1.0 - params.prior)) + global_.base
    return float(base + global_.activity[_activity_level(user_count)] + terms)


@inlined
def user_term(user: Row, params: HistoryParams, time: int) -> tuple[float, float]:
    """Return mean and variance at `time`: of a new user 0 and `user_variance`, then back to it."""
    variance = 1.0 / (user.precision + 1.0 / params.user_variance)
    left = decay((time - user.term_time) / DAY, params.user_half_life)
    mean = user.weighted_mean * variance * left
    return mean, params.user_variance + left * left * (variance - params.user_variance)


@inlined
def item_term(item: Row, params: HistoryParams, time: int) -> tuple[float, float]:
    """Return mean and variance at `time`; the variance drifts up to that of an unrated item."""
    variance = 1.0 / (item.precision + 1.0 / params.item_variance)
    drift = params.item_drift * (time - item.term_time) / DAY
    return item.weighted_mean * variance, min(variance + drift, params.item_variance)


@inlined
def note_residuals(pair: Pair, params: HistoryParams, label: float, time: int, out: Row) -> None:
    """Note in `out`, a row of `RESIDUALS`, what a rating says that was not expected.

    One step of Newton's method on the log posterior of both terms: a term learns less from the
    rating, the less certain the other one is.
    """
    user, item = pair.user, pair.item
    user_mean, user_variance = user_term(user, params, time)
    item_mean, item_variance = item_term(item, params, time)
    logit = expected_logit(pair.global_, params, user.count, user_mean + item_mean)
    expected = 1.0 / (1.0 + math.exp(-logit))
    error, information = label - expected, expected * (1.0 - expected)
    for_user, for_item = 1.0 + information * item_variance, 1.0 + information * user_variance
    out.user_precision = information / for_user
    out.user_weighted_mean = (information * user_mean + error) / for_user
    out.item_precision = information / for_item
    out.item_weighted_mean = (information * item_mean + error) / for_item
    out.item_step = error * item_variance / (for_item + information * item_variance)
    out.error = error
    out.from_item_mean = label - shrunk_mean(
        item.labels, item.count, params.prior, params.item_smoothing
    )
    out.from_user_mean = label - shrunk_mean(
        user.labels, user.count, params.prior, params.user_smoothing
    )
    out.user_count, out.item_count = user.count, item.count
    out.user_term, out.user_variance = user_mean, user_variance
    out.item_term, out.item_variance = item_mean, item_variance


@inlined
def advance_terms(pair: Pair, params: HistoryParams, time: int, residuals: Row) -> None:
    """Bring both terms to the time of a rating; only the first rating of a moment changes them."""
    user, item = pair.user, pair.item
    if user.term_time != time or user.count == 0:
        user.precision = 1.0 / residuals.user_variance - 1.0 / params.user_variance
        user.weighted_mean = residuals.user_term / residuals.user_variance
        user.term_time = time
    if item.term_time != time or item.count == 0:
        item.precision = 1.0 / residuals.item_variance - 1.0 / params.item_variance
        item.weighted_mean = residuals.item_term / residuals.item_variance
        item.term_time = time


@inlined
def learn_terms(pair: Pair, params: HistoryParams, residuals: Row) -> None:
    """Apply a rating to the base rate and to all terms."""
    user, item, global_ = pair.user, pair.item, pair.global_
    global_.base += params.global_step * residuals.error
    global_.activity[_activity_level(residuals.user_count)] += params.global_step * residuals.error
    user.precision += residuals.user_precision
    user.weighted_mean += residuals.user_weighted_mean
    item.precision += residuals.item_precision
    item.weighted_mean += residuals.item_weighted_mean


@inlined
def _activity_level(count: float) -> int:
    """Return the logarithm to the base of 2 of `count` + 1, rounded down, 7 at most."""
    level = 0
    while level < ACTIVITY_LEVELS - 1 and count + 1.0 >= 2 << level:
        level += 1
    return level

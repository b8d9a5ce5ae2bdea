"""The numbers that history tells of a user; see `table` for what an entry is."""

import math

from widedeep.features.history.table import (
    DAY,
    Entity,
    HistoryNumber,
    decayed,
    shrunk_mean,
    shrunk_residual,
)

USER_NUMBERS = (
    HistoryNumber(
        "user_count",
        Entity.USER,
        "The user's ratings.",
        read=lambda u, q, p: u.count,
        before_first=True,
    ),
    HistoryNumber(
        "user_bias",
        Entity.USER,
        "The user's term in the online logistic model, in logits.",
        read=lambda u, q, p: q.user_term,
    ),
    HistoryNumber(
        "user_mean",
        Entity.USER,
        "Mean label.",
        keeps={"labels": lambda u, r, p: u.labels + r.label},
        read=lambda u, q, p: shrunk_mean(u.labels, u.count, p.prior, p.user_smoothing),
    ),
    HistoryNumber(
        "user_residual",
        Entity.USER,
        "Mean residual of the labels from the items' means.",
        keeps={"residuals": lambda u, r, p: u.residuals + r.from_item_mean},
        read=lambda u, q, p: shrunk_residual(u.residuals, u.count, p.user_smoothing),
    ),
    HistoryNumber(
        "user_fast",
        Entity.USER,
        "Moving average of these residuals, the newest weighing `fast`.",
        keeps={"fast": lambda u, r, p: u.fast + p.fast * (r.from_item_mean - u.fast)},
        read=lambda u, q, p: u.fast,
    ),
    HistoryNumber(
        "user_slow",
        Entity.USER,
        "Likewise, the newest weighing `slow`.",
        keeps={"slow": lambda u, r, p: u.slow + p.slow * (r.from_item_mean - u.slow)},
        read=lambda u, q, p: u.slow,
    ),
    HistoryNumber(
        "user_day_residual",
        Entity.USER,
        "Mean error of the expectation, decayed by `day_half_life`.",
        keeps={
            "day_weight": lambda u, r, p: decayed(u.day_weight, r.user_gap, p.day_half_life) + 1.0,
            "day_errors": lambda u, r, p: (
                decayed(u.day_errors, r.user_gap, p.day_half_life) + r.error
            ),
        },
        read=lambda u, q, p: shrunk_residual(
            decayed(u.day_errors, q.user_gap, p.day_half_life),
            decayed(u.day_weight, q.user_gap, p.day_half_life),
            1.0,
        ),
    ),
    HistoryNumber(
        "user_month_residual",
        Entity.USER,
        "Likewise, decayed by `month_half_life`.",
        keeps={
            "month_weight": lambda u, r, p: (
                decayed(u.month_weight, r.user_gap, p.month_half_life) + 1.0
            ),
            "month_errors": lambda u, r, p: (
                decayed(u.month_errors, r.user_gap, p.month_half_life) + r.error
            ),
        },
        read=lambda u, q, p: shrunk_residual(
            decayed(u.month_errors, q.user_gap, p.month_half_life),
            decayed(u.month_weight, q.user_gap, p.month_half_life),
            1.0,
        ),
    ),
    HistoryNumber(
        "user_last",
        Entity.USER,
        "Label of the last rating.",
        keeps={"last_label": lambda u, r, p: r.label},
        read=lambda u, q, p: u.last_label,
    ),
    HistoryNumber(
        "user_value",
        Entity.USER,
        "Mean value / 10.",
        keeps={"values": lambda u, r, p: u.values + r.value},
        read=lambda u, q, p: u.values / u.count,
    ),
    HistoryNumber(
        "user_fast_value",
        Entity.USER,
        "Moving average of values, the newest weighing `fast_value`; the first begins it.",
        keeps={
            "fast_value": lambda u, r, p: (
                r.value
                if r.user_count == 0
                else u.fast_value + p.fast_value * (r.value - u.fast_value)
            )
        },
        read=lambda u, q, p: u.fast_value,
    ),
    HistoryNumber(
        "user_last_value",
        Entity.USER,
        "Value of the last rating / 10.",
        keeps={"last_value": lambda u, r, p: r.value},
        read=lambda u, q, p: u.last_value,
    ),
    HistoryNumber(
        "user_value_spread",
        Entity.USER,
        "Standard deviation of the values / 10; NaN for a single one.",
        keeps={"squares": lambda u, r, p: u.squares + r.value * r.value},
        read=lambda u, q, p: (
            math.sqrt(max(u.squares / u.count - (u.values / u.count) * (u.values / u.count), 0.0))
            if u.count > 1
            else math.nan
        ),
    ),
    HistoryNumber(
        "user_recency",
        Entity.USER,
        "Days since the last rating.",
        read=lambda u, q, p: q.user_gap,
    ),
    HistoryNumber(
        "user_tenure",
        Entity.USER,
        "Days since the first rating.",
        keeps={"first_time": lambda u, r, p: r.time if r.user_count == 0 else u.first_time},
        read=lambda u, q, p: (q.time - u.first_time) / DAY,
    ),
)

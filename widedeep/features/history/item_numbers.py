"""The numbers that history tells of an item; see `table` for what an entry is."""

from widedeep.features.history.table import (
    DAY,
    Entity,
    HistoryNumber,
    decayed,
    shrunk_mean,
    shrunk_residual,
)

ITEM_NUMBERS = (
    HistoryNumber(
        "item_count",
        Entity.ITEM,
        "The item's ratings.",
        read=lambda i, q, p: i.count,
        before_first=True,
    ),
    HistoryNumber(
        "item_bias",
        Entity.ITEM,
        "The item's term in the online logistic model, in logits.",
        read=lambda i, q, p: q.item_term,
        before_first=True,
    ),
    HistoryNumber(
        "item_first_timer_bias",
        Entity.ITEM,
        "By how much the first ratings of users would have moved that term.",
        keeps={
            "first_timer_bias": lambda i, r, p: (
                i.first_timer_bias + (r.item_step if r.user_count == 0 else 0.0)
            )
        },
        read=lambda i, q, p: i.first_timer_bias,
        before_first=True,
    ),
    HistoryNumber(
        "item_mean",
        Entity.ITEM,
        "Mean label.",
        keeps={"labels": lambda i, r, p: i.labels + r.label},
        read=lambda i, q, p: shrunk_mean(i.labels, i.count, p.prior, p.item_smoothing),
        before_first=True,
    ),
    HistoryNumber(
        "item_first_timer_mean",
        Entity.ITEM,
        "Mean label of the first ratings of users.",
        keeps={
            "first_timers": lambda i, r, p: i.first_timers + (1.0 if r.user_count == 0 else 0.0),
            "first_timer_labels": lambda i, r, p: (
                i.first_timer_labels + (r.label if r.user_count == 0 else 0.0)
            ),
        },
        read=lambda i, q, p: shrunk_mean(
            i.first_timer_labels, i.first_timers, p.prior, p.item_smoothing
        ),
        before_first=True,
    ),
    HistoryNumber(
        "item_residual",
        Entity.ITEM,
        "Mean residual of the labels from the users' means.",
        keeps={"residuals": lambda i, r, p: i.residuals + r.from_user_mean},
        read=lambda i, q, p: shrunk_residual(i.residuals, i.count, p.item_smoothing),
    ),
    HistoryNumber(
        "item_long_mean",
        Entity.ITEM,
        "Mean label, decayed by `long_half_life`.",
        keeps={
            "long_weight": lambda i, r, p: (
                decayed(i.long_weight, r.item_gap, p.long_half_life) + 1.0
            ),
            "long_labels": lambda i, r, p: (
                decayed(i.long_labels, r.item_gap, p.long_half_life) + r.label
            ),
        },
        read=lambda i, q, p: shrunk_mean(
            decayed(i.long_labels, q.item_gap, p.long_half_life),
            decayed(i.long_weight, q.item_gap, p.long_half_life),
            p.prior,
            p.item_smoothing,
        ),
    ),
    HistoryNumber(
        "item_short_count",
        Entity.ITEM,
        "Number of ratings, decayed by `short_half_life`.",
        keeps={
            "short_weight": lambda i, r, p: (
                decayed(i.short_weight, r.item_gap, p.short_half_life) + 1.0
            ),
        },
        read=lambda i, q, p: decayed(i.short_weight, q.item_gap, p.short_half_life),
    ),
    HistoryNumber(
        "item_short_mean",
        Entity.ITEM,
        "Mean label, decayed by `short_half_life`.",
        keeps={
            "short_labels": lambda i, r, p: (
                decayed(i.short_labels, r.item_gap, p.short_half_life) + r.label
            ),
        },
        read=lambda i, q, p: shrunk_mean(
            decayed(i.short_labels, q.item_gap, p.short_half_life),
            decayed(i.short_weight, q.item_gap, p.short_half_life),
            p.prior,
            p.item_smoothing,
        ),
    ),
    HistoryNumber(
        "item_burst_count",
        Entity.ITEM,
        "Number of ratings, decayed by `burst_half_life`.",
        keeps={
            "burst_weight": lambda i, r, p: (
                decayed(i.burst_weight, r.item_gap, p.burst_half_life) + 1.0
            ),
        },
        read=lambda i, q, p: decayed(i.burst_weight, q.item_gap, p.burst_half_life),
    ),
    HistoryNumber(
        "item_burst_mean",
        Entity.ITEM,
        "Mean label, decayed by `burst_half_life`.",
        keeps={
            "burst_labels": lambda i, r, p: (
                decayed(i.burst_labels, r.item_gap, p.burst_half_life) + r.label
            ),
        },
        read=lambda i, q, p: shrunk_mean(
            decayed(i.burst_labels, q.item_gap, p.burst_half_life),
            decayed(i.burst_weight, q.item_gap, p.burst_half_life),
            p.prior,
            p.burst_smoothing,
        ),
    ),
    HistoryNumber(
        "item_recency",
        Entity.ITEM,
        "Days since the last rating.",
        read=lambda i, q, p: q.item_gap,
    ),
    HistoryNumber(
        "item_tenure",
        Entity.ITEM,
        "Days since the first rating.",
        keeps={"first_time": lambda i, r, p: r.time if r.item_count == 0 else i.first_time},
        read=lambda i, q, p: (q.time - i.first_time) / DAY,
    ),
)

"""The numbers that history tells of a user and an item together, and of all ratings.

See `table` for what an entry is.
"""

from widedeep.features.history.table import (
    DAY,
    Entity,
    HistoryNumber,
    decayed,
    shrunk_mean,
    shrunk_residual,
)

PAIR_NUMBERS = (
    HistoryNumber(
        "expected_logit",
        Entity.PAIR,
        "What the online logistic model expects, see `terms`.",
        read=lambda pair, q, p: q.expected_logit,
    ),
    HistoryNumber(
        "mean_plus_residual",
        Entity.PAIR,
        "The item's mean label plus the user's mean residual.",
        read=lambda pair, q, p: (
            shrunk_mean(pair.item.labels, pair.item.count, p.prior, p.item_smoothing)
            + shrunk_residual(pair.user.residuals, pair.user.count, p.user_smoothing)
        ),
    ),
    HistoryNumber(
        "staleness",
        Entity.PAIR,
        "Days from the moment until which ratings are known.",
        read=lambda pair, q, p: (q.time - q.known_until) / DAY,
    ),
    HistoryNumber(
        "item_group_residual",
        Entity.GROUP,
        "Mean error of the expectation on the item's ratings by users as active as this one.",
        keeps={"errors": lambda g, r, p: g.errors + r.error},
        read=lambda g, q, p: shrunk_residual(g.errors, g.count, p.item_smoothing),
    ),
    HistoryNumber(
        "item_late_group_residual",
        Entity.GROUP,
        "Likewise, decayed by `long_half_life`.",
        keeps={
            "late_weight": lambda g, r, p: (
                decayed(g.late_weight, r.group_gap, p.long_half_life) + 1.0
            ),
            "late_errors": lambda g, r, p: (
                decayed(g.late_errors, r.group_gap, p.long_half_life) + r.error
            ),
        },
        read=lambda g, q, p: shrunk_residual(
            decayed(g.late_errors, q.group_gap, p.long_half_life),
            decayed(g.late_weight, q.group_gap, p.long_half_life),
            p.item_smoothing,
        ),
    ),
    HistoryNumber(
        "global_first_mean",
        Entity.GLOBAL,
        "Mean label of users' first ratings, decayed by `global_half_life` up to the last rating.",
        keeps={
            "first_weight": lambda g, r, p: (
                decayed(g.first_weight, r.global_gap, p.global_half_life)
                + (1.0 if r.user_count == 0 else 0.0)
            ),
            "first_labels": lambda g, r, p: (
                decayed(g.first_labels, r.global_gap, p.global_half_life)
                + (r.label if r.user_count == 0 else 0.0)
            ),
        },
        read=lambda g, q, p: shrunk_mean(g.first_labels, g.first_weight, p.prior, p.item_smoothing),
    ),
    HistoryNumber(
        "global_later_mean",
        Entity.GLOBAL,
        "Likewise of users' later ratings.",
        keeps={
            "later_weight": lambda g, r, p: (
                decayed(g.later_weight, r.global_gap, p.global_half_life)
                + (0.0 if r.user_count == 0 else 1.0)
            ),
            "later_labels": lambda g, r, p: (
                decayed(g.later_labels, r.global_gap, p.global_half_life)
                + (0.0 if r.user_count == 0 else r.label)
            ),
        },
        read=lambda g, q, p: shrunk_mean(g.later_labels, g.later_weight, p.prior, p.item_smoothing),
    ),
)

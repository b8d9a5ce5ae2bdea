"""Which rows of interactions are positive: by an outcome, a rating, an action, or a lone flag."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from widedeep.data.dataset_tables import LabelRule
from widedeep.data.profile.columns import Column
from widedeep.data.profile.names import named, rank_of, words_of
from widedeep.data.profile.samples import Sample
from widedeep.inputs import InputError

_LABEL = (
    *("label", "clicked", "click", "liked", "like", "bought", "purchased", "purchase"),
    *("converted", "conversion", "target", "y", "watched", "installed", "responded", "positive"),
)
_VALUE = ("rating", "rate", "stars", "star", "score", "overall", "grade")
_ACTION = (
    *("action", "event", "event_type", "behavior", "behaviour", "behavior_type", "action_type"),
    *("behaviour_type", "interaction", "interaction_type", "type"),
)
_BEST_ACTIONS = (
    *("buy", "purchase", "transaction", "order", "booking", "like", "addtocart", "add_to_cart"),
    *("cart", "click"),
)
_OTHER_ACTIONS = ("view", "pv", "impression", "fav", "skip", "dislike", "show", "pageview")
_OUTCOMES = (
    *("dwell", "duration", "watchtime", "playtime", "elapsed", "completion", "finished", "helpful"),
    *("votes", "review", "summary", "comment", "revenue", "transaction", "feedback", "reply"),
)
_YES = {"yes", "Yes", "YES", "y", "Y", "t", "T", "positive", "Positive", "pos", "+", "like"}

_MOST_ACTIONS = 20
_SHOWN_STEPS = 10


@dataclass(frozen=True, slots=True)
class LabelGuess:
    """When a row is positive, why, and the column of the value if there is one."""

    rule: LabelRule | None
    reason: str
    value: str | None = None


def guess_label(
    table: Sample, free: Mapping[str, Column], user: str | None, item: str
) -> LabelGuess:
    """Return the label: an outcome, a rating, an action, or the only column of 0 and 1."""
    guess = _outcome(free) or _rating(table, free) or _action(free)
    if guess is not None:
        return guess
    flags = [name for name, column in free.items() if column.is_flag]
    moving = [name for name in flags if table.owner_of(free[name], user, item) is None]
    if len(moving) > 1 or (len(flags) > 1 and not moving):
        raise InputError(
            f"{table.path}: {' and '.join(moving or flags)} hold 0 and 1; which one is the label? "
            f"Write {table.path.parent / 'dataset.toml'} by hand, or rename one to label"
        )
    if moving:
        return LabelGuess(LabelRule(moving[0]), "the only column of 0 and 1")
    return LabelGuess(None, "no column tells positive rows from negative ones: all are positive")


def _outcome(free: Mapping[str, Column]) -> LabelGuess | None:
    """Return the label that is named like one, with two values."""
    names = [name for name in named(free, _LABEL) if free[name].distinct == 2]  # noqa: PLR2004
    flags = [name for name in names if free[name].is_flag]
    if flags:
        return LabelGuess(LabelRule(flags[0]), "0 and 1, and named like a label")
    for name in names:
        yes = _YES & {*free[name].different.to_pylist()}
        if len(yes) == 1:
            return LabelGuess(
                LabelRule(name, equals=min(yes)), "two values, and named like a label"
            )
    return None


def _rating(table: Sample, free: Mapping[str, Column]) -> LabelGuess | None:
    """Return the label that follows from a rating."""
    sure = [name for name in named(free, _VALUE) if rank_of(name, _VALUE)[0] < 2]  # noqa: PLR2004
    sure += [name for name in named(free, _LABEL) if rank_of(name, _LABEL)[0] == 0]
    names = [name for name in sure if free[name].numeric and free[name].distinct > 1]
    if names and free[names[0]].is_flag:
        return LabelGuess(LabelRule(names[0]), "0 and 1, and named like a rating")
    if names:
        return LabelGuess(*_threshold(names[0], free[names[0]]), names[0])
    constant = [name for name in named(free, _VALUE) if rank_of(name, _VALUE)[0] == 0]
    if constant and free[constant[0]].distinct:
        value = free[constant[0]].different[0].as_py()
        raise InputError(
            f"{table.path}: {constant[0]} is always {value}; expected a label with two values, or "
            "no such column"
        )
    return None


def _action(free: Mapping[str, Column]) -> LabelGuess | None:
    """Return the label that is one of several kinds of actions."""
    actions = [name for name, column in free.items() if _is_action(name, column)]
    return LabelGuess(*_best_action(actions[0], free[actions[0]])) if actions else None


def _threshold(name: str, column: Column) -> tuple[LabelRule, str]:
    """Return the rule whose share of positive rows is closest to a half."""
    numbers = np.sort(column.numbers[~np.isnan(column.numbers)])
    steps, first = np.unique(numbers, return_index=True)
    steps, shares = steps[1:], 1.0 - first[1:] / len(numbers)
    best = float(steps[np.argmin(np.abs(shares - 0.5))])
    least = int(best) if best == int(best) else best
    reason = "the threshold that is closest to half of the rows"
    if len(steps) <= _SHOWN_STEPS:
        shown = [f">= {step:g}: {share:.0%}" for step, share in zip(steps, shares, strict=True)]
        reason += f" ({', '.join(shown)})"
    return LabelRule(name, at_least=least), reason


def _is_action(name: str, column: Column) -> bool:
    """Return whether a column holds the kinds of actions: by its name, and by one that is known."""
    if not 1 < column.distinct <= _MOST_ACTIONS or column.numeric:
        return False
    joined = "_".join(words_of(name))
    known = any(_action_rank(action) is not None for action in column.different.to_pylist())
    return joined in _ACTION and (known or joined != "type")


def _action_rank(action: str) -> int | None:
    """Return the place of an action among those that may be the goal, the best first."""
    joined = "_".join(words_of(action))
    hits = [rank for rank, hint in enumerate(_BEST_ACTIONS) if hint in joined]
    if joined in _OTHER_ACTIONS or "dis" in joined or "remove" in joined:
        return len(_BEST_ACTIONS)
    return min(hits, default=None)


def _best_action(name: str, column: Column) -> tuple[LabelRule, str]:
    """Return the rule for the action that is most likely the goal, else for the rarest one."""
    counts = pd.Series(column.present.to_pylist()).value_counts()
    ranks = {action: _action_rank(action) for action in counts.index}
    goals = {a: r for a, r in ranks.items() if r is not None and r < len(_BEST_ACTIONS)}
    best = min(goals, key=goals.__getitem__) if goals else str(counts.index[-1])
    why = "named like a goal" if goals else "the rarest"
    return LabelRule(name, equals=best), f"{why} of the actions {', '.join(sorted(ranks))}"[:200]


def tells_goal(table: Sample) -> bool:
    """Return whether a table has a column that is named like a label."""
    hints = (*_LABEL, *_VALUE)
    return any(rank_of(n, hints)[0] < 2 or _is_action(n, c) for n, c in table.columns.items())  # noqa: PLR2004


def outcome_reason(name: str, column: Column) -> str | None:
    """Return why a column of the interactions is left out as an outcome, known too late."""
    if column.is_flag and named([name], _LABEL):
        return "by its name another outcome of the interaction, known too late"
    words = words_of(name)
    rated = column.numeric and rank_of(name, _VALUE)[0] == 0
    if rated or {*words} & {*_OUTCOMES} or "".join(words[:2]) in _OUTCOMES:
        return "by its name known only after the interaction"
    if column.time_unit:
        return "another time, which may be later than the interaction and tell the future"
    return None

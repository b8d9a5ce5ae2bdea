"""Which columns of a table of interactions hold user, item, time, label, value and weight.

`guess_roles` decides by the names of columns and by what they hold, and gives a reason for what a
name alone does not decide. It raises InputError where two columns are as likely, or none is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from widedeep.data.dataset import Side
from widedeep.data.dataset_tables import LabelRule
from widedeep.data.profile.columns import Column, Mask
from widedeep.data.profile.labels import guess_label
from widedeep.data.profile.names import (
    ID_WORDS,
    ITEM,
    TIME,
    UNNAMED,
    USER,
    named,
    rank_of,
    words_of,
)
from widedeep.data.profile.samples import Sample
from widedeep.data.values import read_labels
from widedeep.inputs import InputError

_SURE_TIMES = (["timestamp"], ["time"], ["ts"], ["datetime"], ["event", "time"])
_NAMES = {"name", "username", "login", "nickname"}
_FEW_IDS = 10
_WEIGHT = (["weight"], ["sample", "weight"])

_FEWEST_REPEATS = 0.01


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of the columns of interactions.

    Attributes:
        user: Column of the user's id; None for anonymous traffic.
        item: Column of the item's id.
        time: Column of the time.
        label: When a row is positive; None if every row is.
        label_reason: Why, with the share of positive rows.
        labels: The labels of the sample by this rule, bool (n,).
        value: The number that history averages, if there is one.
        weight: Column of a row's weight, if there is one.
        repeats: Whether only the first row of a (user, item) is an example, or all are.
        repeats_reason: Why, with the share of rows that repeat a pair.
    """

    user: str | None
    item: str
    time: str
    label: LabelRule | None
    label_reason: str
    labels: Mask
    value: str | None
    weight: str | None
    repeats: Literal["first", "all"]
    repeats_reason: str

    def key(self, side: Side) -> str | None:
        """Return the column of the user's or the item's id."""
        return self.user if side is Side.USER else self.item

    @property
    def columns(self) -> set[str]:
        """The names of all columns that have a role."""
        label = self.label.column if self.label is not None else None
        names = (self.user, self.item, self.time, label, self.value, self.weight)
        return {name for name in names if name is not None}


def guess_roles(table: Sample, others: Sequence[Sample]) -> Roles:
    """Return the roles of a table's columns.

    Args:
        table: The interactions.
        others: Further tables; a column that holds the ids of one may be the user or the item.

    Raises:
        InputError: There is no time or item, or several columns are as likely.
    """
    user, item = guess_ids(table, others)
    if item is None:
        raise InputError(_no_item(table))
    time = _time(table, user, item)
    free = {n: c for n, c in table.columns.items() if n not in {user, item, time}}
    guess = guess_label(table, free, user, item)
    label, reason, value = guess.rule, guess.reason, guess.value
    labels = np.ones(table.rows, np.bool_)
    if label is not None:
        labels, _ = read_labels(label, table.columns[label.column].texts)
        reason = f"{reason}: {labels.mean():.1%} of the rows are positive"
    weights = [n for n, c in free.items() if words_of(n) in _WEIGHT and c.numeric]
    weight = next((n for n in weights if label is None or n != label.column), None)
    repeats, repeats_reason = _repeats(table, user, item, rated=value is not None, label=label)
    return Roles(user, item, time, label, reason, labels, value, weight, repeats, repeats_reason)


def guess_ids(table: Sample, others: Sequence[Sample]) -> tuple[str | None, str | None]:
    """Return the columns of user and item: by their names, else as the ids of another table."""
    item = next(iter(_ids(table, ITEM, ())), None)
    user = next(iter(_ids(table, USER, (item,))), None)
    if user is not None and item is not None:
        return user, item
    keys = [
        name for name in table.columns if name not in {user, item} and _is_key(table, name, others)
    ]
    if user is None and item is None:
        return (keys[0], keys[1]) if len(keys) == 2 else (None, None)  # noqa: PLR2004
    if len(keys) != 1:
        return user, item
    return (keys[0], item) if user is None else (user, keys[0])


def _is_key(table: Sample, name: str, others: Sequence[Sample]) -> bool:
    """Return whether a column holds ids of another table."""
    known = table.columns[name].different
    return any(
        column.distinct > 0.9 * other.rows
        and len(np.intersect1d(known.to_pylist(), column.different.to_pylist())) > len(known) / 2
        for other in others
        for column in other.columns.values()
    )


def _ids(table: Sample, hints: Sequence[str], taken: Sequence[str | None]) -> list[str]:
    """Return the columns that are named like one of the hints and may hold ids, best first."""
    ranked = [
        (rank_of(name, hints), -column.distinct, name)
        for name, column in table.columns.items()
        if name not in taken
        and _may_be_id(name, column, hints)
        and not (column.time_unit and rank_of(name, TIME)[0] < 2)  # noqa: PLR2004
    ]
    return [name for rank, _, name in sorted(ranked) if rank < UNNAMED]


def _may_be_id(name: str, column: Column, hints: Sequence[str]) -> bool:
    """Return whether a column is no attribute: by its name, and by how many values it has."""
    words, sure = {*words_of(name)}, rank_of(name, hints)[0] == 0
    few = column.distinct < _FEW_IDS and len(column.present) > 100 * _FEW_IDS
    fractions = column.numeric and not column.integers
    return (sure or bool(words & (ID_WORDS | _NAMES))) and not (column.is_list or few or fractions)


def _no_item(table: Sample) -> str:
    return (
        f"{table.path}: no column is named like an item ({', '.join(ITEM[:6])}, …); found "
        f"{', '.join(table.columns)}. Rename one to item, or write dataset.toml by hand"
    )


def times_of(table: Sample) -> list[str]:
    """Return the columns that hold times from 1980 to 2100."""
    return [name for name, column in table.columns.items() if column.time_unit]


def _time(table: Sample, user: str | None, item: str) -> str:
    """Return the column of the time; one that is constant for each user or item is none."""
    names = [name for name in times_of(table) if name not in {user, item} and not _is_id(name)]
    moving = [n for n in names if table.owner_of(table.columns[n], user, item) is None] or names
    sure = [name for name in moving if words_of(name) in _SURE_TIMES]
    likely = [name for name in moving if rank_of(name, TIME) < UNNAMED]
    for candidates in (moving, sure, likely):
        if len(candidates) == 1:
            return candidates[0]
    if not moving:
        raise InputError(_no_time(table))
    raise InputError(
        f"{table.path}: {' and '.join(moving)} both look like the time of an interaction; "
        f"write {table.path.parent / 'dataset.toml'} by hand with time = the one that was known "
        "when it happened, or remove the others"
    )


def _is_id(name: str) -> bool:
    """Return whether a name is that of an id, whose integers may look like times."""
    own = {*words_of(name)} & ID_WORDS
    return bool(own) or min(rank_of(name, USER), rank_of(name, ITEM))[0] == 0


def _no_time(table: Sample) -> str:
    hinted = named(table.columns, TIME)
    shown = table.columns[hinted[0]].different[:1].to_pylist() if hinted else []
    example = f"; {hinted[0]} holds {shown[0]!r}, which is neither" if shown else ""
    return (
        f"{table.path}: no column holds times from 1980 to 2100 (UNIX time or ISO-8601){example}; "
        "retraining needs time: what a model may know of an interaction follows from when it "
        f"happened. Found {', '.join(table.columns)}"
    )


def _repeats(
    table: Sample, user: str | None, item: str, *, rated: bool, label: LabelRule | None
) -> tuple[Literal["first", "all"], str]:
    if user is None:
        return "all", "there are no users whose interactions could repeat"
    pairs = pd.DataFrame({name: table.columns[name].keys for name in (user, item)})
    share = float(pairs.duplicated().mean())
    repeated = f"{share:.1%} of the rows repeat a user and an item"
    if rated:
        return "first", f"a later rating would leak the first one; {repeated}"
    if label is None or share < _FEWEST_REPEATS:
        return "first", repeated
    return "all", f"{repeated}, as impressions do"

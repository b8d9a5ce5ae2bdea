"""What an entry of the history's table is, and how entries become compiled code.

A history number is one entry, a `HistoryNumber`: its name, whose it is, the columns of state that
it keeps, how a rating changes them, and how the number is read. The entries stand in
`pair_numbers`, `user_numbers` and `item_numbers`; a new number is one more entry there (and a line
in the plain reference of `tests/features/test_history.py`).

The functions of an entry are small and pure. `compose_update` and `compose_read` write one function
that calls those of many entries, a line each, and numba pastes them into it (`inlined`) before it
compiles: no call is left, and neither speed nor a bit of the numbers differs from code written out
by hand. Compiled one by one the functions run as fast, but take five times as long to compile;
chained by closures instead of generated lines, twice as long.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import inlined
from widedeep.features.history.config import HistoryParams

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

Residuals: TypeAlias = NDArray[np.float32] | Floats
"""Sums and counts of residuals, (values, 2)."""

Row: TypeAlias = Any
"""A row of the state as a record: its fields are the columns that the entries keep."""

DAY = 86_400.0
_LN_2 = math.log(2.0)


class Entity(Enum):
    """Whose row of the state a number keeps its columns in; the values are where `Pair` has it."""

    USER = "pair.user"
    ITEM = "pair.item"
    GROUP = "pair.group"
    GLOBAL = "pair.global_"
    PAIR = "pair"


class Pair(NamedTuple):
    """The state of one user and one item.

    Attributes:
        user: The user's row.
        item: The item's row.
        group: The row of the item's ratings by users as active as this one (activity group).
        global_: The row of all ratings.
        user_residuals: The user's residuals by value of an attribute, (values, 2): their sum and
            their count.
        residuals: Those of all users, (values, 2): likewise.
        user_codes: Codes in `user_residuals` of the attributes of all items.
        user_ends: Where those of the item's attributes begin and end, (attributes + 1,).
        codes: Codes in `residuals`, likewise.
        ends: Likewise.
    """

    user: Row
    item: Row
    group: Row
    global_: Row
    user_residuals: NDArray[np.float32]
    residuals: Floats
    user_codes: Codes
    user_ends: Codes
    codes: Codes
    ends: Codes


class Rating(NamedTuple):
    """A rating as it changes the state: compared with the state before its moment.

    Attributes:
        time: UNIX seconds.
        label: 0 or 1.
        value: The rating's value / 10.
        error: The label minus its expectation (a probability).
        from_item_mean: The label minus the mean label of the item.
        from_user_mean: The label minus the mean label of the user.
        item_step: By how much the rating alone would move the item's term, in logits.
        user_count: The user's earlier ratings.
        item_count: The item's earlier ratings.
        user_gap: Days since the user's last rating; 0 without one.
        item_gap: Days since the item's last rating.
        group_gap: Days since the activity group's last rating of the item.
        global_gap: Days since the last rating of all.
    """

    time: int
    label: float
    value: float
    error: float
    from_item_mean: float
    from_user_mean: float
    item_step: float
    user_count: float
    item_count: float
    user_gap: float
    item_gap: float
    group_gap: float
    global_gap: float


class Query(NamedTuple):
    """What the state is read for.

    Attributes:
        time: UNIX seconds.
        known_until: UNIX seconds: the state holds the ratings before this moment.
        user_term: The user's term at `time`, see `terms`.
        item_term: The item's term at `time`.
        expected_logit: The logit that the online model expects of the pair.
        user_gap: Days from the user's last rating to `time`; 0 without one.
        item_gap: Days from the item's last rating.
        group_gap: Days from the activity group's last rating of the item.
        out: Where the numbers are written, float64 of at least (numbers,).
    """

    time: int
    known_until: int
    user_term: float
    item_term: float
    expected_logit: float
    user_gap: float
    item_gap: float
    group_gap: float
    out: Floats


Read = Callable[[Row, Query, HistoryParams], float]
Next = Callable[[Row, Rating, HistoryParams], float]
Update = Callable[[Row, Rating, HistoryParams], None]

Composed = Callable[[Pair, Any, HistoryParams], None]
"""A function that takes a `Rating` or a `Query` through the entries of many numbers."""


@dataclass(frozen=True)
class HistoryNumber:
    """One number that history tells of a user, an item or both.

    The functions get a row (of the entity; for `Entity.PAIR` the whole `Pair`), the rating or the
    query, and the constants, called `u`, `i`, `g` or `pair`, `r` or `q`, and `p`.

    Attributes:
        name: The feature's name.
        entity: Whose row the columns are kept in, and the number is read from.
        about: What the number says.
        read: Returns the number.
        keeps: The columns that it adds to the row, all 0 at first, and for each a function that
            returns its value after a rating. It may read the columns of this entry alone, as those
            of others may be updated already.
        update: Changes state that is no column; run for each rating.
        before_first: Whether a user's or an item's number is read before the first rating of it; it
            is NaN then otherwise. Numbers of other entities are always read.
    """

    name: str
    entity: Entity
    about: str
    read: Read
    keeps: Mapping[str, Next] = field(default_factory=dict)
    update: Update | None = None
    before_first: bool = False


def row_columns(entity: Entity, numbers: Sequence[HistoryNumber]) -> list[str]:
    """Return the columns that `numbers` keep in the rows of `entity`.

    Raises:
        ValueError: Two entries keep a column of the same name.
    """
    columns = [column for number in numbers if number.entity is entity for column in number.keeps]
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"two history numbers keep the column {column!r} of {entity}")
    return columns


def compose_update(numbers: Sequence[HistoryNumber]) -> Composed:
    """Return a function, to be compiled, that takes a rating into the state of the `numbers`."""
    lines: list[str] = []
    functions: dict[str, Callable[..., Any]] = {}
    for number in numbers:
        row = number.entity.value
        for column, following in number.keeps.items():
            step = f"{number.name}__{column}"
            lines.append(f"{row}.{column} = {step}({row}, what, params)")
            functions[step] = following
        if number.update is not None:
            step = f"{number.name}__update"
            lines.append(f"{step}({row}, what, params)")
            functions[step] = number.update
    return _compose(lines, functions)


def compose_read(numbers: Sequence[HistoryNumber], first: int) -> Composed:
    """Return a function, to be compiled, that writes the `numbers` to `query.out` from `first` on.

    Numbers of a user or an item that need a rating of it are left as they are without one.
    """
    always: list[str] = []
    rated: list[str] = []
    for index, number in enumerate(numbers, first):
        row = number.entity.value
        line = f"what.out[{index}] = {number.name}({row}, what, params)"
        needs_rating = number.entity in {Entity.USER, Entity.ITEM} and not number.before_first
        (rated if needs_rating else always).append(line)
    if rated:
        always.append(f"if {numbers[0].entity.value}.count > 0:")
    return _compose(
        [*always, *(f"    {line}" for line in rated)],
        {number.name: number.read for number in numbers},
    )


def _compose(lines: Sequence[str], functions: Mapping[str, Callable[..., Any]]) -> Composed:
    """Return the function of these lines, which call the `functions` by name, to be compiled."""
    source = "\n    ".join(["def composed(pair, what, params):", *lines])
    names: dict[str, Any] = {name: inlined(function) for name, function in functions.items()}
    exec(compile(source, "<history table>", "exec"), names)  # noqa: S102  calls alone, see above
    composed: Composed = names["composed"]
    return composed


@inlined
def decay(gap: float, half_life: float) -> float:
    """Return what is left of a weight after `gap` days."""
    return math.exp(gap / half_life * -_LN_2)


@inlined
def decayed(total: float, gap: float, half_life: float) -> float:
    """Return what is left of a sum after `gap` days without a rating."""
    return total * decay(gap, half_life)


@inlined
def shrunk_mean(total: float, count: float, prior: float, smoothing: float) -> float:
    """Return a mean into which `smoothing` ratings of the prior are mixed."""
    return (total + prior * smoothing) / (count + smoothing)


@inlined
def shrunk_residual(total: float, count: float, smoothing: float) -> float:
    """Return a mean residual into which `smoothing` residuals of 0 are mixed."""
    return total / (count + smoothing)


@inlined
def add_residuals(table: Residuals, codes: Codes, ends: Codes, residual: float) -> None:
    """Add a residual to the sums of the values of all of an item's attributes."""
    for k in range(len(ends) - 1):
        add_residual(table, codes[ends[k] : ends[k + 1]], residual)


@inlined
def add_residual(table: Residuals, codes: Codes, residual: float) -> None:
    """Add a residual to the sums (values, 2) of each of a bag's values."""
    for k in range(len(codes)):
        table[codes[k], 0] += residual
        table[codes[k], 1] += 1.0


@inlined
def mean_residual(table: Residuals, codes: Codes, smoothing: float) -> float:
    """Return the mean residual on a bag's values; NaN if none of them was met before."""
    total, count = 0.0, 0.0
    for k in range(len(codes)):
        total += table[codes[k], 0]
        count += table[codes[k], 1]
    return total / (count + smoothing) if count > 0 else np.nan

"""The state of history at one moment: the arrays, their rows as records, and the remembered items.

The state holds sums and decayed sums only, so an update costs the same however long the history
is. A row of `user`, `item`, `groups` or `global_` is an array of float64; compiled code reads it as
a record whose fields are the columns that the table's entries keep (`USER_ROW` and so on).
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from widedeep.compiled import borrowing, inlined
from widedeep.features.history.config import HistoryParams
from widedeep.features.history.numbers import NUMBERS
from widedeep.features.history.table import Codes, Entity, Floats, Pair, Row, row_columns
from widedeep.inputs import InputError

_COUNTED = ("count", "last_time")
_TERM = ("precision", "weighted_mean", "term_time")
"""A term as `terms` keeps it."""

ACTIVITY_LEVELS = 8
"""Levels of a user's activity, each with a term of the online model."""

MOST_RESIDUAL_BYTES = 16 << 30
"""Memory that the residuals of users on the values of attributes may take."""

ACTIVITY_GROUPS = 4
"""Groups of users by activity, see `activity_group`."""


def _row(entity: Entity, *own: str | tuple[str, type, tuple[int]]) -> np.dtype[np.void]:
    """Return a row's type: `own` columns, then those that the table's entries keep."""
    columns = [*own, *row_columns(entity, NUMBERS)]
    return np.dtype([(c, np.float64) if isinstance(c, str) else c for c in columns])


USER_ROW = _row(Entity.USER, *_COUNTED, *_TERM, "liked", "disliked")
ITEM_ROW = _row(Entity.ITEM, *_COUNTED, *_TERM)
GROUP_ROW = _row(Entity.GROUP, *_COUNTED)
GLOBAL_ROW = _row(Entity.GLOBAL, *_COUNTED, "base", ("activity", np.float64, (ACTIVITY_LEVELS,)))
_USER_BYTES, _ITEM_BYTES = USER_ROW.itemsize, ITEM_ROW.itemsize
_GROUPS_BYTES = ACTIVITY_GROUPS * GROUP_ROW.itemsize


class HistoryState(NamedTuple):
    """The arrays; rows of users and items without ratings are zeros.

    Attributes:
        user: float64 (users, columns of `USER_ROW`).
        item: float64 (items, columns of `ITEM_ROW`).
        groups: float64 (items, ACTIVITY_GROUPS, columns of `GROUP_ROW`): an item's ratings by users
            of an activity group.
        global_: float64 (1, columns of `GLOBAL_ROW`).
        user_residuals: float32 (users, values, 2): sum and count of a user's residuals on each
            value of the attributes.
        residuals: float64 (values, 2): sum and count of all residuals on each value.
        liked: int32 (users, length): ring of the item codes that the user liked, the newest at
            (count - 1) % length.
        disliked: int32 (users, length), likewise.
    """

    user: Floats
    item: Floats
    groups: Floats
    global_: Floats
    user_residuals: NDArray[np.float32]
    residuals: Floats
    liked: NDArray[np.int32]
    disliked: NDArray[np.int32]


class CodedBags(NamedTuple):
    """Some bags of each item: bag k of item i is row r = i · per_item + k.

    Its values are `values[offsets[r]:offsets[r + 1]]`, codes below `size`; those of different
    bags differ. int64.
    """

    values: Codes
    offsets: Codes
    size: int
    per_item: int


class ItemAttributes(NamedTuple):
    """Attributes of the items, on whose values the state counts residuals.

    Attributes:
        by_user: Those on which each user's residuals are counted.
        overall: Those on which the residuals of all users are counted.
    """

    by_user: CodedBags
    overall: CodedBags


class History(NamedTuple):
    """The state at a moment, and all that it takes to update and to read it."""

    state: HistoryState
    attributes: ItemAttributes
    params: HistoryParams


def empty_state(users: int, items: int, attributes: ItemAttributes, length: int) -> HistoryState:
    """Return the state before the first rating; `length` items of each kind are remembered.

    Raises:
        InputError: The residuals of the users on the attributes' values take too much memory.
    """
    _check_size(users, attributes.by_user.size)
    return HistoryState(
        np.zeros((users, _columns(USER_ROW))),
        np.zeros((items, _columns(ITEM_ROW))),
        np.zeros((items, ACTIVITY_GROUPS, _columns(GROUP_ROW))),
        np.zeros((1, _columns(GLOBAL_ROW))),
        np.zeros((users, attributes.by_user.size, 2), np.float32),
        np.zeros((attributes.overall.size, 2)),
        np.zeros((users, length), np.int32),
        np.zeros((users, length), np.int32),
    )


def _check_size(users: int, values: int) -> None:
    size = 8 * users * values
    if size > MOST_RESIDUAL_BYTES:
        raise InputError(
            f"history would keep residuals of {users:,} users on {values:,} values, "
            f"{size >> 30} GiB; expected at most {MOST_RESIDUAL_BYTES >> 30} GiB: name attributes "
            "with fewer values as user_residuals in [model] of dataset.toml"
        )


def _columns(row: np.dtype[np.void]) -> int:
    return row.itemsize // 8


@inlined
def user_row(state: HistoryState, user: int) -> Row:
    """Return the row of a user code as a record, which changes with the state."""
    return state.user[user].view(USER_ROW)[0]


@inlined
def pair_of(history: History, user: int, item: int, user_count: float) -> Pair:
    """Return the rows of a user and an item code; `user_count` decides on the activity group."""
    state, by_user, overall = history.state, history.attributes.by_user, history.attributes.overall
    first, start = item * by_user.per_item, item * overall.per_item
    return Pair(
        user=user_row(state, user),
        item=state.item[item].view(ITEM_ROW)[0],
        group=state.groups[item, activity_group(user_count)].view(GROUP_ROW)[0],
        global_=state.global_[0].view(GLOBAL_ROW)[0],
        user_residuals=state.user_residuals[user],
        residuals=state.residuals,
        user_codes=by_user.values,
        user_ends=by_user.offsets[first : first + by_user.per_item + 1],
        codes=overall.values,
        ends=overall.offsets[start : start + overall.per_item + 1],
    )


@inlined
def activity_group(count: float) -> int:
    """Return a user's group by the ratings so far: none, 1 or 2, 3 to 9, 10 and more."""
    if count < 1:
        return 0
    if count < 3:  # noqa: PLR2004
        return 1
    return 2 if count < 10 else 3  # noqa: PLR2004


@inlined
def remember(ring: NDArray[np.int32], count: float, item: int) -> None:
    """Write the item that follows `count` others to a user's ring (length,)."""
    ring[int(count) % len(ring)] = item


@inlined
def newest_first(ring: NDArray[np.int32], count: float, out: NDArray[np.int32]) -> int:
    """Copy the ring (m,) of a user to `out` (k,), the newest of its `count` items first.

    Returns how many were copied: at most m, k and `count`.
    """
    length = min(int(count), len(ring), len(out))
    position = int(count) % len(ring)
    for j in range(length):
        position = (position if position > 0 else len(ring)) - 1
        out[j] = ring[position]
    return length


@borrowing
def prefetch(state: HistoryState, user: int, item: int) -> None:
    """Have the rows of a user and an item fetched from memory: most of an update is waiting."""
    _prefetch_row(state.user.ctypes.data, user, _USER_BYTES)
    _prefetch_row(state.item.ctypes.data, item, _ITEM_BYTES)
    _prefetch_row(state.groups.ctypes.data, item, _GROUPS_BYTES)
    _prefetch_row(state.user_residuals.ctypes.data, user, 8 * state.user_residuals.shape[1])
    _prefetch_row(state.liked.ctypes.data, user, 4 * state.liked.shape[1])
    _prefetch_row(state.disliked.ctypes.data, user, 4 * state.disliked.shape[1])


_CACHE_LINE = 64
"""Bytes that the processor fetches at once."""

_READ, _KEEP, _DATA = 0, 3, 1
"""Arguments of llvm.prefetch: for reading; to be kept in all caches; data, not instructions."""


@intrinsic
def _prefetch_line(_: Any, address: Any) -> Any:  # noqa: ANN401  numba's own types
    """Fetch the cache line of an address; compiled code calls it with that alone."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:  # noqa: ANN401
        pointer = builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(8)))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        hints = [ir.Constant(number, hint) for hint in (_READ, _KEEP, _DATA)]
        builder.call(function, [pointer, *hints])
        return context.get_dummy_value()

    return types.void(address), generate


@inlined
def _prefetch_row(address: int, row: int, size: int) -> None:
    """Fetch a row of `size` bytes of the array at `address`."""
    begin = address + row * size
    for line in range(begin, begin + size, _CACHE_LINE):
        _prefetch_line(line)  # type: ignore[call-arg]

"""Split interactions into the first one of each (user, item) and the later ones."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Positions = NDArray[np.int64]


def split_repeats(
    good: pa.Table, files: Sequence[str], *, first_only: bool
) -> tuple[pa.Table, pa.Table]:
    """Split interactions into the first one of each (user, item) and the later ones.

    Of several interactions of a pair at the same time, the one on the first line of the first file
    is the first; otherwise the order of lines has no influence.

    Args:
        good: user, item, time int64, label, value, line int64, part int32 (the number of the file),
            and features, in the order of `part` and `line`.
        files: The name of each part.
        first_only: Whether later interactions of a pair are superseded; otherwise none is.

    Returns:
        The examples, sorted by time, user and item. And the superseded interactions: user, item,
        value, time, `file` string, `line` int64 and `reason` string, sorted by time, user, item,
        file and line.
    """
    user, item, time = (good[name].to_numpy() for name in ("user", "item", "time"))
    names = pa.array(files, pa.string())
    if not first_only:
        by_time = np.lexsort((item, user, time))
        later = first_of_later = np.empty(0, np.int64)
    else:
        order, starts = _group_pairs(user, item, time)
        first, later = order[starts], order[~starts]
        first_of_later = first[np.cumsum(starts)[~starts] - 1]
        in_time = np.argsort(time[later], kind="stable")
        later, first_of_later = later[in_time], first_of_later[in_time]
        by_time = _by_time(first, time)
    examples = good.drop_columns(["line", "part"]).take(pa.array(by_time))
    superseded = good.select(["user", "item", "value", "time", "line", "part"]).take(
        pa.array(later)
    )
    reasons = _reasons(good.take(pa.array(first_of_later)), superseded, names)
    file_position = superseded.column_names.index("line")
    return examples, (
        superseded.add_column(file_position, "file", names.take(superseded["part"]))
        .drop_columns("part")
        .append_column("reason", reasons)
    )


def first_rows(user: Positions, item: Positions, time: Positions) -> Positions:
    """Return the rows of the first interaction of each (user, item), sorted by time, user and item.

    Of several interactions of a pair at the same time, the one in the first row is the first.

    Args:
        user: (n,) int64 ids.
        item: (n,) int64 ids.
        time: (n,) int64, UNIX seconds.

    Returns:
        (pairs,) int64.
    """
    order, starts = _group_pairs(user, item, time)
    return _by_time(order[starts], time)


def _by_time(rows: Positions, time: Positions) -> Positions:
    """Return `rows` sorted by their time; rows of the same time stay in their order."""
    return rows[np.argsort(time[rows], kind="stable")]


def _group_pairs(
    user: Positions, item: Positions, time: Positions
) -> tuple[Positions, NDArray[np.bool_]]:
    """Return the rows sorted by user, item, time and row, and where each pair begins; (n,) each.

    Only the few repeated pairs are sorted by time: a file in the order of users, like KMRD's, then
    costs next to nothing.
    """
    pair = _pair_codes(user, item)
    order = np.argsort(pair, kind="stable")
    same = np.diff(pair[order]) == 0
    repeated = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[repeated]
    order[repeated] = rows[np.lexsort((time[rows], pair[rows]))]
    return order, np.diff(pair[order], prepend=-1) != 0


def _pair_codes(user: Positions, item: Positions) -> Positions:
    """Return a number for each (user, item), (n,), in the order of user and then item."""
    user_codes, _ = pd.factorize(user, sort=True)
    item_codes, items = pd.factorize(item, sort=True)
    pairs: Positions = user_codes * len(items) + item_codes
    return pairs


def _reasons(first: pa.Table, later: pa.Table, names: pa.StringArray) -> pa.ChunkedArray:
    """Return how each `later` interaction differs from the `first` one of its pair, (n,) string."""
    line, old, new = (
        column.cast(pa.string()) for column in (first["line"], first["value"], later["value"])
    )
    in_other_file = _join(line, " of ", names.take(first["part"]))
    line = pc.if_else(pc.equal(first["part"], later["part"]), line, in_other_file)
    same_time = pc.equal(first["time"], later["time"])
    repeat = _join(pc.if_else(same_time, "exact duplicate of line ", "repeats line "), line)
    conflict = _join("conflicts with line ", line, ": value ", old, " then, ", new, " now")
    return pc.if_else(pc.equal(first["value"], later["value"]), repeat, conflict)


def _join(*parts: str | pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*parts, "")

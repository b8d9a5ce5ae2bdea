"""Repeated ratings: the first one of each (user, movie) is the example, later ones are superseded.

A second rating of the same pair on both sides of a split by time would hand over its label, and
a conflicting one would contradict it. Measured on KMRD-small: 6,379 of 140,710 ratings repeat a
pair, 2,074 of them with another rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FirstRatings:
    """All ratings, told apart.

    Attributes:
        examples: user, movie int64, rate int8, time int64 (UNIX seconds), sorted by time, user and
            movie; no pair twice.
        superseded: The same columns, `file` string, `line` int64 and `reason` string, sorted by
            time, user, movie, file and line.
    """

    examples: pa.Table
    superseded: pa.Table


def first_ratings(ratings: pa.Table, files: Sequence[str]) -> FirstRatings:
    """Tell first ratings from later ones.

    Of several ratings of one pair at one time the one on the first line of the first file counts as
    the first; otherwise the order of lines has no say.

    Args:
        ratings: user, movie int64, rate int8, time int64, line int64, part int16 (the number of the
            file), in the order of `part` and `line`.
        files: Name of each part.
    """
    time = ratings["time"].to_numpy()
    order, starts = _grouped(ratings["user"].to_numpy(), ratings["movie"].to_numpy(), time)
    first, later = order[starts], order[~starts]
    partner = first[np.cumsum(starts)[~starts] - 1]
    in_time = np.argsort(time[later], kind="stable")
    later, partner = later[in_time], partner[in_time]
    examples = _in_time(first, time)
    names = pa.array(files, pa.string())
    superseded = ratings.take(pa.array(later))
    place = ratings.column_names.index("line")
    reasons = _reasons(ratings.take(pa.array(partner)), superseded, names)
    return FirstRatings(
        ratings.drop_columns(["line", "part"]).take(pa.array(examples)),
        superseded.add_column(place, "file", names.take(superseded["part"]))
        .drop_columns("part")
        .append_column("reason", reasons),
    )


def example_rows(user: Positions, movie: Positions, time: Positions) -> Positions:
    """The rows of the first ratings, sorted by time, user and movie; the columns are (n,) each.

    Of several of one pair at one time the one that stands first counts as the first.
    """
    order, starts = _grouped(user, movie, time)
    return _in_time(order[starts], time)


def _in_time(rows: Positions, time: Positions) -> Positions:
    """Rows in the order of their time, else as they are."""
    return rows[np.argsort(time[rows], kind="stable")]


def _grouped(
    user: Positions, movie: Positions, time: Positions
) -> tuple[Positions, NDArray[np.bool_]]:
    """The rows by user, movie, time and place, and where among them each pair begins; (n,) each.

    Sorting by time is left to the few pairs that are repeated: a file that is ordered by user, as
    KMRD's is, then costs next to nothing.
    """
    pair = _pairs(user, movie)
    order = np.argsort(pair, kind="stable")
    same = np.diff(pair[order]) == 0
    repeated = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[repeated]
    order[repeated] = rows[np.lexsort((time[rows], pair[rows]))]
    return order, np.diff(pair[order], prepend=-1) != 0


def _pairs(user: Positions, movie: Positions) -> Positions:
    """One number for each (user, movie), shape (n,), in the order of user and then movie."""
    users, _ = pd.factorize(user, sort=True)
    movies, distinct = pd.factorize(movie, sort=True)
    pairs: Positions = users * len(distinct) + movies
    return pairs


def _reasons(then: pa.Table, now: pa.Table, names: pa.StringArray) -> pa.ChunkedArray:
    """How each rating `now` differs from the first one of its pair, shape (n,)."""
    line, old, new = (
        column.cast(pa.string()) for column in (then["line"], then["rate"], now["rate"])
    )
    elsewhere = _text(line, " of ", names.take(then["part"]))
    line = pc.if_else(pc.equal(then["part"], now["part"]), line, elsewhere)
    same_time = pc.equal(then["time"], now["time"])
    repeat = _text(pc.if_else(same_time, "exact duplicate of line ", "repeats line "), line)
    conflict = _text("conflicts with line ", line, ": rate ", old, " then, ", new, " now")
    return pc.if_else(pc.equal(then["rate"], now["rate"]), repeat, conflict)


def _text(*parts: str | pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*parts, "")

"""Sampled negatives, for logs that hold positives only.

For each positive some items are drawn that the user had not met by then: by popularity, among the
interactions that happened strictly earlier, so only items that existed then can be drawn. Such a
row is an example of label 0 and nothing else: it did not happen, so history does not count it.

Draws depend on the row alone (its user, item and time), so a later export that adds interactions
leaves the negatives of earlier ones as they were.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TRIES = 8
"""Draws for one negative before it is given up: each may hit an item that the user has met."""

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


def sample_negatives(positives: pa.Table, per_positive: int) -> pa.Table:
    """Return the positives and their sampled negatives, with `sampled` (bool) as a further column.

    A negative has the time, the weight and the context of its positive.

    Args:
        positives: user, item, time (int64), label, value and other columns, sorted by time, user
            and item.
        per_positive: How many negatives are drawn for each positive; fewer for the very first
            ones, before which too little happened.
    """
    user, item, time = (positives[name].to_numpy() for name in ("user", "item", "time"))
    log = _Log.from_columns(user, item, time)
    draws = [log.draw(number) for number in range(per_positive)]
    rows, items = (np.concatenate(part) for part in zip(*draws, strict=True))
    negatives = positives.take(pa.array(rows))
    replaced = {
        "item": pa.array(items),
        "label": pa.array(np.zeros(len(rows), np.bool_)),
        "value": pa.array(np.zeros(len(rows), np.float32)),
    }
    for name, column in replaced.items():
        negatives = negatives.set_column(negatives.column_names.index(name), name, column)
    both = pa.concat_tables(
        [
            positives.append_column("sampled", pa.array(np.zeros(len(positives), np.bool_))),
            negatives.append_column("sampled", pa.array(np.ones(len(rows), np.bool_))),
        ]
    )
    columns = [both[name].to_numpy() for name in ("item", "user", "time")]
    return both.take(pa.array(np.lexsort(columns)))


@dataclass(frozen=True, slots=True)
class _Log:
    """Positives in order of time, and when each user met each item first.

    Attributes:
        user: (n,) keys.
        item: (n,) keys.
        time: (n,) UNIX seconds, ascending.
        pair: (n,) numbers of a (user, item); those of one user are in the order of `item_code`.
        item_code: (n,) dense numbers of the items.
        met: (p,) the distinct pairs, ascending.
        met_at: (p,) when each was met first.
    """

    user: Ints
    item: Ints
    time: Ints
    pair: Ints
    item_code: Ints
    met: Ints
    met_at: Ints

    @classmethod
    def from_columns(cls, user: Ints, item: Ints, time: Ints) -> "_Log":
        """Number the pairs of rows that are sorted by time."""
        items, item_code = np.unique(item, return_inverse=True)
        _, user_code = np.unique(user, return_inverse=True)
        pair = user_code * len(items) + item_code
        met, first = np.unique(pair, return_index=True)
        return cls(user, item, time, pair, item_code, met, time[first])

    def draw(self, number: int) -> tuple[Ints, Ints]:
        """Return rows of positives and the item drawn for each, as their negative of that number.

        A row is absent if all draws hit items that its user had met.
        """
        earlier = np.searchsorted(self.time, self.time)
        rows = np.flatnonzero(earlier > 0)
        draws: list[tuple[Ints, Ints]] = [(rows[:0], rows[:0])]
        for attempt in range(_TRIES):
            seed = np.uint64(number * _TRIES + attempt)
            words = _mix(self.user[rows], self.item[rows], self.time[rows], seed)
            drawn = (words % earlier[rows].astype(np.uint64)).astype(np.int64)
            is_new = ~self._had_met(rows, drawn)
            draws.append((rows[is_new], self.item[drawn[is_new]]))
            rows = rows[~is_new]
        kept_rows, kept_items = zip(*draws, strict=True)
        return np.concatenate(kept_rows), np.concatenate(kept_items)

    def _had_met(self, rows: Ints, drawn: Ints) -> NDArray[np.bool_]:
        """Return whether the users of `rows` had met the items of the rows `drawn` by then."""
        pairs = self.pair[rows] - self.item_code[rows] + self.item_code[drawn]
        place = np.minimum(np.searchsorted(self.met, pairs), len(self.met) - 1)
        had_met: NDArray[np.bool_] = self.met[place] == pairs
        return had_met & (self.met_at[place] <= self.time[rows])


def _mix(user: Ints, item: Ints, time: Ints, seed: np.uint64) -> Words:
    """Return well-mixed words of three numbers and a seed (SplitMix64, Steele et al. 2014)."""
    word = np.full(len(user), seed, np.uint64)
    for column in (user, item, time):
        word = (word ^ column.view(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word ^= word >> np.uint64(31)
    return word

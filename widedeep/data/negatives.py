"""Sampled negatives, for logs that hold positives only.

For each positive some items are drawn that the user was not seen with: by popularity, among the
interactions that happened strictly earlier, so only items that existed then can be drawn. Such a
row is an example of label 0 and nothing else: it did not happen, so history does not count it.

Draws depend on the row alone (its user, item and time), so a later export that adds interactions
leaves the negatives of earlier ones as they were.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TRIES = 8
"""Draws for one negative before it is given up: each may hit the positive's own item."""

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
    label = positives["label"].to_numpy()
    earlier = np.searchsorted(time, time)
    owners, drawn = [], []
    for number in range(per_positive):
        rows, items = _draw(number, user, item, time, earlier)
        keep = label[rows]
        owners.append(rows[keep])
        drawn.append(items[keep])
    rows, items = np.concatenate(owners), np.concatenate(drawn)
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


def _draw(number: int, user: Ints, item: Ints, time: Ints, earlier: Ints) -> tuple[Ints, Ints]:
    """Return rows of positives and the item drawn for each, as their negative of that number.

    `earlier` is the number of interactions strictly before each row.
    """
    rows = np.flatnonzero(earlier > 0)
    items = np.empty(0, np.int64)
    found_rows, found_items = [], []
    for attempt in range(_TRIES):
        if not len(rows):
            break
        seed = np.uint64(number * _TRIES + attempt)
        words = _mix(user[rows], item[rows], time[rows], seed)
        items = item[(words % earlier[rows].astype(np.uint64)).astype(np.int64)]
        other = items != item[rows]
        found_rows.append(rows[other])
        found_items.append(items[other])
        rows = rows[~other]
    if not found_rows:
        return rows, items
    return np.concatenate(found_rows), np.concatenate(found_items)


def _mix(user: Ints, item: Ints, time: Ints, seed: np.uint64) -> Words:
    """Return well-mixed words of three numbers and a seed (SplitMix64, Steele et al. 2014)."""
    word = np.full(len(user), seed, np.uint64)
    for column in (user, item, time):
        word = (word ^ column.view(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word ^= word >> np.uint64(31)
    return word

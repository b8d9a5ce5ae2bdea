"""The best of a row of scores, and one list out of several.

Reciprocal rank fusion: Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet
and individual rank learning methods" (2009).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from widedeep.serving.weighted_lists import Ints, Scores


def best(scores: Scores, allowed: NDArray[np.bool_], limit: int) -> Ints:
    """The allowed rows of the highest scores above 0, best first, the lower row first of equals.

    `scores` and `allowed` are (m,); at most `limit` rows.
    """
    rows = np.flatnonzero(allowed & (scores > 0))
    values = scores[rows]
    if len(rows) > limit:
        least = np.partition(values, len(rows) - limit)[len(rows) - limit]
        rows, values = rows[values >= least], values[values >= least]
    order: Ints = rows[np.argsort(-values, kind="stable")[:limit]]
    return order


def fused(
    lists: Mapping[str, Ints], weights: Mapping[str, float], constant: float, limit: int, count: int
) -> tuple[Ints, NDArray[np.float64]]:
    """The best `limit` rows of some ranked lists, best first, and what each list gave to each.

    A row (of `count`) at place i (from 0) of a list gets the list's weight / (constant + 1 + i)
    from it; the lower row first of equals. The shares are of shape (lists, rows).
    """
    shares = np.zeros((len(lists), count))
    for share, (name, own) in zip(shares, lists.items(), strict=True):
        share[own] = weights[name] / (constant + 1 + np.arange(len(own)))
    rows = best(shares.sum(axis=0), np.ones(count, np.bool_), limit)
    return rows, shares[:, rows]


def speakers(names: Sequence[str], shares: NDArray[np.float64]) -> list[tuple[str, ...]]:
    """Of each row the lists that gave it something, who gave most first; see `fused`."""
    order = np.argsort(-shares, axis=0, kind="stable").T.tolist()
    counts = np.count_nonzero(shares, axis=0).tolist()
    return [
        tuple(names[i] for i in by_share[:n]) for by_share, n in zip(order, counts, strict=True)
    ]

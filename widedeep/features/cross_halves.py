"""Crosses as they are counted: all parts but the last as one, and the last.

Liked and rated movies make ten million combinations in a million rows: sorting them took most of
the time of the whole feature stage. Here the rows are put in order of their last id, and the
combinations of one last id are counted where the counters stay in the processor's cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.features.cross_keys import Keys, check_room, combine
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import Counts


@dataclass(frozen=True, slots=True)
class Halves:
    """Rows of a cross: `first` are ids (of several parts: keys), `last` ids; 0 is unknown."""

    first: Ragged
    last: Ragged

    @classmethod
    def of(cls, parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Self:
        """Of the parts' ids, each below its entry in `sizes`.

        Raises:
            InputError: 64 bits have no room for the keys.
        """
        check_room(sizes)
        two = len(parts) == 2  # noqa: PLR2004
        return cls(parts[0] if two else combine(parts[:-1], sizes[:-1]), parts[-1])

    @classmethod
    def drained(cls, parts: list[Self]) -> Self:
        """The rows of all parts, one after another; the list is emptied (see `Ragged.drained`)."""
        first, last = [part.first for part in parts], [part.last for part in parts]
        parts.clear()
        return cls(Ragged.drained(first), Ragged.drained(last))

    @property
    def combinations(self) -> int:
        """How many there are in all rows, those of unknown ids and repeats included."""
        return int((self.first.lengths * self.last.lengths).sum())

    def share(self, which: int, shares: int) -> "Halves":
        """The combinations whose last id is `which` modulo `shares`, in the rows that have some."""
        given = (self.first.values, self.first.offsets, self.last.values, self.last.offsets)
        first, first_lengths, last, last_lengths = _share(*given, which, shares)
        return Halves(
            Ragged.from_lengths(first, first_lengths), Ragged.from_lengths(last, last_lengths)
        )

    def count(self, sizes: tuple[int, ...], minimum_support: int) -> Counts:
        """The keys of combinations that stand in `minimum_support` rows, and in how many."""
        ids, keys = self.first.values, np.arange(sizes[0])
        if len(sizes) > 2:  # noqa: PLR2004
            met, codes = np.unique(ids, return_inverse=True)
            ids, keys = codes + 1, np.concatenate([[0], met])
        rows, begin = _by_id(self.last.values, self.last.offsets, sizes[-1])
        most = self.combinations // minimum_support
        found, support = np.empty((2, most), np.int64), np.empty(most, np.int64)
        by_last = (self.first.offsets, rows, begin)
        kept = _count(ids, *by_last, minimum_support, len(keys), found, support)
        return keys[found[0, :kept]] * sizes[-1] + found[1, :kept], support[:kept]


@njit(cache=True, nogil=True)
def _share(  # noqa: PLR0917  compiled code takes no keywords
    first: NDArray[Any],
    first_offsets: Keys,
    last: NDArray[Any],
    last_offsets: Keys,
    which: int,
    shares: int,
) -> tuple[NDArray[Any], Keys, NDArray[Any], Keys]:
    """See `Halves.share`: values and lengths of the rows of both halves."""
    rows, many, few = 0, 0, 0
    for row in range(len(last_offsets) - 1):
        kept = 0
        for id_ in last[last_offsets[row] : last_offsets[row + 1]]:
            kept += id_ % shares == which
        if kept:
            rows += 1
            few += kept
            many += first_offsets[row + 1] - first_offsets[row]
    firsts, lasts = np.empty(many, first.dtype), np.empty(few, last.dtype)
    lengths = np.empty((2, rows), np.int64)
    rows, many, few = 0, 0, 0
    for row in range(len(last_offsets) - 1):
        before = few
        for id_ in last[last_offsets[row] : last_offsets[row + 1]]:
            if id_ % shares == which:
                lasts[few] = id_
                few += 1
        if few > before:
            begin, end = first_offsets[row], first_offsets[row + 1]
            for place in range(begin, end):
                firsts[many + place - begin] = first[place]
            many += end - begin
            lengths[0, rows], lengths[1, rows] = end - begin, few - before
            rows += 1
    return firsts, lengths[0], lasts, lengths[1]


@njit(cache=True, nogil=True)
def _by_id(values: NDArray[Any], offsets: Keys, size: int) -> tuple[Keys, Keys]:
    """Rows in order of the ids that stand in them, and where those of each id begin."""
    begin = np.zeros(size + 1, np.int64)
    for id_ in values:
        begin[id_ + 1] += 1
    begin = np.cumsum(begin)
    filled, rows = begin[:-1].copy(), np.empty(len(values), np.int64)
    for row in range(len(offsets) - 1):
        for id_ in values[offsets[row] : offsets[row + 1]]:
            rows[filled[id_]] = row
            filled[id_] += 1
    return rows, begin


@njit(cache=True, nogil=True)
def _count(  # noqa: PLR0917  compiled code takes no keywords
    ids: NDArray[Any],
    offsets: Keys,
    rows: Keys,
    begin: Keys,
    minimum_support: int,
    size: int,
    found: Keys,
    support: Keys,
) -> int:
    """Count the ids (below `size`) of rows by their last id, one such group after the other.

    A counter for each id that can stand first then stays in the processor's cache. `rows` are in
    order of their last id, those of id i from `begin[i]` on. Fills `found` (first and last id) and
    `support`; returns how many.
    """
    counts, met = np.zeros(size, np.int64), np.empty(size, np.int64)
    kept = 0
    for last in range(1, len(begin) - 1):
        different = 0
        for place in range(begin[last], begin[last + 1]):
            row = rows[place]
            for j in range(offsets[row], offsets[row + 1]):
                if counts[ids[j]] == 0:
                    met[different] = ids[j]
                    different += 1
                counts[ids[j]] += 1
        for i in range(different):
            id_ = met[i]
            if id_ > 0 and counts[id_] >= minimum_support:
                found[0, kept], found[1, kept], support[kept] = id_, last, counts[id_]
                kept += 1
            counts[id_] = 0
    return kept

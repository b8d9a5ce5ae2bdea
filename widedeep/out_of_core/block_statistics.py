"""Statistics of values that lie in blocks, exact and independent of how the blocks are cut.

- `RunningCounts` adds up how often distinct ids or keys occur.
- `RankSample`, `RankBrackets` and `BracketCounts` find the value at a rank in two passes. The first
  pass samples each block: every step-th of its values in order. Together the samples tell between
  which two values each rank's value lies; at most 2 / `SAMPLED` of all values (ties aside) lie
  there. The second pass counts those and finds the value.
- `share_of_cross` and `concatenate_crosses` gather the combinations of a cross share by share, all
  rows of a share at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.features.crosses import CrossCounter
from widedeep.features.quantiles import sorted_finite
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import Counts, count_distinct

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLED = 8000
"""About this many values of a block are in its sample; all values of a smaller block."""


class RunningCounts:
    """Counts of distinct ids or keys, added up block by block.

    The parts are merged whenever more has been added than the merged part holds, so memory stays
    near the size of the result and each part is merged only a few times.
    """

    def __init__(self) -> None:
        self._parts: list[Counts] = []
        self._merged = 0

    def add(self, ids: NDArray[Any], counts: Ints) -> None:
        """Count each of the distinct `ids` (n,) `counts` (n,) times more."""
        self._parts.append((ids, counts))
        if sum(len(part) for part, _ in self._parts) > 2 * self._merged:
            self._merged = len(self.total()[0])

    def total(self) -> Counts:
        """Return the distinct ids of all parts and their counts; something must have been added."""
        if len(self._parts) > 1:
            columns = zip(*self._parts, strict=True)
            self._parts = [count_distinct(*(np.concatenate(column) for column in columns))]
        return self._parts[0]


@dataclass(frozen=True, slots=True)
class RankSample:
    """Of `count` finite values in order: the first, each `step`-th later one, and the last."""

    values: Floats
    step: int
    count: int

    @classmethod
    def from_values(cls, values: NDArray[np.floating]) -> Self:
        """Sample the `values` (n,) of a block; those that are not finite are left out."""
        finite = sorted_finite(values)
        step = max(len(finite) // SAMPLED, 1)
        positions = np.union1d(np.arange(0, len(finite), step), [len(finite) - 1][: len(finite)])
        return cls(finite[positions.astype(np.int64)], step, len(finite))

    def rank_bounds(self) -> tuple[Ints, Ints]:
        """Return what each sampled value adds to the bounds of a rank in the block.

        int64 (len(values),) both. Summed over the sampled values less than x, the first bounds from
        above how many values of the block are less than x. Summed over those not greater than x,
        the second bounds from below how many values of the block are not greater than x.
        """
        most = np.minimum(np.arange(len(self.values) + 1) * self.step, self.count)
        least = np.concatenate([[0], most[:-1] + 1])[: len(most)]
        least[-1:] = self.count
        return np.diff(most), np.diff(least)


@dataclass(frozen=True, slots=True)
class RankBrackets:
    """For each of the `ranks` (m,), from 0, the two values between which that rank's value lies."""

    ranks: Ints
    low: Floats
    high: Floats

    @classmethod
    def from_samples(cls, ranks: Ints, samples: Sequence[RankSample]) -> Self:
        """Bracket the `ranks` (m,) as narrowly as the samples of all blocks allow."""
        sampled = np.concatenate([sample.values for sample in samples])
        bounds = zip(*(sample.rank_bounds() for sample in samples), strict=True)
        most, least = (np.concatenate(bound) for bound in bounds)
        order = np.argsort(sampled)
        values, first = np.unique(sampled[order], return_index=True)
        below = np.concatenate([[0], np.cumsum(most[order])])[first]
        up_to = np.concatenate([np.cumsum(least[order])[first[1:] - 1], [least.sum()]])
        low = values[np.searchsorted(below, ranks, side="right") - 1]
        return cls(ranks, low, values[np.searchsorted(up_to, ranks, side="right")])

    def count(self, values: NDArray[np.floating]) -> "BracketCounts":
        """Count the `values` (n,) of a block below each bracket and within it."""
        finite = sorted_finite(values)
        begin = np.searchsorted(finite, self.low)
        end = np.searchsorted(finite, self.high, side="right")
        spans = zip(begin.tolist(), end.tolist(), strict=True)
        within = [np.unique(finite[first:last], return_counts=True) for first, last in spans]
        return BracketCounts(begin, within)

    def values(self, blocks: Sequence["BracketCounts"]) -> Floats:
        """Return the value at each rank, (m,), from the counts of all blocks."""
        ranks = self.ranks - np.sum([block.below for block in blocks], axis=0)
        return np.array([_value_at(i, rank, blocks) for i, rank in enumerate(ranks.tolist())])


@dataclass(frozen=True, slots=True)
class BracketCounts:
    """Values of a block: how many lie `below` each bracket (m,), and which lie `within` it.

    `within` has the distinct values and their counts, by bracket.
    """

    below: Ints
    within: list[tuple[Floats, Ints]]


def _value_at(bracket: int, rank: int, blocks: Sequence[BracketCounts]) -> float:
    """Return the value at `rank` among those within one bracket."""
    values = np.concatenate([block.within[bracket][0] for block in blocks])
    counts = np.concatenate([block.within[bracket][1] for block in blocks])
    order = np.argsort(values, kind="stable")
    return float(values[order][np.searchsorted(np.cumsum(counts[order]), rank, side="right")])


def share_of_cross(cross: CrossCounter, share: int, shares: int) -> CrossCounter:
    """Return the combinations whose last code is `share` modulo `shares`.

    Rows without such a combination are left out. The counts of all shares add up to those of the
    whole.
    """
    arrays = (cross.first.values, cross.first.offsets, cross.last.values, cross.last.offsets)
    first, first_lengths, last, last_lengths = _share(*arrays, share, shares)
    return CrossCounter(
        Ragged.from_lengths(first, first_lengths), Ragged.from_lengths(last, last_lengths)
    )


def concatenate_crosses(parts: list[CrossCounter]) -> CrossCounter:
    """Return the rows of all parts, one part after another; the list is emptied on the way."""
    first, last = [part.first for part in parts], [part.last for part in parts]
    parts.clear()
    return CrossCounter(Ragged.concatenate_and_clear(first), Ragged.concatenate_and_clear(last))


@compiled
def _share(  # noqa: PLR0917  compiled code takes no keywords
    first: NDArray[Any],
    first_offsets: Ints,
    last: NDArray[Any],
    last_offsets: Ints,
    share: int,
    shares: int,
) -> tuple[NDArray[Any], Ints, NDArray[Any], Ints]:
    """Return values and lengths of the rows of both sides, see `share_of_cross`."""
    rows, firsts, lasts = 0, 0, 0
    for row in range(len(last_offsets) - 1):
        matching = 0
        for code in last[last_offsets[row] : last_offsets[row + 1]]:
            matching += code % shares == share
        if matching:
            rows += 1
            lasts += matching
            firsts += first_offsets[row + 1] - first_offsets[row]
    first_out, last_out = np.empty(firsts, first.dtype), np.empty(lasts, last.dtype)
    lengths = np.empty((2, rows), np.int64)
    rows, firsts, lasts = 0, 0, 0
    for row in range(len(last_offsets) - 1):
        before = lasts
        for code in last[last_offsets[row] : last_offsets[row + 1]]:
            if code % shares == share:
                last_out[lasts] = code
                lasts += 1
        if lasts > before:
            begin, end = first_offsets[row], first_offsets[row + 1]
            for position in range(begin, end):
                first_out[firsts + position - begin] = first[position]
            firsts += end - begin
            lengths[0, rows], lengths[1, rows] = end - begin, lasts - before
            rows += 1
    return first_out, lengths[0], last_out, lengths[1]

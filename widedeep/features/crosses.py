"""Cross-product features: φ(x) = 1 where all of their parts are present (paper, equation 1).

A cross is keyed by the tuple of its parts' vocabulary ids, packed exactly into one integer, never
by joined text. Parts may be bags: a row then fires every combination it holds. A combination that
has an unknown part, or was seen too rarely, fires nothing.

Liked and rated items make ten million combinations in a million rows, so they are looked up where
they stand, by compiled code: looking each up among all took seconds.

Keys of combinations: the tuple of their parts' vocabulary ids, packed into one integer.

Exact and reversible, never a joined text.

Crosses as they are counted: all parts but the last as one, and the last.

Liked and rated items make ten million combinations in a million rows: sorting them took most of
the time of the whole feature stage. Here the rows are put in order of their last id, and the
combinations of one last id are counted where the counters stay in the processor's cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import Counts
from widedeep.inputs import InputError

LARGEST_KEY = 2**63 - 1
Keys = NDArray[np.int64]


def combine_ids(parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Ragged:
    """Every combination of the parts' ids in each row, as packed keys (int64).

    `parts` hold ids ≥ 1 (0, the unknown, combines with nothing), each below its entry in `sizes`.
    The order within a row follows the parts' own order, so it does not depend on ids.
    """
    check_key_space(sizes)
    known = _known(parts[0])
    combined = known.replace(known.values.astype(np.int64))
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        combined = _pair(combined, _known(part), size)
    return combined


def pack_keys(parts: Sequence[NDArray[Any]], sizes: tuple[int, ...]) -> Keys:
    """The key of each tuple of ids: mixed-radix digits, exact and reversible."""
    check_key_space(sizes)
    keys = parts[0].astype(np.int64)
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        keys = keys * size + part
    return keys


def unpack_keys(keys: Keys, sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """The reverse of `pack_keys`."""
    parts = []
    for size in sizes[:0:-1]:
        keys, part = np.divmod(keys, size)
        parts.append(part)
    return [keys, *reversed(parts)]


def check_key_space(sizes: tuple[int, ...]) -> None:
    """Raise InputError if 64 bits have no room for the keys of parts of these vocabularies."""
    room = 1
    for size in sizes:
        room *= size
    if room > LARGEST_KEY:
        raise InputError(
            f"a cross of vocabularies of {sizes} ids has {room} combinations, more than "
            f"{LARGEST_KEY}: raise a minimum count or cross fewer features"
        )


def _pair(left: Ragged, right: Ragged, size: int) -> Ragged:
    """All of `left` with all of `right` in each row."""
    lengths = left.lengths * right.lengths
    repeats = np.repeat(right.lengths, left.lengths)
    first = np.repeat(left.values, repeats)
    start = np.repeat(np.repeat(right.offsets[:-1], left.lengths), repeats)
    begin = np.repeat(np.cumsum(repeats) - repeats, repeats)
    second = right.values[start + np.arange(len(first)) - begin]
    return Ragged.from_lengths(first * size + second, lengths)


def _known(part: Ragged) -> Ragged:
    kept = part.values > 0
    if kept.all():
        return part
    lengths = np.bincount(part.row_numbers()[kept], minlength=len(part))
    return Ragged.from_lengths(part.values[kept], lengths)


@dataclass(frozen=True, slots=True)
class CrossCounter:
    """Rows of a cross: `first` are ids (of several parts: keys), `last` ids; 0 is unknown."""

    first: Ragged
    last: Ragged

    @classmethod
    def of(cls, parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Self:
        """Of the parts' ids, each below its entry in `sizes`.

        Raises:
            InputError: 64 bits have no room for the keys.
        """
        check_key_space(sizes)
        two = len(parts) == 2  # noqa: PLR2004
        return cls(parts[0] if two else combine_ids(parts[:-1], sizes[:-1]), parts[-1])

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

    def share(self, which: int, shares: int) -> "CrossCounter":
        """The combinations whose last id is `which` modulo `shares`, in the rows that have some."""
        given = (self.first.values, self.first.offsets, self.last.values, self.last.offsets)
        first, first_lengths, last, last_lengths = _share(*given, which, shares)
        return CrossCounter(
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
    """See `CrossCounter.share`: values and lengths of the rows of both halves."""
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


@dataclass(frozen=True)
class CrossVocabulary:
    """`keys` (int64, sorted) of the kept combinations; `sizes` are the parts' vocabulary sizes."""

    keys: Keys
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        """Number of kept combinations; their ids are 0, 1, … in the order of the keys."""
        return len(self.keys)

    @classmethod
    def fit(cls, parts: Sequence[Ragged], sizes: tuple[int, ...], minimum_support: int) -> Self:
        """Keep combinations that stand in at least `minimum_support` rows (see `combine`)."""
        counted = CrossCounter.of(parts, sizes).count(sizes, minimum_support)
        return cls.of_counts(*counted, sizes, minimum_support)

    @classmethod
    def of_counts(
        cls, keys: Keys, support: NDArray[np.int64], sizes: tuple[int, ...], minimum_support: int
    ) -> Self:
        """Keep those of the distinct `keys` (n,) that have at least `minimum_support`."""
        return cls(np.sort(keys[support >= minimum_support]), sizes)

    def encode(self, parts: Sequence[Ragged]) -> Ragged:
        """Ids (int32) of the kept combinations of each row, in the order of `combine`."""
        halves = CrossCounter.of(parts, self.sizes)
        first, last = halves.first, halves.last
        out = np.empty(halves.combinations, np.int32)
        lengths = np.empty(len(last), np.int64)
        rows = (first.values, first.offsets, last.values, last.offsets)
        found = _look_up(*rows, *self._by_last, out, lengths)
        return Ragged.from_lengths(out[:found].copy(), lengths)

    @cached_property
    def _by_last(self) -> tuple[Keys, Keys, NDArray[np.int32]]:
        """Where the combinations with each last id begin, their first parts, and their ids."""
        first, last = np.divmod(self.keys, self.sizes[-1])
        order = np.argsort(last, kind="stable")
        begin = np.searchsorted(last[order], np.arange(self.sizes[-1] + 1))
        return begin, first[order], order.astype(np.int32)

    def parts(self) -> list[NDArray[np.int64]]:
        """The ids of each part, one array of shape (len(self),) a part."""
        return unpack_keys(self.keys, self.sizes)


@njit(cache=True, nogil=True)
def _look_up(  # noqa: PLR0917  compiled code takes no keywords
    first: NDArray[Any],
    first_offsets: Keys,
    last: NDArray[Any],
    last_offsets: Keys,
    begin: Keys,
    held: Keys,
    ids: NDArray[np.int32],
    out: NDArray[np.int32],
    lengths: Keys,
) -> int:
    """Fill `out` with the ids of the combinations that are held, `lengths` by row; how many."""
    found = 0
    for row in range(len(lengths)):
        before = found
        for i in range(first_offsets[row], first_offsets[row + 1]):
            for j in range(last_offsets[row], last_offsets[row + 1]):
                low, end = begin[last[j]], begin[last[j] + 1]
                high = end
                while low < high:
                    middle = (low + high) // 2
                    if held[middle] < first[i]:
                        low = middle + 1
                    else:
                        high = middle
                if low < end and held[low] == first[i]:
                    out[found] = ids[low]
                    found += 1
        lengths[row] = found - before
    return found

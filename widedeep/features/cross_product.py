"""Cross-product features: φ(x) = 1 where all of their parts are present (paper, equation 1).

A cross is keyed by the tuple of its parts' vocabulary ids, packed exactly into one integer, never
by joined text. Parts may be bags: a row then fires every combination it holds. A combination that
that has an unknown part, or was seen too rarely, fires nothing.

Liked and rated movies make ten million combinations in a million rows, so they are counted and
looked up where they stand, by compiled code: sorting them, or looking each up among all, took most
of the time of the whole feature stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.errors import InputError
from widedeep.features.ragged import Ragged

LARGEST_KEY = 2**63 - 1
Keys = NDArray[np.int64]


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
        counted = count_combinations(parts, sizes, minimum_support)
        return cls.of_counts(*counted, sizes, minimum_support)

    @classmethod
    def of_counts(
        cls, keys: Keys, support: NDArray[np.int64], sizes: tuple[int, ...], minimum_support: int
    ) -> Self:
        """Keep those of the distinct `keys` (n,) that have at least `minimum_support`."""
        return cls(np.sort(keys[support >= minimum_support]), sizes)

    def encode(self, parts: Sequence[Ragged]) -> Ragged:
        """Ids (int32) of the kept combinations of each row, in the order of `combine`."""
        first, last = _first(parts, self.sizes), parts[-1]
        out = np.empty((first.lengths * last.lengths).sum(), np.int32)
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
        return unpack(self.keys, self.sizes)


def combine(parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Ragged:
    """Every combination of the parts' ids in each row, as packed keys (int64).

    `parts` hold ids ≥ 1 (0, the unknown, combines with nothing), each below its entry in `sizes`.
    The order within a row follows the parts' own order, so it does not depend on ids.
    """
    _check_room(sizes)
    known = _known(parts[0])
    combined = known.replace(known.values.astype(np.int64))
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        combined = _pair(combined, _known(part), size)
    return combined


def count_combinations(
    parts: Sequence[Ragged], sizes: tuple[int, ...], minimum_support: int
) -> tuple[Keys, Keys]:
    """The keys of combinations that stand in `minimum_support` rows, and in how many they do.

    Raises:
        InputError: 64 bits have no room for the keys.
    """
    _check_room(sizes)
    first, last = _first(parts, sizes), parts[-1]
    ids, keys = first.values, np.arange(sizes[0])
    if len(parts) > 2:  # noqa: PLR2004
        met, codes = np.unique(first.values, return_inverse=True)
        ids, keys = codes + 1, np.concatenate([[0], met])
    rows, begin = _by_id(last.values, last.offsets, sizes[-1])
    most = int((first.lengths * last.lengths).sum()) // minimum_support
    found, support = np.empty((2, most), np.int64), np.empty(most, np.int64)
    kept = _count(ids, first.offsets, rows, begin, minimum_support, len(keys), found, support)
    return keys[found[0, :kept]] * sizes[-1] + found[1, :kept], support[:kept]


def pack(parts: Sequence[NDArray[Any]], sizes: tuple[int, ...]) -> Keys:
    """The key of each tuple of ids: mixed-radix digits, exact and reversible."""
    _check_room(sizes)
    keys = parts[0].astype(np.int64)
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        keys = keys * size + part
    return keys


def unpack(keys: Keys, sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """The reverse of `pack`."""
    parts = []
    for size in sizes[:0:-1]:
        keys, part = np.divmod(keys, size)
        parts.append(part)
    return [keys, *reversed(parts)]


def _first(parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Ragged:
    """All parts but the last as one, ids or keys ≥ 1 (0 is unknown)."""
    return parts[0] if len(parts) == 2 else combine(parts[:-1], sizes[:-1])  # noqa: PLR2004


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


def _check_room(sizes: tuple[int, ...]) -> None:
    room = 1
    for size in sizes:
        room *= size
    if room > LARGEST_KEY:
        raise InputError(
            f"a cross of vocabularies of {sizes} ids has {room} combinations, more than "
            f"{LARGEST_KEY}: raise a minimum count or cross fewer features"
        )

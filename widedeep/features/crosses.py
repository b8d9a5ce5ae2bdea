"""Cross-product features: φ(x) = 1 where all of their parts are present (paper, equation 1).

A cross is keyed by the tuple of its parts' vocabulary codes, packed exactly and reversibly into one
int64 key, never by joined text. Parts may be bags: a row then fires every combination it holds. A
combination fires nothing if one of its parts is out of vocabulary or if it was seen too rarely.

`CrossCounter` counts the combinations of training rows; `CrossVocabulary` keeps the frequent ones
and finds those that fire in a row. Both work on pairs of (first k - 1 parts, last part). Liked and
rated items make ten million combinations in a million rows: sorting them took most of the time of
the whole feature stage, and looking each up among all took seconds. Grouped by the code of their
last part, they are counted where the counters stay in the processor's cache, and searched for in
short lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import Counts
from widedeep.inputs import InputError

LARGEST_KEY = 2**63 - 1

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class CrossVocabulary:
    """The combinations of a cross that are kept; their codes are 0, 1, … in the order of the keys.

    `keys` are int64, sorted, shape (n,); `sizes` are the numbers of codes of the parts.
    """

    keys: Ints
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of kept combinations."""
        return len(self.keys)

    @classmethod
    def fit(cls, parts: Sequence[Ragged], sizes: tuple[int, ...], minimum_support: int) -> Self:
        """Keep the combinations that occur in at least `minimum_support` rows.

        Args:
            parts: Codes of each part, row by row, each code below the part's entry in `sizes`.
            sizes: Number of codes of each part.
            minimum_support: At least 1.

        Raises:
            InputError: int64 has no room for the keys.
        """
        counts = CrossCounter.from_codes(parts, sizes).count(sizes, minimum_support)
        return cls.from_counts(*counts, sizes, minimum_support)

    @classmethod
    def from_counts(
        cls, keys: Ints, support: Ints, sizes: tuple[int, ...], minimum_support: int
    ) -> Self:
        """Keep those of the distinct `keys` (n,) whose `support` is at least `minimum_support`."""
        return cls(np.sort(keys[support >= minimum_support]), sizes)

    def encode(self, parts: Sequence[Ragged]) -> Ragged:
        """Return the codes (int32) of the kept combinations of each row.

        `parts` hold the codes of each part, row by row; the combinations of a row come in the
        order of `combine_codes`.
        """
        pairs = CrossCounter.from_codes(parts, self.sizes)
        first, last = pairs.first, pairs.last
        codes = np.empty(pairs.combinations, np.int32)
        lengths = np.empty(len(last), np.int64)
        rows = (first.values, first.offsets, last.values, last.offsets)
        fired = _look_up(*rows, *self._by_last, codes, lengths)
        return Ragged.from_lengths(codes[:fired].copy(), lengths)

    @cached_property
    def _by_last(self) -> tuple[Ints, Ints, NDArray[np.int32]]:
        """Return where the combinations of each last code begin, their first parts, their codes."""
        first, last = np.divmod(self.keys, self.sizes[-1])
        order = np.argsort(last, kind="stable")
        begin = np.searchsorted(last[order], np.arange(self.sizes[-1] + 1))
        return begin, first[order], order.astype(np.int32)

    def part_codes(self) -> list[Ints]:
        """Return the codes of each part, one array of shape (len(self),) per part."""
        return unpack_keys(self.keys, self.sizes)


@dataclass(frozen=True, slots=True)
class CrossCounter:
    """Rows of a cross as pairs: `first` holds codes (of several parts: packed keys), `last` codes.

    Code 0 is out of vocabulary and combines with nothing.
    """

    first: Ragged
    last: Ragged

    @classmethod
    def from_codes(cls, parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Self:
        """Pair the codes of two or more parts, each code below its part's entry in `sizes`.

        Raises:
            InputError: int64 has no room for the keys.
        """
        check_key_space(sizes)
        is_pair = len(parts) == 2  # noqa: PLR2004
        return cls(parts[0] if is_pair else combine_codes(parts[:-1], sizes[:-1]), parts[-1])

    @property
    def combinations(self) -> int:
        """Number of combinations in all rows, repeats and out-of-vocabulary codes included."""
        return int((self.first.lengths * self.last.lengths).sum())

    def count(self, sizes: tuple[int, ...], minimum_support: int) -> Counts:
        """Return the keys of the combinations in at least `minimum_support` rows, and how many."""
        codes, first_keys = self.first.values, np.arange(sizes[0])
        if len(sizes) > 2:  # noqa: PLR2004
            distinct, positions = np.unique(codes, return_inverse=True)
            codes, first_keys = positions + 1, np.concatenate([[0], distinct])
        rows, begin = _rows_by_code(self.last.values, self.last.offsets, sizes[-1])
        most = self.combinations // minimum_support
        pairs, support = np.empty((2, most), np.int64), np.empty(most, np.int64)
        by_last = (self.first.offsets, rows, begin)
        n = _count(codes, *by_last, minimum_support, len(first_keys), pairs, support)
        return first_keys[pairs[0, :n]] * sizes[-1] + pairs[1, :n], support[:n]


def combine_codes(parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Ragged:
    """Return every combination of the parts' codes in each row, as packed keys (int64).

    Code 0 (out of vocabulary) combines with nothing. The order within a row follows the order of
    the codes in the parts, so it does not depend on which codes they are.

    Args:
        parts: Codes of each part, row by row, each code below the part's entry in `sizes`.
        sizes: Number of codes of each part, shape (parts,).

    Raises:
        InputError: int64 has no room for the keys.
    """
    check_key_space(sizes)
    first = _drop_unknown(parts[0])
    combined = first.with_values(first.values.astype(np.int64))
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        combined = _combine_pair(combined, _drop_unknown(part), size)
    return combined


def pack_keys(parts: Sequence[NDArray[Any]], sizes: tuple[int, ...]) -> Ints:
    """Return the key of each tuple of codes, (n,): mixed-radix digits, exact and reversible.

    `parts` has one array (n,) per part, each code below the part's entry in `sizes`.

    Raises:
        InputError: int64 has no room for the keys.
    """
    check_key_space(sizes)
    keys = parts[0].astype(np.int64)
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        keys = keys * size + part
    return keys


def unpack_keys(keys: Ints, sizes: tuple[int, ...]) -> list[Ints]:
    """Invert `pack_keys`: return the codes of each part, one array of shape (n,) per part."""
    parts = []
    for size in sizes[:0:-1]:
        keys, part = np.divmod(keys, size)
        parts.append(part)
    return [keys, *reversed(parts)]


def check_key_space(sizes: tuple[int, ...]) -> None:
    """Raise InputError if int64 has no room for the keys of parts with these numbers of codes."""
    combinations = 1
    for size in sizes:
        combinations *= size
    if combinations > LARGEST_KEY:
        raise InputError(
            f"a cross of vocabularies of {sizes} codes has {combinations} combinations, more than "
            f"the {LARGEST_KEY} that fit into 64 bits: raise a minimum count or cross fewer "
            "features"
        )


def _combine_pair(left: Ragged, right: Ragged, size: int) -> Ragged:
    """Combine everything in `left` with everything in `right`, row by row."""
    lengths = left.lengths * right.lengths
    repeats = np.repeat(right.lengths, left.lengths)
    first = np.repeat(left.values, repeats)
    start = np.repeat(np.repeat(right.offsets[:-1], left.lengths), repeats)
    begin = np.repeat(np.cumsum(repeats) - repeats, repeats)
    second = right.values[start + np.arange(len(first)) - begin]
    return Ragged.from_lengths(first * size + second, lengths)


def _drop_unknown(part: Ragged) -> Ragged:
    is_known = part.values > 0
    if is_known.all():
        return part
    lengths = np.bincount(part.row_numbers()[is_known], minlength=len(part))
    return Ragged.from_lengths(part.values[is_known], lengths)


@compiled
def _rows_by_code(values: NDArray[Any], offsets: Ints, size: int) -> tuple[Ints, Ints]:
    """Return the rows in order of the codes they hold, and where those of each code begin."""
    begin = np.zeros(size + 1, np.int64)
    for code in values:
        begin[code + 1] += 1
    begin = np.cumsum(begin)
    filled, rows = begin[:-1].copy(), np.empty(len(values), np.int64)
    for row in range(len(offsets) - 1):
        for code in values[offsets[row] : offsets[row + 1]]:
            rows[filled[code]] = row
            filled[code] += 1
    return rows, begin


@compiled
def _count(  # noqa: PLR0917  compiled code takes no keywords
    codes: NDArray[Any],
    offsets: Ints,
    rows: Ints,
    begin: Ints,
    minimum_support: int,
    size: int,
    pairs: Ints,
    support: Ints,
) -> int:
    """Count the first codes (below `size`) of rows, one group of the same last code at a time.

    One counter per first code then stays in the processor's cache. `rows` are in order of their
    last code, those of last code i from `begin[i]` on. Fill `pairs` (first and last code) and
    `support`; return how many are filled.
    """
    counts, seen = np.zeros(size, np.int64), np.empty(size, np.int64)
    n = 0
    for last in range(1, len(begin) - 1):
        distinct = 0
        for position in range(begin[last], begin[last + 1]):
            row = rows[position]
            for j in range(offsets[row], offsets[row + 1]):
                if counts[codes[j]] == 0:
                    seen[distinct] = codes[j]
                    distinct += 1
                counts[codes[j]] += 1
        for i in range(distinct):
            code = seen[i]
            if code > 0 and counts[code] >= minimum_support:
                pairs[0, n], pairs[1, n], support[n] = code, last, counts[code]
                n += 1
            counts[code] = 0
    return n


@compiled
def _look_up(  # noqa: PLR0917  compiled code takes no keywords
    first: NDArray[Any],
    first_offsets: Ints,
    last: NDArray[Any],
    last_offsets: Ints,
    begin: Ints,
    known_first: Ints,
    known_codes: NDArray[np.int32],
    out: NDArray[np.int32],
    lengths: Ints,
) -> int:
    """Fill `out` with the codes of kept combinations and `lengths` by row; return their number."""
    n = 0
    for row in range(len(lengths)):
        before = n
        for i in range(first_offsets[row], first_offsets[row + 1]):
            for j in range(last_offsets[row], last_offsets[row + 1]):
                low, end = begin[last[j]], begin[last[j] + 1]
                high = end
                while low < high:
                    middle = (low + high) // 2
                    if known_first[middle] < first[i]:
                        low = middle + 1
                    else:
                        high = middle
                if low < end and known_first[low] == first[i]:
                    out[n] = known_codes[low]
                    n += 1
        lengths[row] = n - before
    return n

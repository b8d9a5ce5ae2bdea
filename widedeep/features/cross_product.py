"""Cross-product features: φ(x) = 1 where all of their parts are present (paper, equation 1).

A cross is keyed by the tuple of its parts' vocabulary ids, packed exactly into one integer, never
by joined text. Parts may be bags: a row then fires every combination it holds. A combination that
has an unknown part, or was seen too rarely, fires nothing.

Liked and rated movies make ten million combinations in a million rows, so they are looked up where
they stand, by compiled code: looking each up among all took seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.features.cross_halves import Halves
from widedeep.features.cross_keys import Keys, unpack
from widedeep.features.ragged import Ragged


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
        counted = Halves.of(parts, sizes).count(sizes, minimum_support)
        return cls.of_counts(*counted, sizes, minimum_support)

    @classmethod
    def of_counts(
        cls, keys: Keys, support: NDArray[np.int64], sizes: tuple[int, ...], minimum_support: int
    ) -> Self:
        """Keep those of the distinct `keys` (n,) that have at least `minimum_support`."""
        return cls(np.sort(keys[support >= minimum_support]), sizes)

    def encode(self, parts: Sequence[Ragged]) -> Ragged:
        """Ids (int32) of the kept combinations of each row, in the order of `combine`."""
        halves = Halves.of(parts, self.sizes)
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
        return unpack(self.keys, self.sizes)


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

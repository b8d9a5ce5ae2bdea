"""Which combinations may be frequent, in bounded memory: an upper bound of each one's support."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

Keys = NDArray[np.int64]

_MOST = 1 << 30
"""Counters: with as many combinations, about twice as many seem frequent as are."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class SupportSketch:
    """Counters that keys share by a hash, so that none counts less than any of its keys.

    One row of a count-min sketch (Cormode and Muthukrishnan, "An improved data stream summary",
    2005). `counters` (a power of two) stop at `wanted`: no more is asked.
    """

    counters: NDArray[Any]
    wanted: int

    @classmethod
    def empty(cls, keys: int, wanted: int) -> Self:
        """For about `keys` distinct ones, to be asked which stand at least `wanted` times."""
        size = 1 << max(keys - 1, 1).bit_length()
        return cls(np.zeros(min(size, _MOST), np.min_scalar_type(wanted)), wanted)

    @property
    def _shift(self) -> int:
        """By so much a hash of 64 bits is shifted, to be a place of a counter."""
        return 65 - len(self.counters).bit_length()

    def add(self, keys: Keys, support: NDArray[np.int64]) -> None:
        """Count each of `keys` (n,) `support` times."""
        _add(self.counters, self._shift, self.wanted, keys, support)

    def frequent(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of `keys` may have been counted `wanted` times, (n,); all that have are there."""
        found: NDArray[np.bool_] = self.counters[_places(keys, self._shift)] >= self.wanted
        return found


@njit(cache=True, nogil=True)
def _place(key: int, shift: int) -> int:
    """The upper bits of a product that spreads what lies close together (Knuth, TAOCP 6.4)."""
    return int((np.uint64(key) * _SPREAD) >> np.uint64(shift))


@njit(cache=True, nogil=True)
def _places(keys: Keys, shift: int) -> Keys:
    places = np.empty(len(keys), np.int64)
    for i in range(len(keys)):
        places[i] = _place(keys[i], shift)
    return places


@njit(cache=True, nogil=True)
def _add(
    counters: NDArray[Any], shift: int, wanted: int, keys: Keys, support: NDArray[np.int64]
) -> None:
    for i in range(len(keys)):
        place = _place(keys[i], shift)
        counters[place] = min(np.int64(counters[place]) + support[i], wanted)

"""Popular lately: likes counted, each worth half as much after every half-life."""

from dataclasses import dataclass
from math import floor
from typing import Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NAME = "popular"
DAY = 86_400
_LARGEST = 512


@dataclass(slots=True)
class Popularity:
    """Decayed counts of the likes of m movies, by row of the catalogue.

    All counts fade alike, so their order only changes when a like comes: `counts` are in units of
    a like of the newest half-life or so. Taking the likes one by one in the order of the log gives
    the same as taking them together, to the bit (short of what is 300 half-lives old).

    Attributes:
        half_life: In days.
        counts: float64 (m,).
        unit: The half-life, counted from 1970, of which a like is worth 1.
    """

    half_life: float
    counts: NDArray[np.float64]
    unit: int = 0

    @classmethod
    def of(cls, movies: int, half_life: float) -> Self:
        """Begin at 0."""
        return cls(half_life, np.zeros(movies))

    def take(self, rows: Ints, times: Ints) -> None:
        """Count likes of the movies `rows` at `times`, UNIX seconds; (n,) each."""
        if not len(rows):
            return
        lives = times / (self.half_life * DAY)
        self._begin(floor(lives.max()))
        whole = np.floor(lives)
        worth = np.ldexp(np.exp2(lives - whole), (whole - self.unit).astype(np.int32))
        np.add.at(self.counts, rows, worth)

    def add(self, row: int, time: int) -> None:
        """Count one like."""
        self.take(np.array([row]), np.array([time]))

    def _begin(self, newest: int) -> None:
        """Count in larger units before the newest like would be too large a number."""
        unit = newest // _LARGEST * _LARGEST
        if unit > self.unit:
            self.counts = np.ldexp(self.counts, self.unit - unit)
            self.unit = unit

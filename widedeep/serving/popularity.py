"""Popular lately: likes counted, each worth half as much after every half-life."""

from math import floor

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NAME = "popular"
DAY = 86_400
_LARGEST = 512


class Popularity:
    """Decayed counts of the likes of m movies, by row of the catalogue.

    All counts fade alike, so their order only changes when a like comes: `counts` are in units of
    a like of the newest half-life or so. Taking the likes one by one in the order of the log gives
    the same as taking them together, to the bit (short of what is 300 half-lives old).
    """

    def __init__(self, movies: int, half_life: float) -> None:
        """Begin at 0; `half_life` in days."""
        self.counts = np.zeros(movies)
        self._half_life = half_life * DAY
        self._unit = 0

    def take(self, rows: Ints, times: Ints) -> None:
        """Count likes of the movies `rows` at `times`, UNIX seconds; (n,) each."""
        if not len(rows):
            return
        lives = times / self._half_life
        self._begin(floor(lives.max()))
        whole = np.floor(lives)
        worth = np.ldexp(np.exp2(lives - whole), (whole - self._unit).astype(np.int32))
        np.add.at(self.counts, rows, worth)

    def add(self, row: int, time: int) -> None:
        """Count one like."""
        self.take(np.array([row]), np.array([time]))

    def _begin(self, newest: int) -> None:
        """Count in larger units before the newest like would be too large a number."""
        if newest - self._unit > _LARGEST:
            self.counts = np.ldexp(self.counts, self._unit - newest)
            self._unit = newest

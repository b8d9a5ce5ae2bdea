"""Ratings, those of each user together."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RatingsByUser:
    """A log in the order of user and then time.

    Attributes:
        users: Tokens, ascending, (u,).
        offsets: Where the ratings of each begin, and last where all end, (u + 1,).
        movie: Tokens, (n,).
        rate: int8 (n,), 1 to 10.
        time: UNIX seconds, (n,).
    """

    users: Ints
    offsets: Ints
    movie: Ints
    rate: NDArray[np.int8]
    time: Ints

    @classmethod
    def of(cls, log: RatingLog) -> Self:
        """Bring a log, which is in order of time, into order."""
        order = np.argsort(log.user, kind="stable")
        by_user = log.user[order]
        starts = np.flatnonzero(np.diff(by_user, prepend=by_user[:1] - 1))
        offsets = np.append(starts, len(log))
        return cls(by_user[starts], offsets, log.movie[order], log.rate[order], log.time[order])

    def rows(self, user: int) -> slice:
        """Where the ratings of a user stand."""
        place = int(self.users.searchsorted(user))
        if place == len(self.users) or self.users[place] != user:
            return slice(0, 0)
        return slice(*self.offsets[place : place + 2].tolist())

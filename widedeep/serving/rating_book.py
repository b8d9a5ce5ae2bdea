"""Who has rated what, and when: the first rating of each pair, as users see their own."""

from collections import defaultdict
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.serving.event_log import Event


class RatingBook:
    """Ratings by user; one thread may write while others read."""

    def __init__(self, log: RatingLog, by_user: NDArray[np.int64]) -> None:
        """`by_user` are the rows of the log in the order of user and then time."""
        self._log = log
        self._rows = by_user
        self._users = log.user[by_user]
        self._since: defaultdict[int, list[Event]] = defaultdict(list)

    @classmethod
    def of(cls, log: RatingLog) -> Self:
        """Begin with all of a log, which is in order of time."""
        return cls(log, np.argsort(log.user, kind="stable"))

    def add(self, event: Event) -> None:
        """Note a rating of a pair that had none."""
        self._since[event.user].append(event)

    def of_user(self, user: int) -> tuple[Event, ...]:
        """A user's ratings, the newest last."""
        start, end = (np.searchsorted(self._users, user, side=side) for side in ("left", "right"))
        rows, log = self._rows[start:end], self._log
        columns = (log.movie[rows].tolist(), log.rate[rows].tolist(), log.time[rows].tolist())
        before = [Event(user, *values) for values in zip(*columns, strict=True)]
        return (*before, *self._since.get(user, ()))

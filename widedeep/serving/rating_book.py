"""Who has rated what, and when: the first rating of each pair, as users see their own."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from widedeep.serving.event_log import Event
from widedeep.serving.ratings_by_user import RatingsByUser


class RatingBook:
    """What was rated before, and every rating since; readers need no lock beside one writer."""

    def __init__(self, before: RatingsByUser) -> None:
        self._before = before
        self._since: defaultdict[int, list[Event]] = defaultdict(list)

    def add(self, event: Event) -> bool:
        """Note a rating; False if it repeats a pair, which changes nothing."""
        if event.movie in self.seen(event.user):
            return False
        self._since[event.user].append(event)
        return True

    def seen(self, user: int) -> NDArray[np.int64]:
        """Tokens of what the user has rated, in the order in which it was, (n,)."""
        return self.rates(user)[0]

    def rates(self, user: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """What the user has rated, and how, in that order, (n,) each."""
        rows, since = self._before.rows(user), self._since.get(user, ())
        movies, rates = self._before.movie[rows], self._before.rate[rows]
        if since:
            movies = np.append(movies, [event.movie for event in since])
            rates = np.append(rates, np.array([event.rate for event in since], np.int8))
        return movies, rates

    def of_user(self, user: int) -> tuple[Event, ...]:
        """A user's ratings, the newest last."""
        held, rows = self._before, self._before.rows(user)
        columns = (held.movie[rows].tolist(), held.rate[rows].tolist(), held.time[rows].tolist())
        before = [Event(user, *values) for values in zip(*columns, strict=True)]
        return (*before, *self._since.get(user, ()))

"""Who has rated and who has liked what: the log at load, and every rating since."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.ragged import Ragged

Ints = NDArray[np.int64]


class RatedMovies:
    """Tokens of the movies that each user has rated, in the order in which they were.

    Readers need no lock beside one writer.
    """

    def __init__(self, log: RatingLog, positive: NDArray[np.bool_]) -> None:
        """Take all of `log`; `positive` (n,) says which of its ratings are likes."""
        order = np.argsort(log.user, kind="stable")
        self._users, counts = np.unique(log.user, return_counts=True)
        self._movies = Ragged.from_lengths(log.movie[order], counts)
        self._positive = positive[order]
        self._since: defaultdict[int, list[tuple[int, bool]]] = defaultdict(list)

    def add(self, user: int, movie: int, *, positive: bool) -> bool:
        """Take one rating; False if it repeats a pair, which changes nothing."""
        if movie in self.seen(user):
            return False
        self._since[user].append((movie, positive))
        return True

    def seen(self, user: int) -> Ints:
        """What the user has rated, (n,)."""
        return self._of(user)[0]

    def liked(self, user: int, newest: int) -> Ints:
        """What the user liked last, the newest first, at most `newest`."""
        movies, positive = self._of(user)
        return movies[positive][::-1][:newest]

    def record(self, user: int) -> bytes:
        """All that is known of a user here, equal for users of whom it is the same."""
        movies, positive = self._of(user)
        return movies.tobytes() + positive.tobytes()

    def _of(self, user: int) -> tuple[Ints, NDArray[np.bool_]]:
        movies, positive = np.empty(0, np.int64), np.empty(0, np.bool_)
        row = int(self._users.searchsorted(user))
        if row < len(self._users) and self._users[row] == user:
            held = slice(*self._movies.offsets[row : row + 2])
            movies, positive = self._movies.values[held], self._positive[held]
        since = self._since.get(user)
        if since:
            tokens, likes = zip(*since, strict=True)
            movies = np.concatenate([movies, np.array(tokens, np.int64)])
            positive = np.concatenate([positive, np.array(likes, np.bool_)])
        return movies, positive

"""What is known of users and movies now: updated by each rating, read for one request.

The features are those of `widedeep.features.history`, bit for bit: the same compiled `observe` and
`read` make them.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import HistoryConfig
from widedeep.features.history_state import (
    NUMERIC,
    Events,
    observe,
    read_candidates,
)
from widedeep.serving.instant import Instant, Rating
from widedeep.serving.ratings_by_user import RatingsByUser
from widedeep.serving.snapshot import Snapshot, with_room
from widedeep.serving.token_codes import TokenCodes

Ints = NDArray[np.int64]

_BY_USER = ("user", "taste", "liked", "disliked")
_BY_MOVIE = ("movie", "peers")
_ROOM = 1024
"""Rows that are added to an array at least, when it grows."""

_BEGINNING = -(2**63)
_NONE = np.empty(0, np.int64)
_NO_EVENTS = Events(_NONE, _NONE, _NONE, np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True)
class Reading:
    """One user and n movies at one moment.

    Attributes:
        user: Code of the user.
        movies: Codes of the movies, (n,).
        time: UNIX seconds for which the values hold.
        values: float64 (n, len(NUMERIC) + 1) by NUMERIC, each a float32, NaN where missing; the
            last column is for whoever reads on.
        liked: Codes of the movies liked lately, the newest first.
        disliked: Likewise.
    """

    user: int
    movies: Ints
    time: int
    values: NDArray[np.float64]
    liked: Ints
    disliked: Ints

    def take(self, rows: Ints) -> "Reading":
        """With only the movies in these rows, in that order."""
        return replace(self, movies=self.movies[rows], values=self.values[rows])


class LiveState:
    """State, and who has rated what.

    Any thread may call any method: each takes the one lock, and holds it only for as long as the
    state itself is read or changed (the compiled reading lets other threads run).

    Time only goes forward: a rating that is older than the newest one counts as one of the newest
    instant, and so does a reading. A reading knows what is strictly before its moment, as in
    training: to see a rating at once, read at `known_until`.

    Attributes:
        users: Codes of the users. Of all tokens there are at the start, in ascending order.
        movies: Likewise, those of the catalogue included.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        rated: RatingsByUser,
        config: HistoryConfig,
        prior: float,
    ) -> None:
        """Begin where a snapshot of the ratings `rated` was taken; its arrays are changed."""
        self.users = TokenCodes(snapshot.users)
        self.movies = TokenCodes(snapshot.movies)
        self._config = config
        self._rates = config.rates(prior)
        self._lock = Lock()
        self._state = snapshot.state
        self._attributes = snapshot.attributes
        self._rated = rated
        self._rated_since: defaultdict[int, list[int]] = defaultdict(list)
        newest = snapshot.newest
        self._newest = Instant(int(newest.time[0]) if len(newest) else _BEGINNING)
        for user, movie, rate in zip(newest.user, newest.movie, newest.rate, strict=True):
            self._newest.add(self._rating(int(user), int(movie), int(rate)))
        # Nobody's first rating waits for the compiled function to be read from the disk.
        observe(self._state, self._attributes, self._rates, _NO_EVENTS, 0, 0)

    @classmethod
    def of(
        cls,
        log: RatingLog,
        catalogue: Catalogue,
        config: HistoryConfig,
        prior: float,
        tokens: tuple[Ints, Ints] = (_NONE, _NONE),
    ) -> Self:
        """Take all of `log`; `tokens` are users and movies that get a code at the start, too.

        Raises:
            InputError: The log is not in order of time.
        """
        snapshot = Snapshot.of(log, catalogue, config, prior, tokens)
        return cls(snapshot, RatingsByUser.of(log), config, prior)

    @property
    def known_until(self) -> int:
        """The first UNIX second at which everything counts that was observed so far."""
        return self._newest.time + 1

    def observe(self, user: int, movie: int, rate: int, time: int) -> bool:
        """Take one rating (1 to 10, UNIX seconds); False if it repeats a pair and changes nothing.

        Only the first rating of a pair is an example.
        """
        with self._lock:
            if movie in self._seen(user):
                return False
            if time > self._newest.time:
                self._newest.apply(self._state, self._attributes, self._rates)
                self._newest = Instant(time)
            self._newest.take_back(self._state)
            self._newest.add(self._rating(user, movie, rate))
            self._rated_since[user].append(movie)
            return True

    def read(self, user: int, movies: Ints, at: int) -> Reading:
        """What was known of the user and each movie strictly before `at`, UNIX seconds.

        Both may be strangers.
        """
        with self._lock:
            moment = self._reach(at)
            return self._read(self.users.code(user), self.movies.codes(movies), moment)

    def read_again(self, user: int, read: Reading) -> Reading:
        """Another user with the movies and at the moment of a reading since which nothing came."""
        with self._lock:
            return self._read(self.users.code(user), read.movies, read.time, read.values)

    def survey(self, at: int) -> Reading:
        """A stranger with every movie that had a code at the start, by code, and the stranger's."""
        with self._lock:
            moment = self._reach(at)
            return self._read(self.users.stranger, np.arange(self.movies.stranger + 1), moment)

    def seen(self, user: int) -> Ints:
        """The movies that the user has rated, in order of time."""
        with self._lock:
            return self._seen(user)

    def _seen(self, user: int) -> Ints:
        since = np.array(self._rated_since.get(user, ()), np.int64)
        return np.concatenate([self._rated.movie[self._rated.rows(user)], since])

    def _reach(self, at: int) -> int:
        """Bring the state to what it was strictly before `at`; the moment for which it is read."""
        if at > self._newest.time:
            self._newest.apply(self._state, self._attributes, self._rates)
        else:
            self._newest.take_back(self._state)
        return max(at, self._newest.time)

    def _read(
        self, user: int, movies: Ints, moment: int, known: NDArray[np.float64] | None = None
    ) -> Reading:
        """With the numbers of movies out of `known` values, if there are any."""
        values = np.empty((len(movies), len(NUMERIC) + 1)) if known is None else known.copy()
        rings = np.empty((2, self._config.length), np.int32)
        state = self._state, self._attributes, self._rates
        room = np.full(len(NUMERIC), np.nan)
        lengths = read_candidates(*state, user, movies, moment, values, rings, known is None, room)
        liked, disliked = (
            ring[:n].astype(np.int64) for ring, n in zip(rings, lengths, strict=True)
        )
        return Reading(user, movies, moment, values, liked, disliked)

    def _rating(self, user: int, movie: int, rate: int) -> Rating:
        codes = self.users.add(user), self.movies.add(movie)
        self._make_room(len(self.users), len(self.movies))
        label = float(rate >= self._config.positive_rating)
        return Rating(user, movie, *codes, label, rate / 10.0)

    def _make_room(self, users: int, movies: int) -> None:
        """Let the arrays have as many rows, by growing them by a quarter at a time."""
        grown = dict.fromkeys(_BY_USER, users) | dict.fromkeys(_BY_MOVIE, movies)
        changed = {
            name: _grown(getattr(self._state, name), rows)
            for name, rows in grown.items()
            if len(getattr(self._state, name)) < rows
        }
        if changed:
            self._state = self._state._replace(**changed)
            self._attributes = with_room(self._attributes, len(self._state.movie))


def _grown(array: NDArray[Any], rows: int) -> NDArray[Any]:
    room = max(rows, len(array) + len(array) // 4, len(array) + _ROOM)
    added = np.zeros((room - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, added])

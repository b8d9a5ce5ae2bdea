"""What is known of users and movies now: updated by each rating, read for one request.

The features are those of `widedeep.features.history`, bit for bit: the same compiled `observe` and
`read` make them.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.errors import InputError
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import HistoryConfig, coded_attributes
from widedeep.features.history_state import (
    NUMERIC,
    Attributes,
    Events,
    empty_state,
    observe,
    read_candidates,
)
from widedeep.features.ragged import Ragged
from widedeep.serving.instant import Instant, Rating
from widedeep.serving.token_codes import TokenCodes

Ints = NDArray[np.int64]

_BY_USER = ("user", "taste", "liked", "disliked")
_BY_MOVIE = ("movie", "peers")
_ROOM = 1024
"""Rows that are added to an array at least, when it grows."""

_BEGINNING = -(2**63)
_NONE = np.empty(0, np.int64)


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
        log: RatingLog,
        catalogue: Catalogue,
        config: HistoryConfig,
        prior: float,
        tokens: tuple[Ints, Ints] = (_NONE, _NONE),
    ) -> None:
        """Take all of `log`; `tokens` are users and movies that get a code at the start, too.

        Raises:
            InputError: The log is not in order of time.
        """
        if (np.diff(log.time) < 0).any():
            raise InputError("the log is not in order of time; a state takes ratings in order")
        self.users = TokenCodes(np.concatenate([log.user, tokens[0]]))
        self.movies = TokenCodes(np.concatenate([catalogue.movies, log.movie, tokens[1]]))
        self._config = config
        self._rates = config.rates(prior)
        self._lock = Lock()
        attributes, genres, people = coded_attributes(catalogue, self.movies.tokens)
        sizes = (len(self.users), len(self.movies))
        self._state = empty_state(*sizes, genres, people, config.length)
        self._attributes = _with_room(attributes, len(self.movies))
        users = self.users.codes(log.user)
        self._rated = _by_user(log.movie, users, self.users.stranger)
        self._rated_since: defaultdict[int, list[int]] = defaultdict(list)
        self._newest = Instant(_BEGINNING)
        self._take(log, users)

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
        code = self.users.code(user)
        since = np.array(self._rated_since.get(user, ()), np.int64)
        if code >= len(self._rated):
            return since
        start, stop = self._rated.offsets[code : code + 2]
        return np.concatenate([self._rated.values[start:stop], since])

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

    def _take(self, log: RatingLog, users: Ints) -> None:
        """Observe a whole log of `users` by code; what is of its last moment stays apart."""
        if not len(log):
            return
        last = int(np.searchsorted(log.time, log.time[-1]))
        events = Events(
            users,
            self.movies.codes(log.movie),
            np.array(log.time),
            self._config.positive(log.rate).astype(np.float64),
            log.rate / 10.0,
        )
        observe(self._state, self._attributes, self._rates, events, 0, last)
        self._newest = Instant(int(log.time[-1]))
        for i in range(last, len(log)):
            rating = self._rating(int(log.user[i]), int(log.movie[i]), int(log.rate[i]))
            self._newest.add(rating)

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
            self._attributes = _with_room(self._attributes, len(self._state.movie))


def _by_user(movies: Ints, users: Ints, count: int) -> Ragged:
    """The movies of each of `count` user codes, in order of time."""
    order = np.argsort(users, kind="stable")
    return Ragged.from_lengths(movies[order], np.bincount(users, minlength=count))


def _grown(array: NDArray[Any], rows: int) -> NDArray[Any]:
    room = max(rows, len(array) + len(array) // 4, len(array) + _ROOM)
    added = np.zeros((room - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, added])


def _with_room(attributes: Attributes, movies: int) -> Attributes:
    """For as many movie codes: those behind the known ones have neither genres nor people."""
    return Attributes(
        attributes.genres,
        _padded(attributes.genre_offsets, movies + 1),
        attributes.people,
        _padded(attributes.people_offsets, movies + 1),
    )


def _padded(offsets: Ints, length: int) -> Ints:
    return np.concatenate([offsets, np.full(max(length - len(offsets), 0), offsets[-1])])

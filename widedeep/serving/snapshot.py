"""What is known of users and movies when a log is taken: where a live state begins."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.errors import InputError
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import HistoryConfig, coded_attributes, events_of
from widedeep.features.history_state import Attributes, State, empty_state, observe
from widedeep.serving.token_codes import TokenCodes

Ints = NDArray[np.int64]

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after all ratings but those of the newest instant.

    Attributes:
        users: Tokens that have a code, ascending, (u,); the state has u + 1 users.
        movies: Likewise.
        state: By code, see `TokenCodes`.
        attributes: Of movies by code; the stranger has none.
        newest: The ratings of the newest instant; with no ratings at all, none.
    """

    users: Ints
    movies: Ints
    state: State
    attributes: Attributes
    newest: RatingLog

    @classmethod
    def of(
        cls,
        log: RatingLog,
        catalogue: Catalogue,
        config: HistoryConfig,
        prior: float,
        tokens: tuple[Ints, Ints] = (_NONE, _NONE),
    ) -> Self:
        """Take all of `log`; `tokens` are users and movies that get a code, too.

        Raises:
            InputError: The log is not in order of time.
        """
        if (np.diff(log.time) < 0).any():
            raise InputError("the log is not in order of time; a state takes ratings in order")
        users = TokenCodes.of(np.concatenate([log.user, tokens[0]]))
        movies = TokenCodes.of(np.concatenate([catalogue.movies, log.movie, tokens[1]]))
        attributes, genres, people = coded_attributes(catalogue, movies.tokens)
        state = empty_state(len(users), len(movies), genres, people, config.length)
        events = events_of(log, users.codes(log.user), movies.codes(log.movie), config)
        last = int(np.searchsorted(log.time, log.time[-1])) if len(log) else 0
        observe(state, attributes, config.rates(prior), events, 0, last)
        held = with_room(attributes, len(movies))
        return cls(users.tokens, movies.tokens, state, held, log.take(slice(last, None)))


def with_room(attributes: Attributes, movies: int) -> Attributes:
    """For as many movie codes: those behind the known ones have neither genres nor people."""
    return Attributes(
        attributes.genres,
        _padded(attributes.genre_offsets, movies + 1),
        attributes.people,
        _padded(attributes.people_offsets, movies + 1),
    )


def _padded(offsets: Ints, length: int) -> Ints:
    return np.concatenate([offsets, np.full(max(length - len(offsets), 0), offsets[-1])])

"""History cut at moments, so that its pieces can be described apart, and in any order.

Users and movies are coupled over time, so no share of users or of movies has a history of its own.
But whoever has the state of a moment needs nothing older: one pass that only observes leaves the
states at the borders (of the users and movies that a piece meets), and each piece goes on from
there as the whole would, bit by bit.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import HistoryConfig, Queries, begin_sweep
from widedeep.features.history_columns import HistoryColumns
from widedeep.features.history_state import Attributes, Events, State, Sweep, observe
from widedeep.features.ragged import Ragged

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HistoryPiece:
    """Some queries, and all it takes to describe them without the others.

    Attributes:
        rows: int64 (n,), their places among all queries, in order of known_until.
        sweep: The state before the first of them, the events from there on, and they themselves.
        movies: int64, the token of each of the sweep's movie codes.
    """

    rows: Ints
    sweep: Sweep
    movies: Ints

    def columns(self) -> HistoryColumns:
        """Describe the queries, in the order of `rows`; the piece stays as it is."""
        order = np.arange(len(self.rows))
        return HistoryColumns.of_walk([copy.deepcopy(self.sweep)], order, self.movies)


def history_pieces(
    log: RatingLog,
    queries: Queries,
    catalogue: Catalogue,
    config: HistoryConfig,
    prior: float,
    *,
    count: int,
) -> Iterator[HistoryPiece]:
    """Cut the queries into at most `count` pieces of as many rows each, one after another in time.

    Raises:
        InputError: see `history_columns`.
    """
    sweep, movies = begin_sweep(log, queries, catalogue, config, prior)
    order = np.argsort(queries.known_until, kind="stable")
    done = 0
    for rows in np.array_split(order, min(count, len(order)) or 1):
        if not len(rows):
            return
        first, last = queries.known_until[rows[[0, -1]]]
        known, needed = np.searchsorted(sweep.events.time, [first, last])
        done = observe(*sweep[:4], done, int(known))
        yield _cut(sweep, movies, rows, slice(int(known), int(needed)))


def _cut(sweep: Sweep, movies: Ints, rows: Ints, span: slice) -> HistoryPiece:
    """The piece of the queries in `rows` and the events in `span`, in codes of its own."""
    events = sweep.events
    events = Events(
        events.user[span],
        events.movie[span],
        events.time[span],
        events.label[span],
        events.rate[span],
    )
    user, users = _own_codes(sweep.user[rows], events.user)
    rings = [ring[users] for ring in (sweep.state.liked, sweep.state.disliked)]
    remembered = np.concatenate(rings).ravel().astype(np.int64)
    movie, met = _own_codes(sweep.movie[rows], events.movie, remembered)
    liked, disliked = (part.reshape(rings[0].shape) for part in np.split(movie[2], 2))
    state = State(
        sweep.state.user[users],
        sweep.state.movie[met],
        sweep.state.world.copy(),
        sweep.state.peers[met],
        sweep.state.taste[users],
        sweep.state.person.copy(),
        liked.astype(np.int32),
        disliked.astype(np.int32),
    )
    own = events._replace(user=user[1], movie=movie[1])
    attributes = _attributes(sweep.attributes, met)
    moments = (sweep.time[rows], sweep.known_until[rows])
    piece = Sweep(state, attributes, sweep.rates, own, user[0], movie[0], *moments)
    return HistoryPiece(rows, piece, movies[met])


def _own_codes(*codes: Ints) -> tuple[list[Ints], Ints]:
    """Codes that count only what is there, and what each of them was before (ascending)."""
    met, own = np.unique(np.concatenate(codes), return_inverse=True)
    ends = np.cumsum([len(part) for part in codes])[:-1]
    return np.split(own.astype(np.int64), ends), met


def _attributes(attributes: Attributes, movies: Ints) -> Attributes:
    genres = Ragged(attributes.genres, attributes.genre_offsets).take(movies)
    people = Ragged(attributes.people, attributes.people_offsets).take(movies)
    return Attributes(genres.values, genres.offsets, people.values, people.offsets)

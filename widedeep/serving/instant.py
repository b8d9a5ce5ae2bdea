"""The ratings of the newest instant, which can be taken out of a state again.

The ratings of one instant are judged from the state before it and then applied together. Live they
come one at a time: so the state before the instant can be restored, to be read as it was or to
receive all of them once more with one that came later.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widedeep.features.history_state import Attributes, Events, Rates, State, observe
from widedeep.features.ragged import Ragged

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rating:
    """One rating in tokens and in codes, as the state takes it."""

    user: int
    movie: int
    user_code: int
    movie_code: int
    label: float
    rate: float


class Instant:
    """Ratings of `time`, UNIX seconds, and whether the state has them."""

    def __init__(self, time: int) -> None:
        self.time = time
        self._ratings: list[Rating] = []
        self._before: _Rows | None = None

    def add(self, rating: Rating) -> None:
        """One more rating; the state must be without the others."""
        if self._before is not None:
            raise RuntimeError("the ratings of the instant are applied; take them back first")
        self._ratings.append(rating)

    def apply(self, state: State, attributes: Attributes, rates: Rates) -> None:
        """Let the state have all ratings, in the order of a log, unless it has them."""
        if self._before is not None or not self._ratings:
            return
        self._ratings.sort(key=lambda rating: (rating.user, rating.movie))
        events = self._events()
        self._before = _Rows.of(state, attributes, events)
        observe(state, attributes, rates, events, 0, len(events.time))

    def take_back(self, state: State) -> None:
        """Restore the state before the instant, to the bit."""
        if self._before is not None:
            self._before.restore(state)
            self._before = None

    def _events(self) -> Events:
        def column(name: str, dtype: type) -> NDArray[Any]:
            return np.array([getattr(rating, name) for rating in self._ratings], dtype)

        return Events(
            column("user_code", np.int64),
            column("movie_code", np.int64),
            np.full(len(self._ratings), self.time),
            column("label", np.float64),
            column("rate", np.float64),
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Copies of everything in a state that some events may change, by name of the array."""

    rows: dict[str, Ints]
    copies: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, state: State, attributes: Attributes, events: Events) -> "_Rows":
        users, movies = np.unique(events.user), np.unique(events.movie)
        people = Ragged(attributes.people, attributes.people_offsets).take(movies).values
        rows = {
            **dict.fromkeys(("user", "taste", "liked", "disliked"), users),
            **dict.fromkeys(("movie", "peers"), movies),
            "person": np.unique(people),
            "world": np.arange(len(state.world)),
        }
        return cls(rows, {name: getattr(state, name)[places] for name, places in rows.items()})

    def restore(self, state: State) -> None:
        for name, places in self.rows.items():
            getattr(state, name)[places] = self.copies[name]

"""What is known of users and items now: updated by each rating, read for one request.

The features are those of `widedeep.features.history`, bit for bit: the same compiled `update` and
`read` make them.

The ratings of the newest instant, which can be taken out of a state again.

The ratings of one instant are judged from the state before it and then applied together. Live they
come one at a time: so the state before the instant can be restored, to be read as it was or to
receive all of them once more with one that came later.

What is known of users and items when a log is taken: where a live state begins.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.history import HistoryConfig, encode_attributes, encode_interactions
from widedeep.features.history_state import (
    NUMERIC,
    CodedInteractions,
    HistoryParams,
    HistoryState,
    ItemAttributes,
    empty_state,
    read_candidates,
    update,
)
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError
from widedeep.retrieval.user_index import IdCodes, InteractionsByUser

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CodedEvent:
    """One rating in tokens and in codes, as the state takes it."""

    user: int
    item: int
    user_code: int
    item_code: int
    label: float
    value: float


class TiedEvents:
    """Ratings of `time`, UNIX seconds, and whether the state has them."""

    def __init__(self, time: int) -> None:
        self.time = time
        self._ratings: list[CodedEvent] = []
        self._before: _Rows | None = None

    def add(self, rating: CodedEvent) -> None:
        """One more rating; the state must be without the others."""
        if self._before is not None:
            raise RuntimeError("the ratings of the instant are applied; take them back first")
        self._ratings.append(rating)

    def apply(self, state: HistoryState, attributes: ItemAttributes, params: HistoryParams) -> None:
        """Let the state have all ratings, in the order of a log, unless it has them."""
        if self._before is not None or not self._ratings:
            return
        self._ratings.sort(key=lambda rating: (rating.user, rating.item))
        events = self._events()
        self._before = _Rows.of(state, attributes, events)
        update(state, attributes, params, events, 0, len(events.time))

    def take_back(self, state: HistoryState) -> None:
        """Restore the state before the instant, to the bit."""
        if self._before is not None:
            self._before.restore(state)
            self._before = None

    def _events(self) -> CodedInteractions:
        def column(name: str, dtype: type) -> NDArray[Any]:
            return np.array([getattr(rating, name) for rating in self._ratings], dtype)

        return CodedInteractions(
            column("user_code", np.int64),
            column("item_code", np.int64),
            np.full(len(self._ratings), self.time),
            column("label", np.float64),
            column("value", np.float64),
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Copies of everything in a state that some events may change, by name of the array."""

    rows: dict[str, Ints]
    copies: dict[str, NDArray[Any]]

    @classmethod
    def of(
        cls, state: HistoryState, attributes: ItemAttributes, events: CodedInteractions
    ) -> "_Rows":
        users, items = np.unique(events.user), np.unique(events.item)
        people = Ragged(attributes.people, attributes.people_offsets).select_rows(items).values
        rows = {
            **dict.fromkeys(("user", "taste", "liked", "disliked"), users),
            **dict.fromkeys(("item", "peers"), items),
            "person": np.unique(people),
            "world": np.arange(len(state.world)),
        }
        return cls(rows, {name: getattr(state, name)[places] for name, places in rows.items()})

    def restore(self, state: HistoryState) -> None:
        for name, places in self.rows.items():
            getattr(state, name)[places] = self.copies[name]


_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class HistorySnapshot:
    """The state after all ratings but those of the newest instant.

    Attributes:
        users: Tokens that have a code, ascending, (u,); the state has u + 1 users.
        items: Likewise.
        state: By code, see `IdCodes`.
        attributes: Of items by code; the stranger has none.
        newest: The ratings of the newest instant; with no ratings at all, none.
    """

    users: Ints
    items: Ints
    state: HistoryState
    attributes: ItemAttributes
    newest: Interactions

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        item_table: ItemTable,
        config: HistoryConfig,
        prior: float,
        tokens: tuple[Ints, Ints] = (_NONE, _NONE),
    ) -> Self:
        """Take all of `interactions`; `tokens` are users and items that get a code, too.

        Raises:
            InputError: The log is not in order of time.
        """
        if (np.diff(interactions.time) < 0).any():
            raise InputError("the log is not in order of time; a state takes ratings in order")
        users = IdCodes.from_ids(np.concatenate([interactions.user, tokens[0]]))
        items = IdCodes.from_ids(np.concatenate([item_table.ids, interactions.item, tokens[1]]))
        attributes, genres, people = encode_attributes(item_table, items.ids)
        state = empty_state(len(users), len(items), genres, people, config.length)
        events = encode_interactions(
            interactions, users.codes(interactions.user), items.codes(interactions.item), config
        )
        last = (
            int(np.searchsorted(interactions.time, interactions.time[-1]))
            if len(interactions)
            else 0
        )
        update(state, attributes, config.params(prior), events, 0, last)
        held = with_room(attributes, len(items))
        return cls(users.ids, items.ids, state, held, interactions.select_rows(slice(last, None)))


def with_room(attributes: ItemAttributes, items: int) -> ItemAttributes:
    """For as many item codes: those behind the known ones have neither genres nor people."""
    return ItemAttributes(
        attributes.genres,
        _padded(attributes.genre_offsets, items + 1),
        attributes.people,
        _padded(attributes.people_offsets, items + 1),
    )


def _padded(offsets: Ints, length: int) -> Ints:
    return np.concatenate([offsets, np.full(max(length - len(offsets), 0), offsets[-1])])


_BY_USER = ("user", "taste", "liked", "disliked")
_BY_ITEM = ("item", "peers")
_ROOM = 1024
"""Rows that are added to an array at least, when it grows."""

_BEGINNING = -(2**63)

_NO_EVENTS = CodedInteractions(_NONE, _NONE, _NONE, np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One user and n items at one moment.

    Attributes:
        user: Code of the user.
        items: Codes of the items, (n,).
        time: UNIX seconds for which the values hold.
        values: float64 (n, len(NUMERIC) + 1) by NUMERIC, each a float32, NaN where missing; the
            last column is for whoever reads on.
        liked: Codes of the items liked lately, the newest first.
        disliked: Likewise.
    """

    user: int
    items: Ints
    time: int
    values: NDArray[np.float64]
    liked: Ints
    disliked: Ints

    def select_rows(self, rows: Ints) -> "FeatureRow":
        """With only the items in these rows, in that order."""
        return replace(self, items=self.items[rows], values=self.values[rows])


class LiveState:
    """State, and who has rated what.

    Any thread may call any method: each takes the one lock, and holds it only for as long as the
    state itself is read or changed (the compiled reading lets other threads run).

    Time only goes forward: a rating that is older than the newest one counts as one of the newest
    instant, and so does a reading. A reading knows what is strictly before its moment, as in
    training: to see a rating at once, read at `known_until`.

    Attributes:
        users: Codes of the users. Of all tokens there are at the start, in ascending order.
        items: Likewise, those of the item table included.
    """

    def __init__(
        self,
        snapshot: HistorySnapshot,
        rated: InteractionsByUser,
        config: HistoryConfig,
        prior: float,
    ) -> None:
        """Begin where a snapshot of the ratings `rated` was taken; its arrays are changed."""
        self.users = IdCodes(snapshot.users)
        self.items = IdCodes(snapshot.items)
        self._config = config
        self._params = config.params(prior)
        self._lock = Lock()
        self._state = snapshot.state
        self._attributes = snapshot.attributes
        self._rated = rated
        self._rated_since: defaultdict[int, list[int]] = defaultdict(list)
        newest = snapshot.newest
        self._newest = TiedEvents(int(newest.time[0]) if len(newest) else _BEGINNING)
        for user, item, value in zip(newest.user, newest.item, newest.value, strict=True):
            self._newest.add(self._rating(int(user), int(item), int(value)))
        # Nobody's first rating waits for the compiled function to be read from the disk.
        update(self._state, self._attributes, self._params, _NO_EVENTS, 0, 0)

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        item_table: ItemTable,
        config: HistoryConfig,
        prior: float,
        tokens: tuple[Ints, Ints] = (_NONE, _NONE),
    ) -> Self:
        """Take all of `interactions`; `tokens` are users and items that get a code at the start, too.

        Raises:
            InputError: The log is not in order of time.
        """
        snapshot = HistorySnapshot.of(interactions, item_table, config, prior, tokens)
        return cls(snapshot, InteractionsByUser.from_interactions(interactions), config, prior)

    @property
    def known_until(self) -> int:
        """The first UNIX second at which everything counts that was observed so far."""
        return self._newest.time + 1

    def update(self, user: int, item: int, value: int, time: int) -> bool:
        """Take one rating (1 to 10, UNIX seconds); False if it repeats a pair and changes nothing.

        Only the first rating of a pair is an example.
        """
        with self._lock:
            if item in self._seen(user):
                return False
            if time > self._newest.time:
                self._newest.apply(self._state, self._attributes, self._params)
                self._newest = TiedEvents(time)
            self._newest.take_back(self._state)
            self._newest.add(self._rating(user, item, value))
            self._rated_since[user].append(item)
            return True

    def read(self, user: int, items: Ints, at: int) -> FeatureRow:
        """What was known of the user and each item strictly before `at`, UNIX seconds.

        Both may be strangers.
        """
        with self._lock:
            moment = self._reach(at)
            return self._read(self.users.code(user), self.items.codes(items), moment)

    def read_again(self, user: int, read: FeatureRow) -> FeatureRow:
        """Another user with the items and at the moment of a reading since which nothing came."""
        with self._lock:
            return self._read(self.users.code(user), read.items, read.time, read.values)

    def survey(self, at: int) -> FeatureRow:
        """A stranger with every item that had a code at the start, by code, and the stranger's."""
        with self._lock:
            moment = self._reach(at)
            return self._read(self.users.unknown_code, np.arange(self.items.unknown_code + 1), moment)

    def seen(self, user: int) -> Ints:
        """The items that the user has rated, in order of time."""
        with self._lock:
            return self._seen(user)

    def _seen(self, user: int) -> Ints:
        since = np.array(self._rated_since.get(user, ()), np.int64)
        return np.concatenate([self._rated.item[self._rated.rows(user)], since])

    def _reach(self, at: int) -> int:
        """Bring the state to what it was strictly before `at`; the moment for which it is read."""
        if at > self._newest.time:
            self._newest.apply(self._state, self._attributes, self._params)
        else:
            self._newest.take_back(self._state)
        return max(at, self._newest.time)

    def _read(
        self, user: int, items: Ints, moment: int, known: NDArray[np.float64] | None = None
    ) -> FeatureRow:
        """With the numbers of items out of `known` values, if there are any."""
        values = np.empty((len(items), len(NUMERIC) + 1)) if known is None else known.copy()
        rings = np.empty((2, self._config.length), np.int32)
        state = self._state, self._attributes, self._params
        room = np.full(len(NUMERIC), np.nan)
        lengths = read_candidates(*state, user, items, moment, values, rings, known is None, room)
        liked, disliked = (
            ring[:n].astype(np.int64) for ring, n in zip(rings, lengths, strict=True)
        )
        return FeatureRow(user, items, moment, values, liked, disliked)

    def _rating(self, user: int, item: int, value: int) -> CodedEvent:
        codes = self.users.add(user), self.items.add(item)
        self._make_room(len(self.users), len(self.items))
        label = float(value >= self._config.positive_rating)
        return CodedEvent(user, item, *codes, label, value / 10.0)

    def _make_room(self, users: int, items: int) -> None:
        """Let the arrays have as many rows, by growing them by a quarter at a time."""
        grown = dict.fromkeys(_BY_USER, users) | dict.fromkeys(_BY_ITEM, items)
        changed = {
            name: _grown(getattr(self._state, name), rows)
            for name, rows in grown.items()
            if len(getattr(self._state, name)) < rows
        }
        if changed:
            self._state = self._state._replace(**changed)
            self._attributes = with_room(self._attributes, len(self._state.item))


def _grown(array: NDArray[Any], rows: int) -> NDArray[Any]:
    room = max(rows, len(array) + len(array) // 4, len(array) + _ROOM)
    added = np.zeros((room - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, added])

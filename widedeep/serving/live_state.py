"""The history of users and items while serving: updated by each rating, read for one request.

The features are those of `widedeep.features.history`, bit for bit: the same compiled functions
update and read the state. A model's scorer reads a `FeatureRow`: one user and many items.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.tables import Interactions
from widedeep.features import NUMERIC, FeatureTables, HistoryConfig
from widedeep.features.history import CodedInteractions, History, read_candidates, update
from widedeep.features.request import NOTHING_GIVEN, RequestFeatures
from widedeep.retrieval.user_index import IdCodes, InteractionsByUser
from widedeep.serving.history_snapshot import (
    ITEM_ARRAYS,
    NO_IDS,
    USER_ARRAYS,
    CodedEvent,
    HistorySnapshot,
    TiedEvents,
    pad_attributes,
)

Ints = NDArray[np.int64]

_MINIMUM_GROWTH = 1024
"""Rows by which an array grows at least."""

_BEFORE_ALL = -(2**63)
"""The time of the newest rating when there is none."""

_NO_EVENTS = CodedInteractions(NO_IDS, NO_IDS, NO_IDS, np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The history of one user with n items at one moment.

    Attributes:
        user: Code of the user.
        items: Codes of the items, (n,).
        time: UNIX seconds for which the values hold.
        values: float64 (n, numbers), by the numbers of history, each rounded to float32, NaN where
            missing; the columns behind them are free for the reader.
        liked: Codes of the items that the user liked, the newest first.
        disliked: Likewise.
    """

    user: int
    items: Ints
    time: int
    values: NDArray[np.float64]
    liked: Ints
    disliked: Ints
    given: RequestFeatures = NOTHING_GIVEN

    def select_rows(self, rows: Ints) -> "FeatureRow":
        """Return the same with only the items in these rows, in that order."""
        return replace(self, items=self.items[rows], values=self.values[rows])


class LiveState:
    """The history of all users and items, and which items each user has rated.

    Any thread may call any method: each takes the one lock, and holds it only for as long as the
    state itself is read or changed (compiled reading lets other threads run).

    Time only moves forward: a rating that is older than the newest one counts as one of the newest
    moment, and so does a read. A read knows what is strictly before its moment, as in training: to
    see a rating at once, read at `known_until`.

    Attributes:
        users: Codes of the users; of all ids at the start, in ascending order.
        items: Likewise, those of the item table included.
    """

    def __init__(
        self,
        snapshot: HistorySnapshot,
        rated: InteractionsByUser,
        config: HistoryConfig,
        prior: float,
        *,
        more_numbers: int = 0,
        repeats: bool = False,
    ) -> None:
        """Begin with a snapshot of the interactions `rated`, whose arrays are changed.

        Args:
            snapshot: The history of all interactions.
            rated: The same interactions by user.
            config: The constants.
            prior: Share of positive labels in training.
            more_numbers: Columns behind those of history in what is read.
            repeats: Whether a later interaction of a user with an item counts.
        """
        self.users = IdCodes(snapshot.users)
        self.items = IdCodes(snapshot.items)
        self._config = config
        self._numbers = len(NUMERIC) + len(config.attribute_numbers)
        self._columns = self._numbers + more_numbers
        self._repeats = repeats
        self._history = History(snapshot.state, snapshot.attributes, config.params(prior))
        self._lock = Lock()
        self._rated = rated
        self._rated_since: defaultdict[int, list[int]] = defaultdict(list)
        newest = snapshot.newest
        self._newest = TiedEvents(int(newest.time[0]) if len(newest) else _BEFORE_ALL)
        columns = (newest.user, newest.item, newest.value, newest.label)
        for user, item, value, label in zip(*(c.tolist() for c in columns), strict=True):
            self._newest.add(self._event(user, item, value, label))
        # Load the compiled function now, so that the first rating does not wait for it.
        update(self._history, _NO_EVENTS, 0, 0)

    @classmethod
    def from_interactions(
        cls,
        interactions: Interactions,
        tables: FeatureTables,
        config: HistoryConfig,
        prior: float,
        more_ids: tuple[Ints, Ints] = (NO_IDS, NO_IDS),
        *,
        repeats: bool = False,
    ) -> Self:
        """Begin with all `interactions`; see `HistorySnapshot.from_interactions`.

        Raises:
            InputError: The ratings are not in order of time.
        """
        snapshot = HistorySnapshot.from_interactions(
            interactions, tables.items, config, prior, more_ids
        )
        rated, more = InteractionsByUser.from_interactions(interactions), len(tables.numbers)
        return cls(snapshot, rated, config, prior, more_numbers=more, repeats=repeats)

    @property
    def known_until(self) -> int:
        """The first UNIX second at which every rating so far counts."""
        return self._newest.time + 1

    def update(self, event: FeedbackEvent) -> bool:
        """Take one interaction; return False for a repeated pair that does not count, a no-op."""
        user, item = event.user, event.item
        with self._lock:
            if not self._repeats and item in self._seen(user):
                return False
            if event.time > self._newest.time:
                self._newest.apply(self._history)
                self._newest = TiedEvents(event.time)
            self._newest.take_back(self._history.state)
            self._newest.add(self._event(user, item, event.value, event.label))
            self._rated_since[user].append(item)
            return True

    def read(
        self, user: int, items: Ints, at: int, given: RequestFeatures = NOTHING_GIVEN
    ) -> FeatureRow:
        """Read what was known of a user and items (n,), all by key, strictly before `at`.

        Users and items without a code are read as unknown ones. `at` is in UNIX seconds; `given` is
        passed on.
        """
        with self._lock:
            moment = self._move_to(at)
            row = self._read(self.users.code(user), self.items.codes(items), moment)
        return replace(row, given=given)

    def read_other_user(self, user: int, row: FeatureRow) -> FeatureRow:
        """Read another user with the items and at the moment of `row`, whose item numbers are kept.

        The state must not have been updated since `row` was read.
        """
        with self._lock:
            return self._read(self.users.code(user), row.items, row.time, row.values)

    def read_every_item(self, at: int) -> FeatureRow:
        """Read an unknown user with each item by code: those known at the start, then an unknown.

        `at` is in UNIX seconds.
        """
        with self._lock:
            moment = self._move_to(at)
            items = np.arange(self.items.unknown_code + 1)
            return self._read(self.users.unknown_code, items, moment)

    def seen(self, user: int) -> Ints:
        """Return the ids of the items that the user has rated, in order of time."""
        with self._lock:
            return self._seen(user)

    def _seen(self, user: int) -> Ints:
        since = np.array(self._rated_since.get(user, ()), np.int64)
        return np.concatenate([self._rated.item[self._rated.rows(user)], since])

    def _move_to(self, at: int) -> int:
        """Bring the state to what it was strictly before `at`; return the moment that is read."""
        if at > self._newest.time:
            self._newest.apply(self._history)
        else:
            self._newest.take_back(self._history.state)
        return max(at, self._newest.time)

    def _read(
        self, user: int, items: Ints, moment: int, known: NDArray[np.float64] | None = None
    ) -> FeatureRow:
        """Read by codes; the item numbers are those of the `known` values, if given."""
        values = np.empty((len(items), self._columns)) if known is None else known.copy()
        rings = np.empty((2, self._config.length), np.int32)
        numbers = np.full(self._numbers, np.nan)
        lengths = read_candidates(
            self._history, user, items, moment, values, rings, known is None, numbers
        )
        liked, disliked = (
            ring[:n].astype(np.int64) for ring, n in zip(rings, lengths, strict=True)
        )
        return FeatureRow(user, items, moment, values, liked, disliked)

    def _event(self, user: int, item: int, value: float, label: bool) -> CodedEvent:  # noqa: FBT001
        codes = self.users.add(user), self.items.add(item)
        self._make_room(len(self.users), len(self.items))
        return CodedEvent(user, item, *codes, float(label), value / self._config.value_scale)

    def _make_room(self, users: int, items: int) -> None:
        """Let the arrays have at least as many rows, by growing them by a quarter at a time."""
        state, attributes = self._history.state, self._history.attributes
        needed = dict.fromkeys(USER_ARRAYS, users) | dict.fromkeys(ITEM_ARRAYS, items)
        grown = {
            name: _grow(getattr(state, name), rows)
            for name, rows in needed.items()
            if len(getattr(state, name)) < rows
        }
        if grown:
            state = state._replace(**grown)
            attributes = pad_attributes(attributes, len(state.item))
            self._history = self._history._replace(state=state, attributes=attributes)


def _grow(array: NDArray[Any], rows: int) -> NDArray[Any]:
    capacity = max(rows, len(array) + len(array) // 4, len(array) + _MINIMUM_GROWTH)
    added = np.zeros((capacity - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, added])

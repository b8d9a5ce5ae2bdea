"""History as it is handed to a live state: the state before the newest moment, and that moment.

The ratings of one moment (tied events) are compared with the state before it and then applied
together. Live they come one at a time, so `TiedEvents` can take them out of a state again: it is
then read as it was before, or receives all of them once more with one that came later.
`HistorySnapshot` is the history of the ratings with which a model is loaded.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features import AttributeTable, HistoryConfig
from widedeep.features.history import (
    CodedBags,
    CodedInteractions,
    History,
    HistoryState,
    ItemAttributes,
    check_order,
    empty_state,
    encode_attributes,
    encode_interactions,
    select_items,
    update,
)
from widedeep.retrieval.user_index import IdCodes

Ints = NDArray[np.int64]

USER_ARRAYS = ("user", "user_residuals", "liked", "disliked")
"""Arrays of a `HistoryState` with a row for each user."""

ITEM_ARRAYS = ("item", "groups")
"""Arrays of a `HistoryState` with a row for each item."""

NO_IDS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class HistorySnapshot:
    """The history of all ratings; those of the newest moment are not applied yet.

    Attributes:
        users: Ids that have a code, ascending, (u,); the state has u + 1 users, see `IdCodes`.
        items: Likewise.
        state: The state before the newest moment, by code.
        attributes: Of items by code; an unknown item has none.
        newest: The ratings of the newest moment; empty without any rating.
    """

    users: Ints
    items: Ints
    state: HistoryState
    attributes: ItemAttributes
    newest: Interactions

    @classmethod
    def from_interactions(
        cls,
        interactions: Interactions,
        item_table: AttributeTable,
        config: HistoryConfig,
        prior: float,
        more_ids: tuple[Ints, Ints] = (NO_IDS, NO_IDS),
    ) -> Self:
        """Update an empty state by all ratings.

        Args:
            interactions: Ratings in order of time.
            item_table: Attributes of the items, each of which gets a code.
            config: The constants.
            prior: Share of positive labels in training.
            more_ids: Further users and items that get a code, (u,) and (i,).

        Raises:
            InputError: The ratings are not in order of time.
        """
        interactions = interactions.observed()
        check_order(interactions)
        users = IdCodes.from_ids(np.concatenate([interactions.user, more_ids[0]]))
        items = IdCodes.from_ids(np.concatenate([item_table.ids, interactions.item, more_ids[1]]))
        attributes = encode_attributes(item_table, items.ids, config)
        state = empty_state(len(users), len(items), attributes, config.length)
        events = encode_interactions(
            interactions, users.codes(interactions.user), items.codes(interactions.item), config
        )
        time = interactions.time
        newest = int(np.searchsorted(time, time[-1])) if len(time) else 0
        update(History(state, attributes, config.params(prior)), events, 0, newest)
        return cls(
            users.ids,
            items.ids,
            state,
            pad_attributes(attributes, len(items)),
            interactions.select_rows(slice(newest, None)),
        )


def pad_attributes(attributes: ItemAttributes, items: int) -> ItemAttributes:
    """Return bags of at least `items` item codes; the added ones are empty."""
    return ItemAttributes(
        *(
            CodedBags(
                bags.values,
                _pad_offsets(bags.offsets, items * bags.per_item + 1),
                bags.size,
                bags.per_item,
            )
            for bags in attributes
        )
    )


def _pad_offsets(offsets: Ints, length: int) -> Ints:
    return np.concatenate([offsets, np.full(max(length - len(offsets), 0), offsets[-1])])


@dataclass(frozen=True, slots=True)
class CodedEvent:
    """One interaction by keys and by codes; `label` is 0 or 1, `value` as history counts it."""

    user: int
    item: int
    user_code: int
    item_code: int
    label: float
    value: float


class TiedEvents:
    """The ratings of `time`, UNIX seconds, which are applied to a state together or not at all."""

    def __init__(self, time: int) -> None:
        self.time = time
        self._events: list[CodedEvent] = []
        self._before: _SavedRows | None = None

    def add(self, event: CodedEvent) -> None:
        """Add a rating.

        Raises:
            RuntimeError: The others are applied to a state; take them back first.
        """
        if self._before is not None:
            raise RuntimeError("the tied events are applied to the state; take them back first")
        self._events.append(event)

    def apply(self, history: History) -> None:
        """Update the state by all ratings, in the order of ingest, unless it has them."""
        if self._before is not None or not self._events:
            return
        self._events.sort(key=lambda event: (event.user, event.item))
        events = self._coded()
        self._before = _SavedRows.copy(history, events)
        update(history, events, 0, len(events.time))

    def take_back(self, state: HistoryState) -> None:
        """Restore the state before the ratings to the bit, if it has them."""
        if self._before is not None:
            self._before.restore(state)
            self._before = None

    def _coded(self) -> CodedInteractions:
        def column(name: str, dtype: type) -> NDArray[Any]:
            return np.array([getattr(event, name) for event in self._events], dtype)

        return CodedInteractions(
            column("user_code", np.int64),
            column("item_code", np.int64),
            np.full(len(self._events), self.time),
            column("label", np.float64),
            column("value", np.float64),
        )


@dataclass(frozen=True, slots=True)
class _SavedRows:
    """Copies of all rows of a state that some events may change, by name of the array."""

    rows: dict[str, Ints]
    copies: dict[str, NDArray[Any]]

    @classmethod
    def copy(cls, history: History, events: CodedInteractions) -> "_SavedRows":
        state, overall = history.state, history.attributes.overall
        users, items = np.unique(events.user), np.unique(events.item)
        rows = {
            **dict.fromkeys(USER_ARRAYS, users),
            **dict.fromkeys(ITEM_ARRAYS, items),
            "residuals": np.unique(select_items(overall, items).values),
            "global_": np.arange(len(state.global_)),
        }
        return cls(rows, {name: getattr(state, name)[part] for name, part in rows.items()})

    def restore(self, state: HistoryState) -> None:
        for name, rows in self.rows.items():
            getattr(state, name)[rows] = self.copies[name]

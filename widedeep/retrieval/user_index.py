"""Ratings by user, and the codes by which users and items are indexed.

`InteractionsByUser` indexes the ratings known when a model is loaded, `UserHistory` adds those that
arrive while it serves. `merge_feedback` joins a feedback log to the ratings that a model was
registered with. `IdCodes` numbers the ids known at load and those that appear later.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.repeats import first_rows
from widedeep.data.tables import Interactions, concatenate_context
from widedeep.evaluation.snapshot import DataSnapshot
from widedeep.features.attributes import positions_in

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class InteractionsByUser:
    """Ratings sorted by user, and for each user by time.

    Attributes:
        users: Ids of the users, ascending, shape (u,).
        offsets: The ratings of user i are the rows `offsets[i]` to `offsets[i + 1]`, (u + 1,).
        item: Ids of the rated items, (n,).
        value: float32 (n,).
        time: UNIX seconds, (n,).
        label: bool (n,), whether the interaction is positive.
    """

    users: Ints
    offsets: Ints
    item: Ints
    value: NDArray[np.float32]
    time: Ints
    label: NDArray[np.bool_]

    @classmethod
    def from_interactions(cls, interactions: Interactions) -> Self:
        """Sort `interactions`, which are in order of time, by user, without sampled negatives."""
        interactions = interactions.observed()
        order = np.argsort(interactions.user, kind="stable")
        by_user = interactions.user[order]
        starts = np.flatnonzero(np.diff(by_user, prepend=by_user[:1] - 1))
        offsets = np.append(starts, len(interactions))
        return cls(
            by_user[starts],
            offsets,
            interactions.item[order],
            interactions.value[order],
            interactions.time[order],
            interactions.label[order],
        )

    def rows(self, user: int) -> slice:
        """Return the rows of a user's ratings: an empty slice for a user without any."""
        position = int(self.users.searchsorted(user))
        if position == len(self.users) or self.users[position] != user:
            return slice(0, 0)
        return slice(*self.offsets[position : position + 2].tolist())


class UserHistory:
    """The interactions of each user: those known at load, and those added since.

    Of each (user, item) it holds the first one alone, unless the data count `repeats`. Any number
    of threads may read without a lock while one thread adds.
    """

    def __init__(self, loaded: InteractionsByUser, *, repeats: bool = False) -> None:
        self._loaded = loaded
        self._repeats = repeats
        self._added: defaultdict[int, list[FeedbackEvent]] = defaultdict(list)

    def add(self, event: FeedbackEvent) -> bool:
        """Add a rating; return False if it repeats a pair, which changes nothing."""
        if not self._repeats and event.item in self.seen(event.user):
            return False
        self._added[event.user].append(event)
        return True

    def seen(self, user: int) -> Ints:
        """Return the ids of the items that a user has rated, in the order of rating, shape (n,)."""
        return self.labels(user)[0]

    def labels(self, user: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Return a user's items and their labels, in the order of arrival, (n,) each."""
        rows, added = self._loaded.rows(user), self._added.get(user, ())
        items, labels = self._loaded.item[rows], self._loaded.label[rows]
        if added:
            items = np.append(items, [event.item for event in added])
            labels = np.append(labels, [event.label for event in added])
        return items, labels

    def events(self, user: int) -> tuple[FeedbackEvent, ...]:
        """Return a user's ratings with their times, the newest last."""
        loaded, rows = self._loaded, self._loaded.rows(user)
        columns = (
            column[rows].tolist()
            for column in (loaded.item, loaded.value, loaded.time, loaded.label)
        )
        events = [FeedbackEvent(user, *row) for row in zip(*columns, strict=True)]
        return (*events, *self._added.get(user, ()))


def merge_feedback(snapshot: DataSnapshot, feedback: Interactions) -> Interactions:
    """Join the interactions of a feedback log to those of a snapshot, exactly as ingest would.

    Of a pair the earliest interaction is kept, and of several at the same time the one that comes
    first, unless repeats are examples, too. Feedback that the snapshot holds already, because it
    was ingested since, counts once. Feedback on an item that a complete table lacks is left out.

    Args:
        snapshot: What the model was registered with.
        feedback: In the order of arrival.

    Returns:
        The observed interactions in order of time; those of the snapshot itself if there is no
        valid feedback.
    """
    spec, known = snapshot.side.spec, snapshot.interactions.observed()
    if spec.items is not None and spec.items.complete:
        feedback = feedback.select_rows(np.isin(feedback.item, snapshot.tables.items.ids))
    first_only = spec.interactions.repeats == "first"
    if not first_only:
        feedback = feedback.select_rows(~_in_both(feedback, known))
    if not len(feedback):
        return known
    names = ("user", "item", "value", "time", "label")
    user, item, value, time, label = (
        np.concatenate([getattr(known, name), getattr(feedback, name)]) for name in names
    )
    context = concatenate_context([known.context, feedback.context], [len(known), len(feedback)])
    joined = Interactions(user, item, value, time, label, context=context)
    rows = first_rows(user, item, time) if first_only else np.lexsort((item, user, time))
    return joined.select_rows(rows)


def _in_both(feedback: Interactions, known: Interactions) -> NDArray[np.bool_]:
    """Return which rows of `feedback` are `known`: the same user, item and second, bool (n,)."""
    near = known.select_rows(np.isin(known.time, feedback.time))
    rows, known_rows = (
        np.rec.fromarrays([part.user, part.item, part.time]) for part in (feedback, near)
    )
    return np.isin(rows, known_rows)


class IdCodes:
    """Consecutive codes for ids, extended while serving.

    The n ids known at the start have the codes 0 … n - 1 in ascending order of id. Code n stands
    for every unknown id. Ids that are added later get the codes from n + 1 on.
    """

    def __init__(self, base: Ints) -> None:
        """Number the ids `base`, shape (n,), distinct and ascending."""
        self._base = base
        self._added: dict[int, int] = {}

    @classmethod
    def from_ids(cls, ids: Ints) -> Self:
        """Number `ids`, which may come in any order and repeat."""
        return cls(np.unique(ids))

    def __len__(self) -> int:
        """Number of codes, that of unknown ids included."""
        return len(self._base) + 1 + len(self._added)

    @property
    def unknown_code(self) -> int:
        """The code of every id that has none of its own."""
        return len(self._base)

    @property
    def ids(self) -> Ints:
        """All ids with a code, (m,): the base in ascending order, then in order of addition."""
        return np.concatenate([self._base, np.array([*self._added], np.int64)])

    def code(self, id_: int) -> int:
        """Return the code of an id, `unknown_code` if it has none."""
        position = int(self._base.searchsorted(id_))
        if position < len(self._base) and self._base[position] == id_:
            return position
        return self._added.get(id_, self.unknown_code)

    def codes(self, ids: Ints) -> Ints:
        """Return the code of each of `ids`, shape (n,)."""
        codes = positions_in(self._base, ids)
        missing = codes == self.unknown_code
        if self._added and missing.any():
            missing_ids = ids[missing].tolist()
            codes[missing] = [self._added.get(id_, self.unknown_code) for id_ in missing_ids]
        return codes

    def ids_of(self, codes: Ints) -> Ints:
        """Return the id of each code, shape (n,); `unknown_code` must not be among them."""
        ids: Ints = self.ids[np.where(codes > self.unknown_code, codes - 1, codes)]
        return ids

    def add(self, id_: int) -> int:
        """Return the code of an id, after giving it one if it has none."""
        code = self.code(id_)
        if code == self.unknown_code:
            code = len(self)
            self._added[id_] = code
        return code

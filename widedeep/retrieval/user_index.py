"""Who has rated what, and when: the first rating of each pair, as users see their own.

Ratings, those of each user together.

What is known when a model begins to serve: the ratings it came with, and those taken since.

Tokens ↔ consecutive codes, for tokens known at load and for those met since.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.ingest import first_rows
from widedeep.data.tables import Interactions
from widedeep.evaluation.explain import DataSnapshot
from widedeep.features.items import positions_of

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class InteractionsByUser:
    """A log in the order of user and then time.

    Attributes:
        users: Tokens, ascending, (u,).
        offsets: Where the ratings of each begin, and last where all end, (u + 1,).
        item: Tokens, (n,).
        rate: int8 (n,), 1 to 10.
        time: UNIX seconds, (n,).
    """

    users: Ints
    offsets: Ints
    item: Ints
    value: NDArray[np.int8]
    time: Ints

    @classmethod
    def of(cls, interactions: Interactions) -> Self:
        """Bring a log, which is in order of time, into order."""
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
        )

    def rows(self, user: int) -> slice:
        """Where the ratings of a user stand."""
        place = int(self.users.searchsorted(user))
        if place == len(self.users) or self.users[place] != user:
            return slice(0, 0)
        return slice(*self.offsets[place : place + 2].tolist())


class UserHistory:
    """What was rated before, and every rating since; readers need no lock beside one writer."""

    def __init__(self, before: InteractionsByUser) -> None:
        self._before = before
        self._since: defaultdict[int, list[FeedbackEvent]] = defaultdict(list)

    def add(self, event: FeedbackEvent) -> bool:
        """Note a rating; False if it repeats a pair, which changes nothing."""
        if event.item in self.seen(event.user):
            return False
        self._since[event.user].append(event)
        return True

    def seen(self, user: int) -> NDArray[np.int64]:
        """Tokens of what the user has rated, in the order in which it was, (n,)."""
        return self.rates(user)[0]

    def rates(self, user: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """What the user has rated, and how, in that order, (n,) each."""
        rows, since = self._before.rows(user), self._since.get(user, ())
        items, rates = self._before.item[rows], self._before.value[rows]
        if since:
            items = np.append(items, [event.item for event in since])
            rates = np.append(rates, np.array([event.value for event in since], np.int8))
        return items, rates

    def of_user(self, user: int) -> tuple[FeedbackEvent, ...]:
        """A user's ratings, the newest last."""
        held, rows = self._before, self._before.rows(user)
        columns = (held.item[rows].tolist(), held.value[rows].tolist(), held.time[rows].tolist())
        before = [FeedbackEvent(user, *values) for values in zip(*columns, strict=True)]
        return (*before, *self._since.get(user, ()))


_RATES = (1, 10)


def merge_feedback(companion: DataSnapshot, events: pa.Table) -> Interactions:
    """The ratings of a companion with those of an event log, as ingest would have them.

    Of several ratings of a pair the first in time is the example; of several at one time, the one
    that stands first. Events of items that are not in the item table are left out.

    Args:
        companion: What the model came with.
        events: user, item, rate, time int64 (n,), in the order in which they came.
    """
    interactions = companion.interactions
    columns = [events[name].to_numpy() for name in ("user", "item", "value", "time")]
    good = np.isin(columns[1], companion.item_table.items)
    good &= (columns[2] >= _RATES[0]) & (columns[2] <= _RATES[1])
    if not good.any():
        return interactions
    ours = (interactions.user, interactions.item, interactions.value, interactions.time)
    user, item, value, time = (
        np.concatenate([before, since[good]]) for before, since in zip(ours, columns, strict=True)
    )
    rows = first_rows(user, item, time)
    return Interactions(user[rows], item[rows], value[rows].astype(np.int8), time[rows])


class IdCodes:
    """The n tokens of the base have the codes 0 … n - 1, in ascending order.

    n stands for every stranger. A token that is added gets the next code from n + 1 on.
    """

    def __init__(self, base: Ints) -> None:
        """`base` (n,) is in ascending order."""
        self._base = base
        self._added: dict[int, int] = {}

    @classmethod
    def of(cls, tokens: Ints) -> Self:
        """Begin with `tokens` in any order, repeats among them."""
        return cls(np.unique(tokens))

    def __len__(self) -> int:
        """Number of codes, with the stranger's."""
        return len(self._base) + 1 + len(self._added)

    @property
    def stranger(self) -> int:
        """The code of a token that is not known."""
        return len(self._base)

    @property
    def tokens(self) -> Ints:
        """All known tokens: the base in ascending order, then in the order in which they came."""
        return np.concatenate([self._base, np.array([*self._added], np.int64)])

    def code(self, token: int) -> int:
        """The code of one token."""
        place = int(self._base.searchsorted(token))
        if place < len(self._base) and self._base[place] == token:
            return place
        return self._added.get(token, self.stranger)

    def codes(self, tokens: Ints) -> Ints:
        """The code of each token, shape (n,)."""
        place = positions_of(self._base, tokens)
        strange = place == self.stranger
        if self._added and strange.any():
            missed = tokens[strange].tolist()
            place[strange] = [self._added.get(token, self.stranger) for token in missed]
        return place

    def token(self, codes: Ints) -> Ints:
        """The tokens of codes that are not the stranger's, shape (n,)."""
        known = self.tokens
        found: Ints = known[np.where(codes > self.stranger, codes - 1, codes)]
        return found

    def add(self, token: int) -> int:
        """The code of a token that is known from now on."""
        code = self.code(token)
        if code == self.stranger:
            code = len(self)
            self._added[token] = code
        return code

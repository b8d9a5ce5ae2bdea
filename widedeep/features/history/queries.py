"""What history is asked for: the queries, one a row, and the columns that are computed of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Context
from widedeep.features.history.config import HistoryConfig
from widedeep.features.history.numbers import NUMERIC
from widedeep.inputs import InputError

Ints = NDArray[np.int64]

BAGS = ("liked", "disliked")
"""Names of the bags of items that a user remembers."""


@dataclass(frozen=True, slots=True)
class ColumnSelection:
    """Names of the numbers and of the bags to compute.

    All of them take three gigabytes for five million rows.
    """

    numbers: tuple[str, ...] = NUMERIC
    bags: tuple[str, ...] = BAGS


def all_columns(config: HistoryConfig) -> ColumnSelection:
    """Return all numbers, those of the config's attributes included, and all bags."""
    return ColumnSelection((*NUMERIC, *config.attribute_numbers))


@dataclass(frozen=True, slots=True)
class Queries:
    """Rows to compute features of; each column but the context is int64 of shape (n,).

    Attributes:
        user: Keys of users.
        item: Keys of items.
        time: UNIX seconds for which the features hold.
        known_until: UNIX seconds, at most `time`: only ratings strictly before it may influence
            the row. The streaming protocol knows all ratings until a row's own time, the frozen one
            those until the start of the holdout.
        context: Context features of the rows; one that is absent is missing.

    Raises:
        InputError: The columns differ in length, or a row would know its own future.
    """

    user: Ints
    item: Ints
    time: Ints
    known_until: Ints
    context: Context = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = [len(column) for column in (self.user, self.item, self.time, self.known_until)]
        if len(set(lengths)) > 1:
            raise InputError(
                f"the columns of the queries have {lengths} rows; expected equal lengths"
            )
        if (self.known_until > self.time).any():
            row = int(np.argmax(self.known_until > self.time))
            raise InputError(
                f"query {row}: known_until is {self.known_until[row]}; expected at most its own "
                f"time, {self.time[row]}"
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.user)

    @classmethod
    def for_every_pair(cls, users: Ints, items: Ints, at: int) -> "Queries":
        """Ask for each user with each item, user by user, at UNIX seconds `at`.

        All ratings before `at` are known. `users` and `items` are ids, (u,) and (i,); the result
        has u x i rows.
        """
        moment = np.full(len(users) * len(items), at)
        return cls(np.repeat(users, len(items)), np.tile(items, len(users)), moment, moment)

    def select_rows(self, rows: NDArray[Any] | slice) -> "Queries":
        """Return the given rows, as indexing an array would."""
        context = {name: column[rows] for name, column in self.context.items()}
        user, item, time = self.user[rows], self.item[rows], self.time[rows]
        return Queries(user, item, time, self.known_until[rows], context)

    def known_earlier(self, seconds: Ints) -> "Queries":
        """Return the same rows, each with a history that ends `seconds`, (n,), earlier."""
        known_until = self.known_until - seconds
        return Queries(self.user, self.item, self.time, known_until, self.context)

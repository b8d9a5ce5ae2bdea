"""Point-in-time history: for each query, what was known strictly before its `known_until`.

Streaming queries are known until their own time; frozen ones until the start of the holdout.

What a walk through time finds for each query: numbers, and the items remembered.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.history_state import (
    JUDGED_COLUMNS,
    NUMERIC,
    CodedInteractions,
    HistoryParams,
    HistoryPass,
    ItemAttributes,
    empty_state,
    largest_tie,
    run_pass,
)
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged, as_slice
from widedeep.features.vocabulary import IndexedBag
from widedeep.inputs import InputError
from widedeep.parallel import parallel_map, worker_count

Ints = NDArray[np.int64]

BAGS = ("liked", "disliked")
"""The items that a user remembers."""

_OBSERVING = 0.45
"""What observing a rating takes of the time of observing it and describing a query (measured)."""


@dataclass(frozen=True, slots=True)
class ColumnSelection:
    """What is to be kept, or read, of what a walk finds: numbers and bags, by name.

    Of five million ratings all of it takes three gigabytes.
    """

    numbers: tuple[str, ...] = NUMERIC
    bags: tuple[str, ...] = BAGS


ALL_COLUMNS = ColumnSelection()


@dataclass(frozen=True, slots=True)
class HistoryColumns:
    """`numeric` float32 (n, numbers that were wanted), NaN where missing.

    Bags hold items, the newest first; of one instant, the highest item id.
    """

    numeric: NDArray[np.float32]
    liked: IndexedBag
    disliked: IndexedBag
    names: tuple[str, ...] = NUMERIC

    @classmethod
    def of_walk(
        cls,
        walkers: Sequence[HistoryPass],
        order: Ints,
        tokens: Ints,
        wanted: ColumnSelection = ALL_COLUMNS,
    ) -> Self:
        """What the queries of a sweep find, in `order` of known_until.

        `tokens` are by item code. Several `walkers`, copies of the sweep, describe a share of the
        queries each, at the same time, and only observe what the first of these knows. They move
        their states; that of the last is then what the last query knows.
        """
        shares = np.split(order, _borders(len(order), len(walkers)))
        numeric = np.empty((len(order), len(wanted.numbers)), np.float32)
        walk = partial(_walk, numeric=numeric, wanted=wanted)
        found = parallel_map(walk, walkers, shares)
        bag = partial(_bag, order=order, tokens=tokens)
        liked, disliked = parallel_map(bag, zip(*found, strict=True))
        return cls(numeric, liked, disliked, wanted.numbers)

    def select_rows(self, rows: Ints) -> "HistoryColumns":
        """The named rows, in that order."""
        liked, disliked = self.liked.select_rows(rows), self.disliked.select_rows(rows)
        numeric = self.numeric[as_slice(rows, len(self.numeric))]
        return HistoryColumns(numeric, liked, disliked, self.names)

    def column(self, name: str) -> NDArray[np.float32]:
        """One numeric feature, shape (n,)."""
        return self.numeric[:, self.names.index(name)]


def _borders(count: int, walkers: int) -> Ints:
    """Where the shares of `count` queries end, so that all walkers are done at the same time."""
    left = (1 - _OBSERVING) ** np.arange(walkers + 1)
    borders: Ints = (count * (1 - left[1:-1]) / (1 - left[-1])).astype(np.int64)
    return borders


def _walk(
    sweep: HistoryPass, order: Ints, numeric: NDArray[np.float32], wanted: ColumnSelection
) -> tuple[Ragged, Ragged]:
    """Fill the numbers of the queries in `order`; gives the codes they remember, in that order."""
    length = sweep.state.liked.shape[1] if wanted.bags else 0
    room = len(order) * length
    liked, disliked = np.empty(room, np.int32), np.empty(room, np.int32)
    lengths = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    columns = np.array([NUMERIC.index(name) for name in wanted.numbers], np.int64)
    rated = sweep.events.time
    judged = np.empty((largest_tie(rated, 0, len(rated)), JUDGED_COLUMNS))
    out = np.empty(len(NUMERIC))
    run_pass(sweep, order, columns, numeric, (liked, disliked), lengths, judged, out)
    filled = [codes[: own.sum()] for codes, own in zip((liked, disliked), lengths, strict=True)]
    return Ragged.from_lengths(filled[0], lengths[0]), Ragged.from_lengths(filled[1], lengths[1])


def _bag(parts: Sequence[Ragged], order: Ints, tokens: Ints) -> IndexedBag:
    """Rows in the queries' own order, out of rows of codes in `order`."""
    bag = IndexedBag(Ragged.concatenate(parts), tokens)
    return bag.select_rows(np.argsort(order)) if (np.diff(order) < 0).any() else bag


_POSITIVE = {
    "user_smoothing",
    "item_smoothing",
    "taste_smoothing",
    "user_variance",
    "user_half_life",
    "item_variance",
    "long_half_life",
    "short_half_life",
    "burst_half_life",
    "burst_smoothing",
    "day_half_life",
    "month_half_life",
    "world_half_life",
}


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """How history becomes numbers.

    `positive_rating`: a rating of at least this is a positive label. `length`: how many liked and
    disliked items are remembered. The smoothings count rows of the prior that are mixed into
    means. The variances (of logits) are those that terms of the online logistic model begin with;
    a user's term fades with `user_half_life`, the variance of a item's grows by `item_drift` a
    day, and `world_step` moves the base rate (logit per unit of error). `fast`, `slow` and
    `fast_value` weigh the newest rating in a user's moving averages. Half-lives are in days.
    """

    positive_rating: int = 10
    length: int = 20
    user_smoothing: float = 1.5
    item_smoothing: float = 8.0
    taste_smoothing: float = 3.0
    user_variance: float = 2.7
    user_half_life: float = 1900.0
    item_variance: float = 0.25
    item_drift: float = 6e-5
    world_step: float = 0.005
    fast: float = 0.35
    slow: float = 0.12
    long_half_life: float = 365.0
    short_half_life: float = 30.0
    burst_half_life: float = 3.0
    burst_smoothing: float = 2.0
    day_half_life: float = 1.0
    month_half_life: float = 30.0
    fast_value: float = 0.3
    world_half_life: float = 60.0

    def __post_init__(self) -> None:
        if not 2 <= self.positive_rating <= 10:  # noqa: PLR2004
            raise InputError(f"positive_rating is {self.positive_rating}; 2 to 10 is wanted")
        if self.length < 1:
            raise InputError(f"length is {self.length}; at least 1 remembered movie is wanted")
        for name in HistoryParams._fields[1:]:
            value, zero = getattr(self, name), name not in _POSITIVE
            if not (isfinite(value) and (value > 0 or (zero and value == 0))):
                wanted = "at least 0" if zero else "a positive number"
                raise InputError(f"{name} is {value}; {wanted} is wanted")

    def positive(self, value: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Which ratings are positive labels."""
        return value >= self.positive_rating

    def params(self, prior: float) -> HistoryParams:
        """The constants, with the share of positive labels in training as prior."""
        if not 0 < prior < 1:
            raise InputError(f"the prior is {prior}; a share between 0 and 1 is wanted")
        return HistoryParams(prior, *(getattr(self, name) for name in HistoryParams._fields[1:]))


@dataclass(frozen=True, slots=True)
class Queries:
    """Rows to describe: tokens of user and item, and UNIX seconds; int64 of shape (n,) each.

    Only ratings strictly before `known_until` (at most `time`) may influence a row.
    """

    user: Ints
    item: Ints
    time: Ints
    known_until: Ints

    def __post_init__(self) -> None:
        lengths = [len(column) for column in (self.user, self.item, self.time, self.known_until)]
        if len(set(lengths)) > 1:
            raise InputError(f"the columns of the queries have {lengths} rows; as many are wanted")
        if (self.known_until > self.time).any():
            row = int(np.argmax(self.known_until > self.time))
            raise InputError(
                f"query {row}: known until {self.known_until[row]}, later than its own time "
                f"{self.time[row]}"
            )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.user)

    @classmethod
    def of_every_pair(cls, users: Ints, items: Ints, at: int) -> "Queries":
        """Each user with each item, user by user, with all that is known at UNIX seconds `at`."""
        moment = np.full(len(users) * len(items), at)
        return cls(np.repeat(users, len(items)), np.tile(items, len(users)), moment, moment)

    def select_rows(self, rows: NDArray[Any]) -> "Queries":
        """The named rows."""
        return Queries(self.user[rows], self.item[rows], self.time[rows], self.known_until[rows])

    def known_earlier(self, seconds: Ints) -> "Queries":
        """The same rows, each with a history that ends `seconds` (n,) earlier."""
        return Queries(self.user, self.item, self.time, self.known_until - seconds)


def history_columns(
    interactions: Interactions,
    queries: Queries,
    item_table: ItemTable,
    config: HistoryConfig,
    prior: float,
    *,
    wanted: ColumnSelection = ALL_COLUMNS,
) -> HistoryColumns:
    """Describe `queries` by the ratings of `interactions` that each may know.

    Raises:
        InputError: the log is not in order of time, so the future could not be told from the past.
    """
    sweep, tokens = start_pass(interactions, queries, item_table, config, prior)
    order = np.argsort(queries.known_until, kind="stable")
    return HistoryColumns.of_walk(copy_pass(sweep, worker_count()), order, tokens, wanted)


def copy_pass(sweep: HistoryPass, count: int) -> list[HistoryPass]:
    """The sweep and copies of it, each with a state of its own."""
    copies = [sweep._replace(state=copy.deepcopy(sweep.state)) for _ in range(count - 1)]
    return [sweep, *copies]


def check_order(interactions: Interactions) -> None:
    """Raise InputError if the log is not in order of time."""
    early = np.flatnonzero(np.diff(interactions.time) < 0)
    if len(early):
        row = int(early[0]) + 1
        raise InputError(
            f"rating {row} of the log has time {interactions.time[row]}, earlier than {interactions.time[row - 1]} "
            "before it; an order by time is wanted"
        )


def start_pass(
    interactions: Interactions,
    queries: Queries,
    item_table: ItemTable,
    config: HistoryConfig,
    prior: float,
) -> tuple[HistoryPass, Ints]:
    """Everything a pass over time needs, in codes, and the item token of each code.

    Raises:
        InputError: see `history_columns`.
    """
    check_order(interactions)
    user, users = pd.factorize(np.concatenate([interactions.user, queries.user]))
    item, items = pd.factorize(np.concatenate([interactions.item, queries.item]))
    rated = len(interactions.user)
    events = encode_interactions(interactions, user[:rated], item[:rated], config)
    attributes, genres, people = encode_attributes(item_table, items)
    state = empty_state(len(users), len(items), genres, people, config.length)
    asked = (user[rated:], item[rated:], *query_times(queries))
    return HistoryPass(state, attributes, config.params(prior), events, *asked), items


def encode_interactions(
    interactions: Interactions, user: Ints, item: Ints, config: HistoryConfig
) -> CodedInteractions:
    """The ratings, with the codes of their users and items."""
    label = config.positive(interactions.value).astype(np.float64)
    return CodedInteractions(
        user, item, _writable(interactions.time), label, interactions.value / 10.0
    )


def query_times(queries: Queries) -> tuple[Ints, Ints]:
    """The time of each query, and until when it knows."""
    return _writable(queries.time), _writable(queries.known_until)


def _writable(column: Ints) -> Ints:
    """A copy of a file's column, which is not: numba would compile for each mixture."""
    return np.require(column, requirements=["C", "W"])


def encode_attributes(item_table: ItemTable, items: Ints) -> tuple[ItemAttributes, int, int]:
    """Codes of genres and people of the items, and how many of each there are."""
    rows = item_table.find_rows(items)
    genres, people = item_table.bags["genres"].select_rows(rows), item_table.bags["people"].select_rows(rows)
    genre_codes, genre_tokens = pd.factorize(genres.values)
    people_codes, people_tokens = pd.factorize(people.values)
    attributes = ItemAttributes(genre_codes, genres.offsets, people_codes, people.offsets)
    return attributes, len(genre_tokens), len(people_tokens)

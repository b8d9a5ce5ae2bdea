"""Point-in-time history of queries: for each, what was known strictly before its `known_until`.

`compute_history` replays the ratings once, in order of time, and reads the state before each query.
The result, `HistoryColumns`, has the numbers and the liked and disliked items of each query. Other
modules cut the same pass into parts (`out_of_core.history_parts`) or let it go on while serving
(`serving.live_state`).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.attributes import AttributeTable
from widedeep.features.history.config import HistoryConfig
from widedeep.features.history.numbers import NUMERIC
from widedeep.features.history.passes import (
    CodedInteractions,
    HistoryPass,
    PassOutput,
    longest_tie,
    run_pass,
)
from widedeep.features.history.queries import ColumnSelection, Ints, Queries, all_columns
from widedeep.features.history.state import CodedBags, History, ItemAttributes, empty_state
from widedeep.features.history.terms import RESIDUALS
from widedeep.features.ragged import Ragged, as_slice
from widedeep.features.vocabulary import IndexedBag
from widedeep.inputs import InputError
from widedeep.parallel import parallel_map, worker_count

_UPDATE_SHARE = 0.45
"""The part that the update takes of the time of updating by a rating and reading a query
(measured)."""


@dataclass(frozen=True, slots=True)
class HistoryColumns:
    """History of n queries.

    Attributes:
        numeric: float32 (n, numbers), NaN where missing.
        liked: Ids of the items that the user liked, the newest first; of items rated at the same
            moment the highest id first.
        disliked: Likewise.
        names: Names of the numbers.
    """

    numeric: NDArray[np.float32]
    liked: IndexedBag
    disliked: IndexedBag
    names: tuple[str, ...] = NUMERIC

    @classmethod
    def compute(
        cls,
        passes: Sequence[HistoryPass],
        order: Ints,
        item_ids: Ints,
        selection: ColumnSelection = ColumnSelection(),  # noqa: B008  it is frozen
        attribute_numbers: tuple[str, ...] = (),
    ) -> Self:
        """Run a pass over time in one or several workers.

        Args:
            passes: One pass, or copies of it (`copy_pass`) with a state each. Each reads a share of
                the queries, at the same time as the others, and only updates its state before
                them. The states are changed: that of the last pass then is what the last query
                knows.
            order: The queries in order of `known_until`, (n,).
            item_ids: Id of each item code.
            selection: The numbers and bags to compute; other bags are empty.
            attribute_numbers: Names of the numbers behind `NUMERIC`, those of the passes' config.
        """
        shares = np.split(order, _share_ends(len(order), len(passes)))
        numeric = np.empty((len(order), len(selection.numbers)), np.float32)
        numbers = (*NUMERIC, *attribute_numbers)
        run = partial(_run, numeric=numeric, selection=selection, numbers=numbers)
        bags = parallel_map(run, passes, shares)
        to_ids = partial(_indexed_bag, order=order, item_ids=item_ids)
        liked, disliked = parallel_map(to_ids, zip(*bags, strict=True))
        return cls(numeric, liked, disliked, selection.numbers)

    def select_rows(self, rows: Ints) -> "HistoryColumns":
        """Return the given rows, in that order."""
        liked, disliked = self.liked.select_rows(rows), self.disliked.select_rows(rows)
        numeric = self.numeric[as_slice(rows, len(self.numeric))]
        return HistoryColumns(numeric, liked, disliked, self.names)

    def column(self, name: str) -> NDArray[np.float32]:
        """Return one numeric feature, shape (n,)."""
        return self.numeric[:, self.names.index(name)]


def _share_ends(count: int, workers: int) -> Ints:
    """Return where the shares of `count` queries end, so that all workers end at the same time."""
    left = (1 - _UPDATE_SHARE) ** np.arange(workers + 1)
    ends: Ints = (count * (1 - left[1:-1]) / (1 - left[-1])).astype(np.int64)
    return ends


def _run(
    history_pass: HistoryPass,
    order: Ints,
    numeric: NDArray[np.float32],
    selection: ColumnSelection,
    numbers: tuple[str, ...],
) -> tuple[Ragged, Ragged]:
    """Fill the rows of `numeric` of the queries in `order`; return their bags in that order."""
    length = history_pass.history.state.liked.shape[1] if selection.bags else 0
    room, time = len(order) * length, history_pass.events.time
    output = PassOutput(
        np.array([numbers.index(name) for name in selection.numbers], np.int64),
        numeric,
        (np.empty(room, np.int32), np.empty(room, np.int32)),
        (np.empty(len(order), np.int64), np.empty(len(order), np.int64)),
        np.empty(longest_tie(time, 0, len(time)), RESIDUALS),
        np.empty(len(numbers)),
    )
    run_pass(history_pass, order, output)
    liked, disliked = (
        Ragged.from_lengths(codes[: lengths.sum()], lengths)
        for codes, lengths in zip(output.bags, output.lengths, strict=True)
    )
    return liked, disliked


def _indexed_bag(parts: Sequence[Ragged], order: Ints, item_ids: Ints) -> IndexedBag:
    """Bring rows of item codes, which are in `order`, into the order of the queries."""
    bag = IndexedBag(Ragged.concatenate(parts), item_ids)
    return bag.select_rows(np.argsort(order)) if (np.diff(order) < 0).any() else bag


def compute_history(
    interactions: Interactions,
    queries: Queries,
    items: AttributeTable,
    config: HistoryConfig,
    prior: float,
    *,
    selection: ColumnSelection | None = None,
) -> HistoryColumns:
    """Compute the history of `queries` from the interactions that each may know.

    Args:
        interactions: Ratings in order of time.
        queries: n rows.
        items: Attributes of the items.
        config: The constants.
        prior: Share of positive labels in training, between 0 and 1.
        selection: The numbers and bags to compute; all of them if None.

    Raises:
        InputError: The interactions are not in order of time, or a number has no such name.
    """
    history_pass, item_ids = start_pass(interactions, queries, items, config, prior)
    order = np.argsort(queries.known_until, kind="stable")
    passes = copy_pass(history_pass, worker_count())
    selection = selection or all_columns(config)
    return HistoryColumns.compute(passes, order, item_ids, selection, config.attribute_numbers)


def copy_pass(history_pass: HistoryPass, count: int) -> list[HistoryPass]:
    """Return the pass and `count` - 1 copies of it, each with a state of its own."""
    history = history_pass.history
    copies = [
        history_pass._replace(history=history._replace(state=copy.deepcopy(history.state)))
        for _ in range(count - 1)
    ]
    return [history_pass, *copies]


def check_order(interactions: Interactions) -> None:
    """Raise InputError unless the interactions are in order of time."""
    early = np.flatnonzero(np.diff(interactions.time) < 0)
    if len(early):
        row = int(early[0]) + 1
        raise InputError(
            f"interaction {row} has time {interactions.time[row]}, earlier than the one before it "
            f"({interactions.time[row - 1]}); expected interactions in order of time"
        )


def start_pass(
    interactions: Interactions,
    queries: Queries,
    items: AttributeTable,
    config: HistoryConfig,
    prior: float,
) -> tuple[HistoryPass, Ints]:
    """Return a pass over time before its first rating, and the item id of each of its codes.

    Raises:
        InputError: The interactions are not in order of time.
    """
    check_order(interactions)
    interactions = interactions.observed()
    user, users = pd.factorize(np.concatenate([interactions.user, queries.user]))
    item, ids = pd.factorize(np.concatenate([interactions.item, queries.item]))
    count = len(interactions.user)
    attributes = encode_attributes(items, ids, config)
    state = empty_state(len(users), len(ids), attributes, config.length)
    history_pass = HistoryPass(
        History(state, attributes, config.params(prior)),
        encode_interactions(interactions, user[:count], item[:count], config),
        user[count:],
        item[count:],
        *query_times(queries),
    )
    return history_pass, ids


def encode_interactions(
    interactions: Interactions, user: Ints, item: Ints, config: HistoryConfig
) -> CodedInteractions:
    """Return ratings as a pass reads them; `user` and `item` are the codes of their ids, (n,)."""
    label = interactions.label.astype(np.float64)
    time = _writable(interactions.time)
    value = interactions.value.astype(np.float64) / config.value_scale
    return CodedInteractions(user, item, time, label, value)


def query_times(queries: Queries) -> tuple[Ints, Ints]:
    """Return `time` and `known_until` of queries as a pass reads them."""
    return _writable(queries.time), _writable(queries.known_until)


def _writable(column: Ints) -> Ints:
    """Copy a column that is read-only, as those of files are.

    numba would compile anew for each mixture of read-only and other arrays.
    """
    return np.require(column, requirements=["C", "W"])


def encode_attributes(items: AttributeTable, ids: Ints, config: HistoryConfig) -> ItemAttributes:
    """Return the attributes of the items `ids`, (n,), by item code, with codes for their values.

    Raises:
        InputError: The items have no such category or bag.
    """
    rows = items.find_rows(ids)
    return ItemAttributes(
        _encode_bags([items.as_bag(name).select_rows(rows) for name in config.user_attributes]),
        _encode_bags([items.as_bag(name).select_rows(rows) for name in config.attributes]),
    )


def select_items(bags: CodedBags, items: Ints) -> CodedBags:
    """Return the bags of some item codes, (n,); the values keep their codes."""
    each = np.arange(bags.per_item)
    rows = (items[:, np.newaxis] * bags.per_item + each).ravel()
    selected = Ragged(bags.values, bags.offsets).select_rows(rows)
    return CodedBags(selected.values, selected.offsets, bags.size, bags.per_item)


def _encode_bags(bags: Sequence[Ragged]) -> CodedBags:
    """Code the values of bags with n rows each; row i of each bag stands beside those of others."""
    if not bags:
        return CodedBags(np.empty(0, np.int64), np.zeros(1, np.int64), 0, 0)
    columns, size = [], 0
    for bag in bags:
        codes, values = pd.factorize(bag.values)
        columns.append(bag.with_values(codes.astype(np.int64) + size))
        size += len(values)
    if len(columns) == 1:
        return CodedBags(columns[0].values, columns[0].offsets, size, 1)
    rows = np.arange(len(bags[0]) * len(bags)).reshape(len(bags), -1).T.ravel()
    interleaved = Ragged.concatenate(columns).select_rows(rows)
    return CodedBags(interleaved.values, interleaved.offsets, size, len(bags))

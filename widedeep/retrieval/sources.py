"""The sources of candidates, and how their ranked lists become one.

Each source scores the rows of an item table: `Popularity` by the likes of all users, the others by
what the user liked (`CoLiked`: liked by the same users; `SharedAttributes`: the same attributes;
`NearestItems`: close in the model's embedding). `top_k` turns scores into a ranked list and
`reciprocal_rank_fusion` merges several (Cormack, Clarke and Büttcher, "Reciprocal rank fusion
outperforms Condorcet and individual rank learning methods", 2009).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.data.dataset import DatasetSpec
from widedeep.features.attributes import AttributeTable
from widedeep.features.ragged import Ragged
from widedeep.features.sampling import DAY
from widedeep.inputs import InputError
from widedeep.model.trained_model import TrainedModel

Ints = NDArray[np.int64]
Scores = NDArray[np.float64]

POPULAR = "popular"
CO_LIKED = "co-liked"
SIMILAR = "similar"
NEAREST = "nearest"

_HALF_LIVES = 512
"""Half-lives after which popularity is counted in larger units, before a like overflows float64."""


@dataclass(slots=True)
class Popularity:
    """Likes of m items, each worth half as much after every half-life; by row of the item table.

    All counts decay alike, so their order only changes when a like comes. `counts` are therefore
    kept in units of a like at one fixed moment. Counting likes one by one in order of time gives
    the same as counting them together, to the bit (except for likes more than 300 half-lives old).

    Attributes:
        half_life: In days.
        counts: float64 (m,).
        unit: The number of half-lives since 1970 at which a like is worth 1.
    """

    half_life: float
    counts: Scores
    unit: int = 0

    @classmethod
    def empty(cls, item_count: int, half_life: float) -> Self:
        """Start with a count of 0 for each of `item_count` items."""
        return cls(half_life, np.zeros(item_count))

    def count_likes(self, rows: Ints, times: Ints) -> None:
        """Count likes of the items `rows` at `times` in UNIX seconds, shape (n,) each."""
        if not len(rows):
            return
        half_lives = times / (self.half_life * DAY)
        self._rescale(floor(half_lives.max()))
        whole = np.floor(half_lives)
        worth = np.ldexp(np.exp2(half_lives - whole), (whole - self.unit).astype(np.int32))
        np.add.at(self.counts, rows, worth)

    def add(self, row: int, time: int) -> None:
        """Count one like of the item `row` at `time` in UNIX seconds."""
        self.count_likes(np.array([row]), np.array([time]))

    def _rescale(self, newest: int) -> None:
        """Count in larger units if a like of half-life `newest` could become too large a number."""
        unit = newest // _HALF_LIVES * _HALF_LIVES
        if unit > self.unit:
            self.counts = np.ldexp(self.counts, self.unit - unit)
            self.unit = unit


@dataclass(frozen=True, slots=True)
class WeightedLists:
    """Sparse rows: list i has `weights` at `columns`, from `offsets[i]` to `offsets[i + 1]`."""

    offsets: Ints
    columns: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def from_entries(
        cls, lists: Ints, columns: Ints, weights: NDArray[np.float32], list_count: int
    ) -> Self:
        """Build `list_count` lists from entries in any order, shape (n,) each."""
        order = np.argsort(lists, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=list_count))])
        return cls(offsets, columns[order].astype(np.int32), weights[order])

    def weighted_sum(self, lists: Ints, factors: Scores, width: int) -> Scores:
        """Return the sum of the named lists, each times its factor (n,), as one row (width,)."""
        total = np.zeros(width)
        _add_lists(self.offsets, self.columns, self.weights, (lists, factors), total)
        return total


@compiled
def _add_lists(
    offsets: Ints,
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    named: tuple[Ints, Scores],
    total: Scores,
) -> None:
    lists, factors = named
    for i in range(len(lists)):
        for j in range(offsets[lists[i]], offsets[lists[i] + 1]):
            total[columns[j]] += factors[i] * weights[j]


@dataclass(frozen=True, slots=True)
class CoLikedConfig:
    """How items that the same users liked become neighbours.

    A neighbour that c users liked together with an item weighs c / (c + `shrinkage`) * c /
    (n * m) ** `power`, where n and m users liked each of the two: a power of .5 is the cosine, 0
    the count. The tried values are listed in `RetrieverConfig`.

    Attributes:
        neighbours: How many of the best neighbours are kept of each item.
        likes: How many of a user's newest likes count.
        power: See above.
        shrinkage: See above.

    Raises:
        InputError: A value is out of range.
    """

    neighbours: int = 200
    likes: int = 200
    power: float = 0.35
    shrinkage: float = 5.0

    def __post_init__(self) -> None:
        if min(self.neighbours, self.likes) < 1 or min(self.power, self.shrinkage) < 0:
            raise InputError(
                f"{self}: expected neighbours and likes of at least 1, and power and shrinkage of "
                "at least 0"
            )


@dataclass(frozen=True, slots=True)
class CoLiked:
    """The neighbours of each item: items that the same users liked, as counted at load."""

    neighbours: WeightedLists
    item_count: int

    @classmethod
    def from_likes(cls, users: Ints, rows: Ints, item_count: int, config: CoLikedConfig) -> Self:
        """Count likes in order of time: user ids and rows of the item table, shape (n,) each."""
        by_user = _newest_likes(users, rows, config.likes)
        owners = by_user.row_numbers()
        order = np.argsort(by_user.values, kind="stable")
        liked = np.bincount(by_user.values, minlength=item_count)
        by_item = Ragged.from_lengths(owners[order], liked)
        shape = (item_count, min(config.neighbours, max(item_count, 1)))
        columns, weights = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        lists = (by_item.offsets, by_item.values, by_user.offsets, by_user.values)  # noqa: PD011
        settings = (config.power, config.shrinkage)
        _find_neighbours(lists, liked.astype(np.float64), settings, columns, weights)
        filled = columns >= 0
        offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
        return cls(WeightedLists(offsets, columns[filled], weights[filled]), item_count)

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """Score every item, (m,), by the liked rows (n,), each with a factor; 0 is no relation."""
        return self.neighbours.weighted_sum(liked, factors, self.item_count)


def _newest_likes(users: Ints, rows: Ints, likes: int) -> Ragged:
    """Return the newest `likes` rows of each user."""
    order = np.argsort(users, kind="stable")
    _, counts = np.unique(users, return_counts=True)
    from_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(users))
    return Ragged.from_lengths(rows[order][from_end <= likes], np.minimum(counts, likes))


@compiled
def _find_neighbours(
    lists: tuple[Ints, Ints, Ints, Ints],
    liked: Scores,
    settings: tuple[float, float],
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> None:
    """Write the best neighbours of each item to `columns` and `weights`, the best first.

    `lists` are offsets and users by item, then offsets and items by user; `liked` (m,) is the
    number of users who liked each item; `settings` are power and shrinkage.
    """
    item_offsets, users, user_offsets, items = lists
    power, shrinkage = settings
    together = np.zeros(len(liked), np.int64)
    for item in range(len(liked)):
        touched = []
        for i in range(item_offsets[item], item_offsets[item + 1]):
            for j in range(user_offsets[users[i]], user_offsets[users[i] + 1]):
                if together[items[j]] == 0:
                    touched.append(items[j])
                together[items[j]] += 1
        others = np.sort(np.array([other for other in touched if other != item], dtype=np.int64))
        counts = together[others].astype(np.float64)
        value = counts / (counts + shrinkage) * counts / (liked[item] * liked[others]) ** power
        best = np.argsort(-value, kind="mergesort")[: columns.shape[1]]
        columns[item, : len(best)] = others[best]
        weights[item, : len(best)] = value[best]
        for other in touched:
            together[other] = 0


@dataclass(frozen=True, slots=True)
class SharedAttributes:
    """Cosines of the items' attributes, each weighted by its inverse document frequency.

    A value that few items have says more about them.
    """

    attributes: WeightedLists
    items_with: WeightedLists
    item_count: int

    @classmethod
    def from_items(cls, items: AttributeTable, groups: Sequence[Sequence[str]]) -> Self:
        """Read attributes of all items; those of a group have values in common, see `groups_of`."""
        item_count = len(items.ids)
        rows, codes, times = _attribute_entries(items, groups)
        code_count = int(codes.max(initial=-1)) + 1
        frequency = np.maximum(np.bincount(codes, minlength=code_count), 1)
        rarity: Scores = np.log1p(item_count / frequency)
        weights: Scores = rarity[codes] * times
        lengths = np.sqrt(np.bincount(rows, weights**2, minlength=item_count))
        units = (weights / np.maximum(lengths, 1e-12)[rows]).astype(np.float32)
        return cls(
            WeightedLists.from_entries(rows, codes, units, item_count),
            WeightedLists.from_entries(codes, rows, units, code_count),
            item_count,
        )

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """Score every item, (m,), by the liked rows (n,), each with a factor; 0: nothing shared."""
        code_count = len(self.items_with.offsets) - 1
        profile = self.attributes.weighted_sum(liked, factors, code_count)
        codes = np.flatnonzero(profile)
        return self.items_with.weighted_sum(codes, profile[codes], self.item_count)


def groups_of(spec: DatasetSpec, attributes: Sequence[str]) -> list[list[str]]:
    """Return the attributes on which history keeps residuals, with those that hold the same ids.

    A person in a leading role, say, is one of the people as well, and then counts twice.
    """
    groups: dict[str, list[str]] = {}
    names = {feature.name: feature.names for feature in spec.features}
    for attribute in dict.fromkeys(attributes):
        table = names.get(attribute)
        same = [name for name, own in names.items() if table is not None and own == table]
        groups.setdefault(table or attribute, same or [attribute])
    return [*groups.values()]


def _attribute_entries(
    items: AttributeTable, groups: Sequence[Sequence[str]]
) -> tuple[Ints, Ints, Ints]:
    """Return item row, attribute code and number of occurrences of each entry, (n,) each."""
    every_item = np.arange(len(items.ids))
    rows, codes, width = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for group in groups:
        bags = [items.as_bag(name).select_rows(every_item) for name in group]
        own, values = pd.factorize(Ragged.concatenate(bags).values)
        codes.append(own + width)
        rows += [bag.row_numbers() for bag in bags]
        width += len(values)
    width = max(width, 1)
    entries, times = np.unique(
        np.concatenate(rows) * width + np.concatenate(codes), return_counts=True
    )
    return entries // width, entries % width, times


@dataclass(frozen=True, slots=True)
class NearestItems:
    """The items' deep embeddings, by which items close to the mean of the liked ones are found.

    Attributes:
        embeddings: float32 (m, dimensions), each of length 1.
        known: bool (m,), whether the model has learned an embedding for the item. No item is known
            to a model without a deep part or without the item as a feature.
    """

    embeddings: NDArray[np.float32]
    known: NDArray[np.bool_]

    @classmethod
    def from_model(cls, model: TrainedModel, items: Ints) -> Self:
        """Read the model's embeddings of the item ids `items`, shape (m,)."""
        if "item" not in model.network.embeddings:
            return cls(np.zeros((len(items), 1), np.float32), np.zeros(len(items), np.bool_))
        codes = model.transform.vocabularies["item"].encode(items)
        vectors = model.network.embeddings["item"].detach().cpu().numpy()[codes]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(vectors / np.maximum(lengths, 1e-12), codes > 0)

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """Return 1 plus the cosine to the mean of the liked rows (n,), in [0, 2], shape (m,).

        Unknown items score 0, and so does every item if none of the liked ones is known.
        """
        known = self.known[liked]
        if not known.any():
            return np.zeros(len(self.known))
        mean = factors[known].astype(np.float32) @ self.embeddings[liked[known]]
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
        return np.where(self.known, 1.0 + self.embeddings @ mean, 0.0)


def top_k(scores: Scores, allowed: NDArray[np.bool_], limit: int) -> Ints:
    """Return the allowed rows with the highest scores above 0, best first, at most `limit`.

    `scores` and `allowed` are of shape (m,). Of equal scores the lower row comes first.
    """
    rows = np.flatnonzero(allowed & (scores > 0))
    values = scores[rows]
    if len(rows) > limit:
        least = np.partition(values, len(rows) - limit)[len(rows) - limit]
        rows, values = rows[values >= least], values[values >= least]
    order: Ints = rows[np.argsort(-values, kind="stable")[:limit]]
    return order


def reciprocal_rank_fusion(
    lists: Mapping[str, Ints],
    weights: Mapping[str, float],
    constant: float,
    limit: int,
    row_count: int,
) -> tuple[Ints, Scores]:
    """Merge ranked lists of rows into one.

    A list adds its weight / (`constant` + 1 + i) to the score of the row at its position i (from
    0). Of equal scores the lower row comes first.

    Args:
        lists: Rows from 0 to `row_count` - 1 by the name of the list, best first.
        weights: The weight of each list, by name.
        constant: See above.
        limit: How many rows are returned at most.
        row_count: Number of rows there are.

    Returns:
        The best rows, best first, (n,), and what each list added to their scores, (lists, n).
    """
    shares = np.zeros((len(lists), row_count))
    for share, (name, rows) in zip(shares, lists.items(), strict=True):
        share[rows] = weights[name] / (constant + 1 + np.arange(len(rows)))
    best = top_k(shares.sum(axis=0), np.ones(row_count, np.bool_), limit)
    return best, shares[:, best]


def contributing_sources(names: Sequence[str], shares: Scores) -> list[tuple[str, ...]]:
    """Name the lists that added to each row's score, the largest share first.

    `shares` (lists, n) are those of `reciprocal_rank_fusion`, `names` those of its lists.
    """
    order = np.argsort(-shares, axis=0, kind="stable").T.tolist()
    counts = np.count_nonzero(shares, axis=0).tolist()
    return [
        tuple(names[i] for i in by_share[:n]) for by_share, n in zip(order, counts, strict=True)
    ]

"""Co-liked: items that those liked who liked what the user liked.

Popular lately: likes counted, each worth half as much after every half-life.

Sparse rows of weights, some of which are added up to scores.

Nearest: items whose deep embedding lies closest to the mean of those the user liked.

Similar: items with the same people or genres as those the user liked.

The best of a row of scores, and one list out of several.

Reciprocal rank fusion: Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet
and individual rank learning methods" (2009).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Self

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError
from widedeep.model.trained_model import TrainedModel

Ints = NDArray[np.int64]

POPULAR = "popular"
DAY = 86_400
_LARGEST = 512


@dataclass(slots=True)
class Popularity:
    """Decayed counts of the likes of m items, by row of the item table.

    All counts fade alike, so their order only changes when a like comes: `counts` are in units of
    a like of the newest half-life or so. Taking the likes one by one in the order of the log gives
    the same as taking them together, to the bit (short of what is 300 half-lives old).

    Attributes:
        half_life: In days.
        counts: float64 (m,).
        unit: The half-life, counted from 1970, of which a like is worth 1.
    """

    half_life: float
    counts: NDArray[np.float64]
    unit: int = 0

    @classmethod
    def of(cls, items: int, half_life: float) -> Self:
        """Begin at 0."""
        return cls(half_life, np.zeros(items))

    def count_likes(self, rows: Ints, times: Ints) -> None:
        """Count likes of the items `rows` at `times`, UNIX seconds; (n,) each."""
        if not len(rows):
            return
        lives = times / (self.half_life * DAY)
        self._begin(floor(lives.max()))
        whole = np.floor(lives)
        worth = np.ldexp(np.exp2(lives - whole), (whole - self.unit).astype(np.int32))
        np.add.at(self.counts, rows, worth)

    def add(self, row: int, time: int) -> None:
        """Count one like."""
        self.count_likes(np.array([row]), np.array([time]))

    def _begin(self, newest: int) -> None:
        """Count in larger units before the newest like would be too large a number."""
        unit = newest // _LARGEST * _LARGEST
        if unit > self.unit:
            self.counts = np.ldexp(self.counts, self.unit - unit)
            self.unit = unit


Columns = NDArray[np.int32]
Weights = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightedLists:
    """List i has `weights` at `columns`, both from `offsets[i]` to `offsets[i + 1]`."""

    offsets: Ints
    columns: Columns
    weights: Weights

    @classmethod
    def of(cls, lists: Ints, columns: Ints, weights: Weights, count: int) -> Self:
        """Of entries in any order, (n,) each; `count` lists."""
        order = np.argsort(lists, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=count))])
        return cls(offsets, columns[order].astype(np.int32), weights[order].astype(np.float32))

    def added(self, lists: Ints, factors: Scores, width: int) -> Scores:
        """The sum of the named lists, each times its factor (n,), as one row (width,)."""
        total = np.zeros(width)
        _add(self.offsets, self.columns, self.weights, (lists, factors), total)
        return total


@njit(cache=True, nogil=True)
def _add(
    offsets: Ints, columns: Columns, weights: Weights, named: tuple[Ints, Scores], total: Scores
) -> None:
    lists, factors = named
    for i in range(len(lists)):
        for j in range(offsets[lists[i]], offsets[lists[i] + 1]):
            total[columns[j]] += factors[i] * weights[j]


CO_LIKED = "co-liked"


@dataclass(frozen=True, slots=True)
class CoLikedConfig:
    """How items that the same users liked become neighbours.

    A neighbour liked by c users together with a item weighs c / (c + `shrinkage`) * c /
    (n * m) ** `power`, n and m being the users who liked each: a power of .5 is the cosine, 0 the
    count. Each item keeps its `neighbours` best; of a user the newest `likes` count. Tried values
    are with `RetrievalConfig`.
    """

    neighbours: int = 200
    likes: int = 200
    power: float = 0.35
    shrinkage: float = 5.0

    def __post_init__(self) -> None:
        if min(self.neighbours, self.likes) < 1 or min(self.power, self.shrinkage) < 0:
            raise InputError(
                f"{self}: neighbours and likes from 1, and no negative value is wanted"
            )


@dataclass(frozen=True, slots=True)
class CoLiked:
    """The neighbours of each item, as of the moment at which they were counted."""

    neighbours: WeightedLists
    items: int

    @classmethod
    def of(cls, users: Ints, rows: Ints, items: int, config: CoLikedConfig) -> Self:
        """Count who liked which row of the item table, (n,) each, in order of time."""
        by_user = _newest_likes(users, rows, config.likes)
        owners = by_user.row_numbers()
        order = np.argsort(by_user.values, kind="stable")
        liked = np.bincount(by_user.values, minlength=items)
        by_item = Ragged.from_lengths(owners[order], liked)
        shape = (items, min(config.neighbours, max(items, 1)))
        columns, weights = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        lists = (by_item.offsets, by_item.values, by_user.offsets, by_user.values)
        _count(lists, liked.astype(np.float64), (config.power, config.shrinkage), columns, weights)
        held = columns >= 0
        offsets = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
        return cls(WeightedLists(offsets, columns[held], weights[held]), items)

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """How much each item belongs to the liked rows, each with a factor; 0: not at all."""
        return self.neighbours.added(liked, factors, self.items)


def _newest_likes(users: Ints, rows: Ints, likes: int) -> Ragged:
    """The newest `likes` rows of each user."""
    order = np.argsort(users, kind="stable")
    _, counts = np.unique(users, return_counts=True)
    from_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(users))
    return Ragged.from_lengths(rows[order][from_end <= likes], np.minimum(counts, likes))


@njit(cache=True, nogil=True)
def _count(
    lists: tuple[Ints, Ints, Ints, Ints],
    liked: Scores,
    settings: tuple[float, float],
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> None:
    """Fill in the best neighbours of each item, the best first."""
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


NEAREST = "nearest"
_TABLE = "item"


@dataclass(frozen=True, slots=True)
class NearestItems:
    """Embeddings of the items, each of length 1, float32 (m, dimensions).

    `known` (m,): the model has learned an embedding of the item's own. A model without a deep part
    or without the item as a feature knows none.
    """

    embeddings: NDArray[np.float32]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, model: TrainedModel, items: Ints) -> Self:
        """Read the model's table for the tokens `items`, (m,)."""
        if _TABLE not in model.network.embeddings:
            return cls(np.zeros((len(items), 1), np.float32), np.zeros(len(items), np.bool_))
        ids = model.transform.vocabularies[_TABLE].encode(items)
        vectors = model.network.embeddings[_TABLE].detach().cpu().numpy()[ids]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(vectors / np.maximum(lengths, 1e-12), ids > 0)

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """Cosine to the mean of the liked rows plus 1, in [0, 2]; 0 for items that aren't known.

        All 0 where none of the liked ones is known.
        """
        held = self.known[liked]
        if not held.any():
            return np.zeros(len(self.known))
        mean = factors[held].astype(np.float32) @ self.embeddings[liked[held]]
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
        return np.where(self.known, 1.0 + self.embeddings @ mean, 0.0)


SIMILAR = "similar"


@dataclass(frozen=True, slots=True)
class SharedAttributes:
    """Cosines of the items' genres and people, each weighed by its inverse document frequency.

    Who or what few items have tells more. Leading roles are people, too, and count twice.
    """

    attributes: WeightedLists
    items_with: WeightedLists
    items: int

    @classmethod
    def of(cls, item_table: ItemTable) -> Self:
        """Read genres, people and leading roles of all items."""
        count = len(item_table.items)
        rows, codes, times = _entries(item_table, ("genres", "people", "leading"))
        widest = int(codes.max(initial=-1)) + 1
        rarity: Scores = np.log1p(count / np.maximum(np.bincount(codes, minlength=widest), 1))
        weights: Scores = rarity[codes] * times
        lengths = np.sqrt(np.bincount(rows, weights**2, minlength=count))
        units = (weights / np.maximum(lengths, 1e-12)[rows]).astype(np.float32)
        return cls(
            WeightedLists.of(rows, codes, units, count),
            WeightedLists.of(codes, rows, units, widest),
            count,
        )

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """How much each item shares with the liked rows, each with a factor; 0: nothing."""
        widest = len(self.items_with.offsets) - 1
        profile = self.attributes.added(liked, factors, widest)
        held = np.flatnonzero(profile)
        return self.items_with.added(held, profile[held], self.items)


def _entries(item_table: ItemTable, names: tuple[str, ...]) -> tuple[Ints, Ints, Ints]:
    """Row and code of each attribute of each item, and how often it has it, (n,) each.

    A leading role is a person once more.
    """
    bags = [item_table.bag(name, np.arange(len(item_table.items))) for name in names]
    genres, *people = bags
    genre_codes, kinds = pd.factorize(genres.values)
    person_codes, persons = pd.factorize(Ragged.concatenate(people).values)
    codes = np.concatenate([genre_codes, person_codes + len(kinds)])
    rows = np.concatenate([bag.row_numbers() for bag in bags])
    width = max(len(kinds) + len(persons), 1)
    entries, times = np.unique(rows * width + codes, return_counts=True)
    return entries // width, entries % width, times


def top_k(scores: Scores, allowed: NDArray[np.bool_], limit: int) -> Ints:
    """The allowed rows of the highest scores above 0, best first, the lower row first of equals.

    `scores` and `allowed` are (m,); at most `limit` rows.
    """
    rows = np.flatnonzero(allowed & (scores > 0))
    values = scores[rows]
    if len(rows) > limit:
        least = np.partition(values, len(rows) - limit)[len(rows) - limit]
        rows, values = rows[values >= least], values[values >= least]
    order: Ints = rows[np.argsort(-values, kind="stable")[:limit]]
    return order


def reciprocal_rank_fusion(
    lists: Mapping[str, Ints], weights: Mapping[str, float], constant: float, limit: int, count: int
) -> tuple[Ints, NDArray[np.float64]]:
    """The best `limit` rows of some ranked lists, best first, and what each list gave to each.

    A row (of `count`) at place i (from 0) of a list gets the list's weight / (constant + 1 + i)
    from it; the lower row first of equals. The shares are of shape (lists, rows).
    """
    shares = np.zeros((len(lists), count))
    for share, (name, own) in zip(shares, lists.items(), strict=True):
        share[own] = weights[name] / (constant + 1 + np.arange(len(own)))
    rows = top_k(shares.sum(axis=0), np.ones(count, np.bool_), limit)
    return rows, shares[:, rows]


def contributing_sources(
    names: Sequence[str], shares: NDArray[np.float64]
) -> list[tuple[str, ...]]:
    """Of each row the lists that gave it something, who gave most first; see `reciprocal_rank_fusion`."""
    order = np.argsort(-shares, axis=0, kind="stable").T.tolist()
    counts = np.count_nonzero(shares, axis=0).tolist()
    return [
        tuple(names[i] for i in by_share[:n]) for by_share, n in zip(order, counts, strict=True)
    ]

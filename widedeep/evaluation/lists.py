"""The lists that users are shown: how far they differ, and how well known their items are.

`Exposure` counts in how many lists each item stands, chunk by chunk, and `Exposure.measure` sums it
up as a `Personalisation`. `TopLists` are the lists of ten that a model shows in an evaluation: they
tell how much a new model changes, and how far its lists differ from user to user.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.evaluation.scoring import Scorer
from widedeep.features import Queries
from widedeep.features.attributes import positions_in
from widedeep.features.sampling import DAY
from widedeep.metrics import Floats

_Ints = NDArray[np.int64]

LIST_LENGTH = 10
USERS = ITEMS = 100
"""How many users get a list, and how many items are ranked for each of them."""
_YEAR = 365 * DAY


@dataclass(frozen=True, slots=True)
class Personalisation:
    """How far the lists of many users differ, and how well known their items are.

    Attributes:
        lists: Number of lists with at least one item.
        items: Number of distinct items in them.
        coverage: The same as a share of the catalogue, in [0, 1].
        gini: Gini coefficient of exposure: 0 if each item of the catalogue stands in as many lists
            as any other, and close to 1 if a few items fill all lists. None: nothing is shown.
        overlap: Share of a list that stands in the list of another user, on average over all pairs
            of users: 1 if all lists have the same items, 0 if no two share one. None: there are
            fewer than two lists.
        most_shown: Share of the lists in which the most frequent item stands. None: nothing is
            shown.
        novelty: Mean self-information of the items shown, in bits, see `self_information`. None:
            nothing is shown.
    """

    lists: int
    items: int
    coverage: float
    gini: float | None
    overlap: float | None
    most_shown: float | None
    novelty: float | None

    def to_text(self) -> str:
        """Return the figures as one line."""
        if self.gini is None or self.most_shown is None or self.novelty is None:
            return "no item is shown"
        overlap = "" if self.overlap is None else f"two lists share {self.overlap:.0%}, "
        return (
            f"{self.items:,} items shown ({self.coverage:.1%} of all), the most frequent in "
            f"{self.most_shown:.0%} of the lists, {overlap}Gini {self.gini:.3f}, "
            f"novelty {self.novelty:.2f} bits"
        )


@dataclass(slots=True)
class Exposure:
    """In how many lists each item of a catalogue stands.

    Attributes:
        catalogue: Ids of the items that could be shown, int64 (m,), ascending.
        counts: Lists with each item, int64 (m,).
        lists: Number of lists counted that have at least one item.
    """

    catalogue: _Ints
    counts: _Ints
    lists: int = 0

    @classmethod
    def empty(cls, catalogue: _Ints) -> Self:
        """Begin without a list; `catalogue` (m,) holds distinct ids in ascending order."""
        return cls(catalogue, np.zeros(len(catalogue), np.int64))

    def add(self, lists: int, items: _Ints) -> None:
        """Count more lists by their items, ids (n,) of the catalogue, each once a list."""
        self.lists += lists
        self.counts += np.bincount(
            positions_in(self.catalogue, items), minlength=len(self.catalogue)
        )

    def measure(self, information: Floats) -> Personalisation:
        """Sum up; `information` (m,) is the `self_information` of the catalogue."""
        shown, items = int(self.counts.sum()), int(np.count_nonzero(self.counts))
        coverage = items / max(len(self.catalogue), 1)
        if not shown:
            return Personalisation(self.lists, 0, coverage, None, None, None, None)
        pairs = shown * (self.lists - 1)
        shared = int((self.counts * (self.counts - 1)).sum())
        return Personalisation(
            self.lists,
            items,
            coverage,
            gini(self.counts),
            shared / pairs if pairs else None,
            int(self.counts.max()) / self.lists,
            float(self.counts @ information) / shown,
        )


def gini(counts: _Ints) -> float:
    """Return the Gini coefficient of counts (m,), at least one of them above 0; in [0, 1).

    It is half the mean difference of two counts, relative to their mean.
    """
    ordered = np.sort(counts)
    ranks = np.arange(1, len(ordered) + 1)
    spread = int(((2 * ranks - len(ordered) - 1) * ordered).sum())
    return spread / (len(ordered) * int(ordered.sum()))


def self_information(interactions: Interactions, items: _Ints) -> Floats:
    """Return how little known each of `items` (m,) is, in bits, float64 (m,).

    It is -log2 of the share of users with an interaction with the item; one more user is taken to
    have met every item, so that an item without an interaction has a value, too. Zhou et al.,
    "Solving the apparent diversity-accuracy dilemma of recommender systems" (2010).

    Args:
        interactions: What is known, of which sampled negatives do not count.
        items: Ids, distinct and ascending.
    """
    interactions = interactions.observed()
    users, user_codes = np.unique(interactions.user, return_inverse=True)
    positions = positions_in(items, interactions.item)
    pairs = np.unique(positions * max(len(users), 1) + user_codes)
    known_by = np.bincount(pairs // max(len(users), 1), minlength=len(items) + 1)[: len(items)]
    return np.log2((len(users) + 1) / (known_by + 1))


@dataclass(frozen=True, slots=True)
class TopLists:
    """The best items of each user, best first: ids, int64 (users,) and (users, LIST_LENGTH)."""

    user: _Ints
    item: _Ints

    @classmethod
    def compute(cls, interactions: Interactions, at: int, scorer: Scorer) -> Self:
        """Rank the most rated items for the users seen last.

        The users are those with the latest ratings in `interactions`, the items those rated most in
        the year before `at` (UNIX seconds). Items that a user has rated are not shown again. The
        choice of users and items does not depend on the scorer.
        """
        interactions = interactions.observed()
        users, items = _last_seen(interactions), _most_rated(interactions, at)
        scores = scorer(Queries.for_every_pair(users, items, at)).reshape(len(users), len(items))
        scores[_rated(interactions, users, items)] = -1.0
        best = np.argsort(-scores, axis=1, kind="stable")[:, :LIST_LENGTH]
        return cls(users, items[best])

    def churn(self, other: Self) -> float:
        """Return the share of items, in [0, 1], that `other` does not show to the same user."""
        pairs = zip(self.item, other.item, strict=True)
        shared = [len(np.intersect1d(items, other_items)) for items, other_items in pairs]
        return 1.0 - float(np.sum(shared)) / max(self.item.size, 1)

    def coverage(self) -> int:
        """Return how many distinct items the lists show."""
        return len(np.unique(self.item))

    def personalisation(self, catalogue: _Ints, information: Floats) -> Personalisation:
        """Measure the lists; see `ranked_catalogue` for the catalogue, (m,) each."""
        exposure = Exposure.empty(catalogue)
        exposure.add(len(self.user), self.item.ravel())
        return exposure.measure(information)

    def save(self, path: Path) -> None:
        """Write one Parquet file with a row for each user."""
        pq.write_table(pa.table({"user": self.user, "items": list(self.item)}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the Parquet file that `save` wrote."""
        table = pq.read_table(path)
        items = np.array(table["items"].to_pylist(), np.int64)
        return cls(table["user"].to_numpy(), items.reshape(table.num_rows, -1))


def ranked_catalogue(interactions: Interactions, at: int) -> tuple[_Ints, Floats]:
    """Return the ids of the items that `TopLists.compute` ranks, and their self-information."""
    catalogue = _most_rated(interactions.observed(), at)
    return catalogue, self_information(interactions, catalogue)


def _last_seen(interactions: Interactions) -> _Ints:
    """Return the USERS users whose last rating is the latest, sorted by id."""
    users, newest = np.unique(interactions.user[::-1], return_index=True)
    return np.sort(users[np.argsort(newest, kind="stable")[:USERS]])


def _most_rated(interactions: Interactions, at: int) -> _Ints:
    """Return the ITEMS items rated most in the year before `at` (or ever), sorted by id."""
    recent = interactions.item[interactions.time >= at - _YEAR]
    items, ratings = np.unique(recent if len(recent) else interactions.item, return_counts=True)
    return np.sort(items[np.argsort(-ratings, kind="stable")[:ITEMS]])


def _rated(interactions: Interactions, users: _Ints, items: _Ints) -> NDArray[np.bool_]:
    """Return which of `users` rated which of `items` (both sorted), bool (users, items)."""
    rows = np.isin(interactions.user, users) & np.isin(interactions.item, items)
    rated = np.zeros((len(users), len(items)), np.bool_)
    rated[
        np.searchsorted(users, interactions.user[rows]),
        np.searchsorted(items, interactions.item[rows]),
    ] = True
    return rated

"""What a registered model carries beside its weights, in its folder `history`.

`DataSnapshot` is the data that were known when the model was registered. Serving starts from it and
adds what the feedback log has received since. `GoldenRequests` are requests with the model's
answers of that moment: a loaded copy has to answer them alike before it is used.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.tables import Interactions, read_small, save_columns
from widedeep.evaluation.scoring import Scorer
from widedeep.features import ItemTable, Queries
from widedeep.metrics import Floats
from widedeep.store import file_digest

GOLDEN = "golden.parquet"
"""File name of the golden requests in the folder `history`."""

UNKNOWN_ID = -1
"""An id that no user and no item has."""

_RATINGS, _ITEMS, _PEOPLE = "ratings.parquet", "items.parquet", "people.parquet"
_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class DataSnapshot:
    """The data known when a model was registered.

    Attributes:
        interactions: The ratings.
        items: One row for each item, with the columns `data.tables.ITEM_COLUMNS`.
        people: Names of people, with the columns `data.tables.PEOPLE_COLUMNS`.
        item_table: The attributes of `items`, as features read them.
    """

    interactions: Interactions
    items: pa.Table
    people: pa.Table
    item_table: ItemTable

    @classmethod
    def from_tables(cls, interactions: Interactions, items: pa.Table, people: pa.Table) -> Self:
        """Return the snapshot of these tables, with the item table that follows from `items`."""
        return cls(interactions, items, people, ItemTable.from_table(items))

    def save(self, folder: Path) -> None:
        """Write three Parquet files into `folder`, which exists."""
        self.interactions.save(folder / _RATINGS)
        pq.write_table(self.items, folder / _ITEMS)
        pq.write_table(self.people, folder / _PEOPLE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the folder `history` of a registered model."""
        return cls.from_tables(Interactions.load(folder / _RATINGS), *load_item_tables(folder))


def load_item_tables(folder: Path) -> tuple[pa.Table, pa.Table]:
    """Read items and people, without the ratings, from the folder `history` of a model."""
    return read_small(folder / _ITEMS), read_small(folder / _PEOPLE)


def item_table_digests(folder: Path) -> tuple[str, str]:
    """Return the SHA-256 digests of the two files that `load_item_tables` reads."""
    return file_digest(folder / _ITEMS), file_digest(folder / _PEOPLE)


@dataclass(frozen=True, slots=True)
class GoldenRequests:
    """Requests (ids, UNIX seconds) with the answers of the model; (n,) each, n at most 200."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]
    probability: Floats

    @classmethod
    def compute(cls, interactions: Interactions, scorer: Scorer) -> Self:
        """Answer the last rated pairs right after the last rating.

        Every tenth pair has an unknown user instead of its own, and every tenth an unknown item.
        """
        user = interactions.user[-_REQUESTS:].copy()
        item = interactions.item[-_REQUESTS:].copy()
        user[::10], item[5::10] = UNKNOWN_ID, UNKNOWN_ID
        time = np.full(len(user), interactions.time[-1] + 1)
        return cls(user, item, time, scorer(Queries(user, item, time, time)))

    def save(self, path: Path) -> None:
        """Write one Parquet file with a column for each field."""
        save_columns(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the Parquet file that `save` wrote."""
        table = pq.read_table(path)
        return cls(*(table[name].to_numpy() for name in cls.__slots__))

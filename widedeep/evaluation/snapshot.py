"""What a registered model carries beside its weights, in its folder `history`.

`DataSnapshot` is the data that were known when the model was registered. Serving starts from it and
adds what the feedback log has received since. `GoldenRequests` are requests with the model's
answers of that moment: a loaded copy has to answer them alike before it is used.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.ids import UNKNOWN_KEY, column_keys
from widedeep.data.tables import (
    INTERACTIONS_FILE,
    ITEMS_FILE,
    NAMES_FILE,
    SPEC_JSON,
    USERS_FILE,
    Context,
    Interactions,
    SideTables,
    context_columns,
    read_context_columns,
)
from widedeep.evaluation.scoring import Scorer
from widedeep.features import FeatureTables, Queries
from widedeep.metrics import Floats
from widedeep.store import file_digest

GOLDEN = "golden.parquet"
"""File name of the golden requests in the folder `history`."""

UNKNOWN_ID = UNKNOWN_KEY
"""A key that no user and no item has."""

_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class DataSnapshot:
    """The data known when a model was registered.

    Attributes:
        interactions: The interactions.
        side: Items, users and names.
        tables: The attributes in them, as features read them.
    """

    interactions: Interactions
    side: SideTables
    tables: FeatureTables

    @classmethod
    def from_tables(cls, interactions: Interactions, side: SideTables) -> Self:
        """Return the snapshot of these tables."""
        return cls(interactions, side, FeatureTables.from_side_tables(side))

    def save(self, folder: Path) -> None:
        """Write the tables into `folder`, which exists."""
        self.interactions.save(folder / INTERACTIONS_FILE)
        self.side.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the folder `history` of a registered model."""
        return cls.from_tables(
            Interactions.load(folder / INTERACTIONS_FILE), SideTables.load(folder)
        )


def side_table_digests(folder: Path) -> tuple[str, ...]:
    """Return the SHA-256 digests of the files that `SideTables.load` reads."""
    names = (SPEC_JSON, ITEMS_FILE, USERS_FILE, NAMES_FILE)
    return tuple(file_digest(folder / name) for name in names)


@dataclass(frozen=True, slots=True)
class GoldenRequests:
    """Requests with the answers of the model; (n,) each, n at most 200.

    Attributes:
        user: Keys.
        item: Keys.
        time: UNIX seconds.
        probability: The answers.
        context: Context features of the requests.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]
    probability: Floats
    context: Context = field(default_factory=dict)

    @classmethod
    def compute(cls, interactions: Interactions, scorer: Scorer) -> Self:
        """Answer the last pairs, in their context, right after the last interaction.

        Every tenth pair has an unknown user instead of its own, and every tenth an unknown item.
        """
        user = interactions.user[-_REQUESTS:].copy()
        item = interactions.item[-_REQUESTS:].copy()
        user[::10], item[5::10] = UNKNOWN_ID, UNKNOWN_ID
        time = np.full(len(user), interactions.time[-1] + 1)
        context = interactions.select_rows(slice(-_REQUESTS, None)).context
        return cls(user, item, time, scorer(Queries(user, item, time, time, context)), context)

    def save(self, path: Path, side: SideTables) -> None:
        """Write one Parquet file with a column for each field, ids as they stand in the data."""
        columns = {
            "user": side.user_ids.column(self.user),
            "item": side.item_ids.column(self.item),
            "time": self.time,
            "probability": self.probability,
        }
        # Plain text, because a dry run sends the columns as they are read.
        context = {
            name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for name, column in context_columns(self.context).items()
        }
        pq.write_table(pa.table({**columns, **context}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the Parquet file that `save` wrote."""
        table = pq.read_table(path)
        user, item = column_keys(table["user"]), column_keys(table["item"])
        time, probability = table["time"].to_numpy(), table["probability"].to_numpy()
        return cls(user, item, time, probability, read_context_columns(table))

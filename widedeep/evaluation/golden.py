"""Requests with the answers a model must give: what a loaded copy is tried with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.columns import save_columns
from widedeep.data.ratings import RatingLog
from widedeep.evaluation.scoring import Floats, Scorer
from widedeep.features.history import Queries

GOLDEN = "golden.parquet"
"""The file's name beside a registered model's history."""

ROWS = 200
NOBODY = -1
"""A token that no user and no movie has."""


@dataclass(frozen=True, slots=True)
class GoldenRequests:
    """The answers (probability) to the requests (user, movie, time); (ROWS,) each."""

    user: NDArray[np.int64]
    movie: NDArray[np.int64]
    time: NDArray[np.int64]
    probability: Floats

    @classmethod
    def of(cls, log: RatingLog, scorer: Scorer) -> Self:
        """The last rated pairs right after the last rating, with strangers among them."""
        user, movie = log.user[-ROWS:].copy(), log.movie[-ROWS:].copy()
        user[::10], movie[5::10] = NOBODY, NOBODY
        time = np.full(len(user), log.time[-1] + 1)
        return cls(user, movie, time, scorer(Queries(user, movie, time, time)))

    def save(self, path: Path) -> None:
        """Write one Parquet file with a column for each field."""
        save_columns(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        return cls(*(table[name].to_numpy() for name in cls.__slots__))

"""The exceptions planted in simulated ratings: who liked one film rates another against taste."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.data.simulated_ratings import POSITIVE
from widedeep.data.simulator import MARKER
from widedeep.features.history import Queries

Pairs = Sequence[tuple[int, int]]
"""Tokens of the liked film and of the candidate."""


def read(folder: Path) -> list[tuple[int, int]]:
    """The pairs planted in a folder of ratings; none in real ones."""
    marker = folder / MARKER
    if not marker.exists():
        return []
    exceptions = json.loads(marker.read_text(encoding="utf-8"))["exceptions"]
    return [(pair["liked"], pair["candidate"]) for pair in exceptions]


def applies(planted: Pairs, log: RatingLog, asked: Queries) -> NDArray[np.bool_]:
    """Rows whose user is known to have liked the first film of a pair that they end, shape (n,)."""
    found = np.zeros(len(asked), bool)
    for liked, candidate in planted:
        fans = (log.movie == liked) & (log.rate >= POSITIVE)
        since = pd.Series(log.time[fans], index=log.user[fans]).reindex(asked.user).to_numpy()
        found |= (asked.movie == candidate) & (since < asked.known_until)
    return found

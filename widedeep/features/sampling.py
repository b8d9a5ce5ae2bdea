"""Which ratings a model learns from, how often, and with which history."""

from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions, first_times
from widedeep.features.history import Queries
from widedeep.inputs import InputError

DAY = 86_400


class RowSelection(StrEnum):
    """The values stand in keys and in what people are shown."""

    ALL = "all"
    NEW_USERS = "of users who had no earlier rating"

    def of(self, interactions: Interactions) -> NDArray[np.bool_]:
        """Which ratings these are, shape (n,)."""
        return (
            new_user_rows(interactions)
            if self is RowSelection.NEW_USERS
            else np.ones(len(interactions.time), np.bool_)
        )


@dataclass(frozen=True, slots=True)
class Staleness:
    """Training rows repeated with a history that ends earlier than they could know.

    A model that only ever saw fresh history is misled by last night's. `copies` of each row are
    cut by up to `days` before the rating; each weighs `weight` of a fresh row.
    """

    copies: int = 1
    days: int = 800
    weight: float = 0.5

    def __post_init__(self) -> None:
        if self.copies < 0 or self.days < 1 or self.weight <= 0:
            raise InputError(f"{self}: copies from 0, days from 1 and a positive weight are wanted")

    def stale(self, fresh: Queries, generator: np.random.Generator) -> list[Queries]:
        """The copies of the rows, each row with a history that was cut by a time of its own."""
        cuts = (generator.integers(0, self.days * DAY, len(fresh)) for _ in range(self.copies))
        return [fresh.known_earlier(cut) for cut in cuts]

    def weights(self, rows: int) -> NDArray[np.float32]:
        """Of `rows` fresh rows and, behind them, each copy's."""
        return np.repeat(np.array([1.0] + [self.weight] * self.copies, np.float32), rows)


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a model learns from: `rows` of the last `window` days (0: of all times) and later ones.

    Everything random comes from `seed`.
    While it catches up, `replay` older ratings are learned again with each new one, so that what
    it knows is not overwritten and the cost grows with what is new, not with all there is.
    """

    rows: RowSelection = RowSelection.ALL
    window: int = 0
    replay: float = 1.0
    staleness: Staleness = field(default_factory=Staleness)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < 0:
            raise InputError(f"window is {self.window}; days from 0 (all) are wanted")
        if not (isfinite(self.replay) and self.replay >= 0):
            raise InputError(f"replay is {self.replay}; a number from 0 is wanted")

    def learned(self, interactions: Interactions, new_from: int) -> NDArray[np.bool_]:
        """Which ratings are learned from, shape (n,); the window is that before `new_from`."""
        since = new_from - self.window * DAY if self.window else 0
        return self.rows.of(interactions) & (interactions.time >= since)

    def generator(self) -> np.random.Generator:
        """A new source of what is random."""
        return np.random.default_rng(self.seed)

    def replayed(self, new: int, old: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Which of `old` rows are learned again with `new` new ones, in order of the rows."""
        wanted = min(old, round(self.replay * new))
        return np.sort(generator.choice(old, wanted, replace=False))


def new_user_rows(interactions: Interactions) -> NDArray[np.bool_]:
    """Which ratings are their user's first (or of that same instant), shape (n,)."""
    found: NDArray[np.bool_] = (
        first_times(interactions.user, interactions.time) == interactions.time
    )
    return found

"""Which ratings a model learns from, how often, and with which history.

`Sampling` holds the choice: all ratings or those of new users, a window of days, a replay of older
ratings while catching up, and stale copies of the training rows (`Staleness`).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions, first_times
from widedeep.features.history import Queries
from widedeep.inputs import InputError

DAY = 86_400
"""Seconds of a day."""


class RowSelection(StrEnum):
    """Which ratings are learned from; the values stand in artefact keys and in reports."""

    ALL = "all"
    NEW_USERS = "of users who had no earlier interaction"

    def mask(self, interactions: Interactions) -> NDArray[np.bool_]:
        """Return which ratings are selected, bool (n,)."""
        return (
            new_user_rows(interactions)
            if self is RowSelection.NEW_USERS
            else np.ones(len(interactions.time), np.bool_)
        )


@dataclass(frozen=True, slots=True)
class Staleness:
    """Training rows repeated with a history that ends earlier than their own time.

    A model that only ever saw fresh history is misled by one that ended last night. The history of
    each of the `copies` of a row is cut by up to `days` before the rating; a copy weighs `weight`
    of a fresh row.
    """

    copies: int = 1
    days: int = 800
    weight: float = 0.5

    def __post_init__(self) -> None:
        if self.copies < 0 or self.days < 1 or self.weight <= 0:
            raise InputError(
                f"{self}: expected copies of at least 0, days of at least 1 and a positive weight"
            )

    def stale_copies(self, fresh: Queries, generator: np.random.Generator) -> list[Queries]:
        """Return the copies of the rows; the history of each row is cut by a random time."""
        cuts = (generator.integers(0, self.days * DAY, len(fresh)) for _ in range(self.copies))
        return [fresh.known_earlier(cut) for cut in cuts]

    def weights(self, rows: int) -> NDArray[np.float32]:
        """Return the weights of `rows` fresh rows and of their copies behind them.

        float32 (rows · (1 + copies),).
        """
        return np.repeat(np.array([1.0] + [self.weight] * self.copies, np.float32), rows)


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a model learns from.

    Attributes:
        rows: Which ratings.
        window: Only the last `window` days before the new ratings, and all later ones; 0: all.
        replay: While it catches up, a model learns this many older ratings again with each new
            one, so that it does not forget them and the cost grows with the new data only.
        staleness: Stale copies of the training rows.
        seed: Seed of everything random.
    """

    rows: RowSelection = RowSelection.ALL
    window: int = 0
    replay: float = 1.0
    staleness: Staleness = field(default_factory=Staleness)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < 0:
            raise InputError(f"window is {self.window}; expected days of at least 0 (0: all)")
        if not (isfinite(self.replay) and self.replay >= 0):
            raise InputError(f"replay is {self.replay}; expected a number of at least 0")

    def learned_rows(self, interactions: Interactions, new_from: int) -> NDArray[np.bool_]:
        """Return which ratings are learned from, bool (n,).

        The window is that before `new_from`, UNIX seconds.
        """
        since = new_from - self.window * DAY if self.window else 0
        return self.rows.mask(interactions) & (interactions.time >= since)

    def generator(self) -> np.random.Generator:
        """Return a new random generator, seeded with `seed`."""
        return np.random.default_rng(self.seed)

    def sample_replay(
        self, new: int, old: int, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw which of `old` rows are learned again with `new` new ones, int64 (k,), ascending."""
        count = min(old, round(self.replay * new))
        return np.sort(generator.choice(old, count, replace=False))


def new_user_rows(interactions: Interactions) -> NDArray[np.bool_]:
    """Return which ratings are their user's first (or of that same instant), bool (n,)."""
    is_first: NDArray[np.bool_] = (
        first_times(interactions.user, interactions.time) == interactions.time
    )
    return is_first

"""Training, validation and holdout: three consecutive spans of time, and who is in each."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.inputs import InputError, to_iso

HOLDOUT_SHARE = 0.1
"""Share of the known ratings that the holdout takes if its start is not given."""
MINIMUM_ROWS = 100

Times = NDArray[np.int64]
Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Moments in UNIX seconds.

    Training is before `validation_from`, validation before `holdout_from`, and the holdout before
    `as_of`, the moment at which the run knows the world.
    """

    validation_from: int
    holdout_from: int
    as_of: int

    def __post_init__(self) -> None:
        if not self.validation_from < self.holdout_from < self.as_of:
            raise InputError(
                f"the split wants validation-from before holdout-from before as-of, found "
                f"{to_iso(self.validation_from)}, {to_iso(self.holdout_from)}, {to_iso(self.as_of)}"
            )

    @classmethod
    def of(
        cls,
        time: Times,
        as_of: int,
        validation_from: int | None = None,
        holdout_from: int | None = None,
    ) -> Self:
        """Fill in what isn't given, from the times of the ratings known at `as_of`, shape (n,).

        The holdout takes the last tenth of them, validation as many rows before it; if only
        `validation_from` is given, the two share what follows it. Ratings of one instant stay
        together, in the later part.

        Raises:
            InputError: no rating is left for a part, or the moments are not in order.
        """
        known = np.sort(time[time < as_of])
        if not len(known):
            raise InputError(f"no rating is older than as-of {to_iso(as_of)}: {_span(time)}")
        if holdout_from is None:
            holdout_from = _holdout_start(known, validation_from)
        if validation_from is None:
            validation_from = _validation_start(known, holdout_from)
        return cls(validation_from, holdout_from, as_of)

    def training(self, time: Times) -> Rows:
        """Which rows are training rows, shape (n,)."""
        return time < self.validation_from

    def validation(self, time: Times) -> Rows:
        """Which rows are validation rows, shape (n,)."""
        return (time >= self.validation_from) & (time < self.holdout_from)

    def holdout(self, time: Times) -> Rows:
        """Which rows are holdout rows, shape (n,)."""
        return (time >= self.holdout_from) & (time < self.as_of)

    def check(self, time: Times, label: NDArray[np.bool_]) -> None:
        """Raise InputError for a part that has too few rows or one class only."""
        parts = {
            "training": self.training(time),
            "validation": self.validation(time),
            "holdout": self.holdout(time),
        }
        for name, rows in parts.items():
            count, positive = int(rows.sum()), int(label[rows].sum())
            if count < MINIMUM_ROWS:
                raise InputError(
                    f"the {name} part has {count} ratings, at least {MINIMUM_ROWS} are wanted "
                    f"({self.describe()})"
                )
            if positive in {0, count}:
                raise InputError(
                    f"the {name} part has {positive} positive labels in {count} ratings, both "
                    f"classes are wanted ({self.describe()})"
                )

    def describe(self) -> str:
        """The three moments for people."""
        return (
            f"validation from {to_iso(self.validation_from)}, holdout from {to_iso(self.holdout_from)}, "
            f"as of {to_iso(self.as_of)}"
        )


def _holdout_start(known: Times, validation_from: int | None) -> int:
    if validation_from is None:
        return _start_of_last(known, int(len(known) * HOLDOUT_SHARE))
    left = known[known >= validation_from]
    if not len(left):
        raise InputError(
            f"no rating is left to validate on: validation-from is {to_iso(validation_from)} and "
            f"{_span(known)}"
        )
    return _start_of_last(left, len(left) // 2)


def _validation_start(known: Times, holdout_from: int) -> int:
    before = known[known < holdout_from]
    if not len(before):
        raise InputError(
            f"no rating is left to train on: holdout-from is {to_iso(holdout_from)} and {_span(known)}"
        )
    return _start_of_last(before, len(known) - len(before))


def _start_of_last(time: Times, count: int) -> int:
    """When the last `count` (at least 1) of the sorted times begin."""
    return int(time[-min(max(count, 1), len(time))])


def _span(time: Times) -> str:
    if not len(time):
        return "there are no ratings at all"
    return f"the ratings go from {to_iso(int(time.min()))} to {to_iso(int(time.max()))}"

"""The split by time: training, validation and holdout are three consecutive spans.

`Split.from_times` fills in the moments that a user left open; a split then says which rows are in
which part.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.inputs import InputError, Moment, to_iso

HOLDOUT_SHARE = 0.1
"""Share of the known interactions that the holdout takes if its start is not given."""
MINIMUM_ROWS = 100
"""Ratings that each part must have."""

Times = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Three moments in UNIX seconds that separate the parts.

    Attributes:
        validation_from: Training is before this moment, validation begins with it.
        holdout_from: Validation is before this moment, the holdout begins with it.
        as_of: The moment as of which the run knows the world; the holdout is before it.

    Raises:
        InputError: The moments are not in this order, or two are equal.
    """

    validation_from: Moment
    holdout_from: Moment
    as_of: Moment

    def __post_init__(self) -> None:
        """Check the order of the moments; see the class."""
        if not self.validation_from < self.holdout_from < self.as_of:
            raise InputError(
                f"the split needs validation-from before holdout-from before as-of; found "
                f"{to_iso(self.validation_from)}, {to_iso(self.holdout_from)}, {to_iso(self.as_of)}"
            )

    @classmethod
    def from_times(
        cls,
        time: Times,
        as_of: Moment,
        validation_from: Moment | None = None,
        holdout_from: Moment | None = None,
    ) -> Self:
        """Fill in the moments that are None from the times of the interactions known at `as_of`.

        The holdout takes the last tenth of them, validation as many rows before it; if only
        `validation_from` is given, the two share what follows it. Ratings of the same second stay
        together, in the later part.

        Args:
            time: (n,) int64 UNIX seconds of the interactions, in any order.
            as_of: See the class.
            validation_from: See the class.
            holdout_from: See the class.

        Raises:
            InputError: No interaction is left for a part, or the moments are not in order.
        """
        known = np.sort(time[time < as_of])
        if not len(known):
            raise InputError(f"no interaction is older than as-of {to_iso(as_of)}: {_span(time)}")
        if holdout_from is None:
            holdout_from = _holdout_start(known, validation_from)
        if validation_from is None:
            validation_from = _validation_start(known, holdout_from)
        return cls(validation_from, holdout_from, as_of)

    def training(self, time: Times) -> Mask:
        """Return which rows are training rows, (n,)."""
        return time < self.validation_from

    def validation(self, time: Times) -> Mask:
        """Return which rows are validation rows, (n,)."""
        return (time >= self.validation_from) & (time < self.holdout_from)

    def holdout(self, time: Times) -> Mask:
        """Return which rows are holdout rows, (n,)."""
        return (time >= self.holdout_from) & (time < self.as_of)

    def check(self, time: Times, label: Mask) -> None:
        """Check that each part of the rows, with (n,) times and labels, can be used.

        Raises:
            InputError: A part has fewer than `MINIMUM_ROWS` rows or only one class.
        """
        parts = {
            "training": self.training(time),
            "validation": self.validation(time),
            "holdout": self.holdout(time),
        }
        for name, rows in parts.items():
            count, positives = int(rows.sum()), int(label[rows].sum())
            if count < MINIMUM_ROWS:
                raise InputError(
                    f"the {name} part has {count} interactions; expected at least {MINIMUM_ROWS} "
                    f"({self.to_text()})"
                )
            if positives in {0, count}:
                raise InputError(
                    f"the {name} part has {positives} positive labels in {count} interactions; "
                    f"expected both classes ({self.to_text()})"
                )

    def to_text(self) -> str:
        """Return the three moments as words, for messages."""
        return (
            f"validation from {to_iso(self.validation_from)}, "
            f"holdout from {to_iso(self.holdout_from)}, as of {to_iso(self.as_of)}"
        )


def _holdout_start(known: Times, validation_from: int | None) -> int:
    if validation_from is None:
        return _start_of_last(known, int(len(known) * HOLDOUT_SHARE))
    later = known[known >= validation_from]
    if not len(later):
        raise InputError(
            "no interaction is left to validate on: validation-from is "
            f"{to_iso(validation_from)} and {_span(known)}"
        )
    return _start_of_last(later, len(later) // 2)


def _validation_start(known: Times, holdout_from: int) -> int:
    earlier = known[known < holdout_from]
    if not len(earlier):
        raise InputError(
            f"no interaction is left to train on: holdout-from is {to_iso(holdout_from)} and "
            f"{_span(known)}"
        )
    return _start_of_last(earlier, len(known) - len(earlier))


def _start_of_last(time: Times, count: int) -> int:
    """Return when the last `count` (at least 1) of the sorted times begin."""
    return int(time[-min(max(count, 1), len(time))])


def _span(time: Times) -> str:
    if not len(time):
        return "there are no interactions at all"
    return f"the interactions go from {to_iso(int(time.min()))} to {to_iso(int(time.max()))}"

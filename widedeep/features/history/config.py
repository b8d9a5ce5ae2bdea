"""The constants with which history becomes numbers: for users (`HistoryConfig`) and compiled code.

`HistoryConfig` is part of a feature spec and is saved with it. Each constant is declared once,
there: its name, default and range. `config.params(prior)` returns them for compiled code.
"""

from collections import namedtuple
from dataclasses import dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray

from widedeep.inputs import InputError

Positive = Annotated[float, "greater than 0"]
NotNegative = Annotated[float, "at least 0"]


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """How history becomes numbers. Half-lives are in days, variances in squared logits.

    Attributes:
        positive_rating: A rating of at least this value is a positive label, 2 to 10.
        length: How many liked and how many disliked items of a user are remembered.
        user_smoothing: Ratings of the prior that are mixed into a user's means.
        item_smoothing: Likewise for means of items, activity groups and all users.
        attribute_smoothing: Likewise for residuals on genres and people.
        user_variance: Of a new user's term in the online logistic model.
        user_half_life: After so many days without a rating, half of a user's term is left.
        item_variance: Of a new item's term.
        item_drift: By how much the variance of an item's term grows a day.
        global_step: By how much the base rate moves for each unit of error, in logits.
        fast: Weight of the newest rating in a user's fast moving average of residuals.
        slow: Likewise in the slow one.
        long_half_life: Of ratings in an item's long-run mean and in activity groups.
        short_half_life: Of ratings in an item's recent count and mean.
        burst_half_life: Of ratings in an item's bursts.
        burst_smoothing: Ratings of the prior that are mixed into a burst's mean.
        day_half_life: Of errors in a user's residual of the last day.
        month_half_life: Of errors in a user's residual of the last month.
        fast_value: Weight of the newest rating in a user's moving average of values.
        global_half_life: Of ratings in the means over all users.

    Raises:
        InputError: A value is out of range.
    """

    positive_rating: int = 10
    length: int = 20
    user_smoothing: Positive = 1.5
    item_smoothing: Positive = 8.0
    attribute_smoothing: Positive = 3.0
    user_variance: Positive = 2.7
    user_half_life: Positive = 1900.0
    item_variance: Positive = 0.25
    item_drift: NotNegative = 6e-5
    global_step: NotNegative = 0.005
    fast: NotNegative = 0.35
    slow: NotNegative = 0.12
    long_half_life: Positive = 365.0
    short_half_life: Positive = 30.0
    burst_half_life: Positive = 3.0
    burst_smoothing: Positive = 2.0
    day_half_life: Positive = 1.0
    month_half_life: Positive = 30.0
    fast_value: NotNegative = 0.3
    global_half_life: Positive = 60.0

    def __post_init__(self) -> None:
        if not 2 <= self.positive_rating <= 10:  # noqa: PLR2004
            raise InputError(f"positive_rating is {self.positive_rating}; expected 2 to 10")
        if self.length < 1:
            raise InputError(f"length is {self.length}; expected at least 1 remembered item")
        for name in CONSTANTS:
            value = getattr(self, name)
            if not isfinite(value) or value < 0 or (value == 0 and name in _POSITIVE):
                expected = "greater than 0" if name in _POSITIVE else "at least 0"
                raise InputError(f"{name} is {value}; expected a number {expected}")

    def is_positive(self, value: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Return which rating values (n,) are positive labels, (n,) bool."""
        return value >= self.positive_rating

    def params(self, prior: float) -> "HistoryParams":
        """Return the constants for compiled code; `prior` is the training data's positive share.

        Raises:
            InputError: `prior` is not between 0 and 1, so no logit belongs to it.
        """
        if not 0 < prior < 1:
            raise InputError(f"the prior is {prior}; expected a share between 0 and 1")
        return HistoryParams(prior, *(getattr(self, name) for name in CONSTANTS))


_POSITIVE = {field.name for field in fields(HistoryConfig) if field.type is Positive}
CONSTANTS = tuple(f.name for f in fields(HistoryConfig) if f.type in (Positive, NotNegative))
"""Names of the settings that compiled code reads, all float."""

if TYPE_CHECKING:

    class HistoryParams(HistoryConfig):
        """What a type checker sees: the constants, and the prior."""

        prior: float

        def __init__(self, prior: float, *constants: float) -> None: ...

else:
    HistoryParams = namedtuple("HistoryParams", ("prior", *CONSTANTS))  # noqa: PYI024
    """`prior` and the `CONSTANTS` of a `HistoryConfig`; compiled code reads them by name."""

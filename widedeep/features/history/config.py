"""The constants with which history becomes numbers: for users (`HistoryConfig`) and compiled code.

`HistoryConfig` is part of a feature spec and is saved with it. Each constant is declared once,
there: its name, default and range. `config.params(prior)` returns them for compiled code.
"""

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Self

from widedeep.inputs import InputError

Positive = Annotated[float, "greater than 0"]
NotNegative = Annotated[float, "at least 0"]


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """How history becomes numbers. Half-lives are in days, variances in squared logits.

    Attributes:
        length: How many liked and how many disliked items of a user are remembered.
        value_scale: Values are counted in this unit, so that they are of the size of 1.
        user_attributes: Categories and bags of items on which each user's residuals are kept.
        attributes: Likewise those of all users together.
        user_smoothing: Ratings of the prior that are mixed into a user's means.
        item_smoothing: Likewise for means of items, activity groups and all users.
        attribute_smoothing: Likewise for residuals on attributes.
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

    length: int = 20
    value_scale: float = 1.0
    user_attributes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
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
        if self.length < 1:
            raise InputError(f"length is {self.length}; expected at least 1 remembered item")
        if not (isfinite(self.value_scale) and self.value_scale > 0):
            raise InputError(f"value_scale is {self.value_scale}; expected a number above 0")
        for name in CONSTANTS:
            value = getattr(self, name)
            if not isfinite(value) or value < 0 or (value == 0 and name in _POSITIVE):
                expected = "greater than 0" if name in _POSITIVE else "at least 0"
                raise InputError(f"{name} is {value}; expected a number {expected}")

    @property
    def attribute_numbers(self) -> tuple[str, ...]:
        """Names of the numbers that residuals on attributes are: each user's, then all users'."""
        of_users = (f"user_{name}_residual" for name in self.user_attributes)
        return (*of_users, *(f"{name}_residual" for name in self.attributes))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the fields from JSON values."""
        lists = {name: tuple(values[name]) for name in ("user_attributes", "attributes")}
        return cls(**{**values, **lists})

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

"""What a better AUC must not cost: numbers that may get worse by a stated margin and no more.

A guard is a non-inferiority test: the whole interval of the change has to stay within the margin.
A change whose interval lies past the margin is harm that was shown; one that reaches past it is
harm that was not ruled out.
"""

from dataclasses import dataclass
from enum import StrEnum

from widedeep.evaluation.bootstrap import Interval


class Finding(StrEnum):
    """Where a change lies; the values are the words of the sentence."""

    WITHIN = "stays within"
    REACHES = "reaches past"
    PAST = "lies past"


@dataclass(frozen=True, slots=True)
class Guard:
    """One number of both models.

    Attributes:
        name: What it is, for people.
        challenger: The challenger's.
        champion: The champion's.
        change: Challenger minus champion with its interval; one without width was counted.
        margin: The worst change allowed: above 0 where a rise does harm, below 0 where a fall does.
    """

    name: str
    challenger: float
    champion: float
    change: Interval
    margin: float

    @property
    def finding(self) -> Finding:
        """Where the change lies."""
        harm = sorted(end / self.margin for end in (self.change.low, self.change.high))
        if harm[1] <= 1:
            return Finding.WITHIN
        return Finding.PAST if harm[0] > 1 else Finding.REACHES

    def sentence(self, confidence: float) -> str:
        """Both numbers, the interval and the margin."""
        return (
            f"{self.name} {_number(self.challenger)} against the champion's "
            f"{_number(self.champion)}: "
            f"{with_interval(self.change, confidence)}, "
            f"{self.finding} the margin of {signed(self.margin)}"
        )


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.4f}"


def with_interval(interval: Interval, confidence: float) -> str:
    """A difference and, where it was sampled, its interval."""
    if interval.low == interval.high:
        return signed(interval.difference)
    ends = f"[{signed(interval.low)}, {signed(interval.high)}]"
    return f"{signed(interval.difference)}, {100 * confidence:g} % interval {ends}"


def signed(value: float) -> str:
    """Four decimals, or more where those would round a difference away."""
    text = f"{value:+.0f}" if value and value.is_integer() else f"{value:+.4f}"
    return f"{value:+.0e}" if value and not float(text) else text.replace("-0.0000", "+0.0000")


def place_of_zero(interval: Interval) -> str:
    """Where an interval lies, for people."""
    if interval.low <= 0 <= interval.high:
        return "includes 0"
    return "lies above 0" if interval.low > 0 else "lies below 0"

"""Why a model scores a pair as it does: bias + offset + fired wide features + deep part = logit."""

from dataclasses import asdict, dataclass
from math import fsum
from typing import Any


@dataclass(frozen=True, slots=True)
class Fired:
    """A wide feature that is present in a row; `weight` is what it adds to the logit."""

    block: str
    korean: str
    english: str
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The logit of one row, taken apart.

    `math.fsum` of `contributions` is `logit`, to the last bit: `deep` is what the deep part adds
    with the rounding of the network's float32 sum. (A fired weight below a billionth of the deep
    part would need more bits than a float has; the sum is then equal to the last bit of a float32.)

    Attributes:
        user: Token.
        movie: Token.
        time: Of the query, UNIX seconds.
        known_until: Ratings strictly before it were known, UNIX seconds.
        bias: The network's.
        offset: What the online model's expectation adds.
        wide: Every fired wide feature, the heaviest first; one out of vocabulary may fire twice.
        logit: As `widedeep.model.training.logits` gives it.
        probability: P(positive), as the model is served.
    """

    user: int
    movie: int
    time: int
    known_until: int
    bias: float
    offset: float
    wide: tuple[Fired, ...]
    logit: float
    probability: float

    @property
    def deep(self) -> float:
        """What the deep part adds, see above."""
        return fsum([self.logit, -self.bias, -self.offset, *(-fired.weight for fired in self.wide)])

    @property
    def contributions(self) -> tuple[float, ...]:
        """Bias, offset, wide weights, deep part."""
        return (self.bias, self.offset, *(fired.weight for fired in self.wide), self.deep)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"deep": self.deep}

"""Why a model scores a pair as it does: bias + offset + fired wide features + deep part = logit."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Any, Self

import numpy as np

from widedeep.data.ratings import RatingLog
from widedeep.evaluation.names import Names
from widedeep.evaluation.wording import Wording
from widedeep.features.catalogue import Catalogue
from widedeep.features.companion import Companion
from widedeep.features.history import Queries
from widedeep.features.ragged import Ragged
from widedeep.features.raw_columns import RawColumns
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import logits, sigmoid


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


@dataclass(frozen=True, slots=True)
class Explainer:
    """A model with the ratings and films it may know of; `names` are for its words."""

    model: TrainedModel
    log: RatingLog
    catalogue: Catalogue
    names: Names

    @classmethod
    def load(cls, model: Path, history: Path) -> Self:
        """Read a registered model's folders."""
        known = Companion.load(history)
        names = Names.of(known.movies, known.people)
        return cls(TrainedModel.load(model), known.log, known.catalogue, names)

    @property
    def known_until(self) -> int:
        """UNIX seconds: every rating of the log is older."""
        return int(self.log.time[-1]) + 1

    def explain(self, asked: Queries) -> list[Explanation]:
        """One explanation a query; an unknown user or movie is a cold one."""
        rows = self.model.transform.describe(self.log, asked, self.catalogue)
        return explain_rows(self.model, self.names, rows)


def explain_rows(model: TrainedModel, names: Names, rows: RawColumns) -> list[Explanation]:
    """One explanation a row."""
    asked, network, encoded = rows.queries, model.network, model.transform.encode(rows)
    wide, bias = _fired(model, names, encoded.wide), network.bias.item()
    offset = encoded.offset * network.slope.detach().numpy()
    logit = logits(network, encoded)
    probability = sigmoid(logit)
    return [
        Explanation(
            int(asked.user[row]),
            int(asked.movie[row]),
            int(asked.time[row]),
            int(asked.known_until[row]),
            bias,
            float(offset[row]),
            wide[row],
            float(logit[row]),
            float(probability[row]),
        )
        for row in range(len(asked))
    ]


def _fired(model: TrainedModel, names: Names, wide: Ragged) -> list[tuple[Fired, ...]]:
    """What fires in each row, in words, the heaviest first."""
    ids, place = np.unique(wide.values, return_inverse=True)
    worded = Wording(model.transform, names).describe(ids.astype(np.int64))
    weights = model.wide_weights[ids].tolist()
    fired = [Fired(**asdict(one), weight=w) for one, w in zip(worded, weights, strict=True)]
    return [
        tuple(sorted((fired[i] for i in place[start:end]), key=lambda one: -abs(one.weight)))
        for start, end in pairwise(wide.offsets)
    ]

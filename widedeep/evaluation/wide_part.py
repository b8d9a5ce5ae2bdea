"""The wide part of a model: what of a logit can be told feature by feature."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.evaluation.explanation import Explanation, Fired
from widedeep.evaluation.names import Names
from widedeep.evaluation.wording import Wording
from widedeep.features.raw_columns import RawColumns
from widedeep.features.transform import Transform
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import sigmoid


@dataclass(frozen=True, slots=True)
class WidePart:
    """Wide features with their weights.

    `weights` float32 (wide_size,) by wide id of the transform; `bias` and the `slope` of the
    spec's offset are the network's.
    """

    transform: Transform
    weights: NDArray[np.float32]
    bias: float
    slope: float

    @classmethod
    def of(cls, model: TrainedModel) -> Self:
        """That of a model as it is now."""
        network = model.network
        return cls(model.transform, model.wide_weights, network.bias.item(), network.slope.item())

    def explain(
        self, rows: RawColumns, logits: NDArray[np.float64], names: Names
    ) -> list[Explanation]:
        """One explanation a row, whose `logits` (n,) the model gave; in the words of `names`.

        They are rounded to float32, so that a float64 holds each part of them, see `Explanation`.
        """
        logit = logits.astype(np.float32).astype(np.float64)
        asked, wide = rows.queries, self._fired(rows, names)
        offset, probability = self._offset(rows), sigmoid(logit)
        return [
            Explanation(
                int(asked.user[row]),
                int(asked.movie[row]),
                int(asked.time[row]),
                int(asked.known_until[row]),
                self.bias,
                float(offset[row]),
                wide[row],
                float(logit[row]),
                float(probability[row]),
            )
            for row in range(len(asked))
        ]

    def _offset(self, rows: RawColumns) -> NDArray[np.float32]:
        return self.transform.offset(rows) * np.float32(self.slope)

    def _fired(self, rows: RawColumns, names: Names) -> list[tuple[Fired, ...]]:
        """What fires in each row, in words, the heaviest first."""
        wide = self.transform.fired(rows)
        ids, place = np.unique(wide.values, return_inverse=True)
        worded = Wording(self.transform, names).describe(ids.astype(np.int64))
        weights = self.weights[ids].tolist()
        fired = [Fired(**asdict(one), weight=w) for one, w in zip(worded, weights, strict=True)]
        return [
            tuple(sorted((fired[i] for i in place[start:end]), key=lambda one: -abs(one.weight)))
            for start, end in pairwise(wide.offsets)
        ]

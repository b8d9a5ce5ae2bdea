"""Why a model scores a pair as it does: bias + prior logit + wide features + deep part = logit.

`WidePart` takes the logits of raw rows apart: the wide part feature by feature, the rest as one
number each. `Explainer` does so for queries to a registered model, by the data it was registered
with.
"""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec
from widedeep.data.tables import Interactions
from widedeep.evaluation.naming import DisplayNames, FeatureNaming
from widedeep.evaluation.snapshot import DataSnapshot
from widedeep.features import FeatureTables, Queries, RawFeatures, Transform
from widedeep.model.network import logits, sigmoid
from widedeep.model.trained_model import TrainedModel


@dataclass(frozen=True, slots=True)
class FiredFeature:
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
        user: Id of the user, as in the data.
        item: Id of the item, as in the data.
        time: Moment of the query, UNIX seconds.
        known_until: Ratings strictly before it were known, UNIX seconds.
        bias: The network's bias.
        prior_logit: Logit from which the network starts, times its calibrated slope.
        wide: All fired wide features, the heaviest first; an out-of-vocabulary one may fire twice.
        logit: As `widedeep.model.network.logits` returns it.
        probability: P(positive), as the model is served.
    """

    user: int | str
    item: int | str
    time: int
    known_until: int
    bias: float
    prior_logit: float
    wide: tuple[FiredFeature, ...]
    logit: float
    probability: float

    @property
    def deep(self) -> float:
        """Contribution of the deep part, with the rounding of the network's sum."""
        weights = (-fired.weight for fired in self.wide)
        return fsum([self.logit, -self.bias, -self.prior_logit, *weights])

    @property
    def contributions(self) -> tuple[float, ...]:
        """Bias, prior logit, weights of the wide features, deep part."""
        return (self.bias, self.prior_logit, *(fired.weight for fired in self.wide), self.deep)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; the prior logit has the key `offset`."""
        return {
            "user": self.user,
            "item": self.item,
            "time": self.time,
            "known_until": self.known_until,
            "bias": self.bias,
            "offset": self.prior_logit,
            "wide": [asdict(fired) for fired in self.wide],
            "logit": self.logit,
            "probability": self.probability,
            "deep": self.deep,
        }


@dataclass(frozen=True, slots=True)
class WidePart:
    """What is needed to explain logits without the network.

    Attributes:
        transform: The model's transform.
        weights: float32 (wide_size,), by wide id of the transform.
        bias: The network's bias.
        prior_slope: The network's factor of the prior logit.
    """

    transform: Transform
    weights: NDArray[np.float32]
    bias: float
    prior_slope: float

    @classmethod
    def from_model(cls, model: TrainedModel) -> Self:
        """Copy the weights of a model as they are now."""
        network = model.network
        return cls(
            model.transform, model.wide_weights, network.bias.item(), network.prior_slope.item()
        )

    def explain(
        self, rows: RawFeatures, logits: NDArray[np.float64], names: DisplayNames
    ) -> list[Explanation]:
        """Return one explanation for each row.

        Args:
            rows: The n raw rows.
            logits: The model's logits of them, (n,). They are rounded to float32, so that a float64
                holds each contribution; see `Explanation`.
            names: Names of what features are about.
        """
        logit = logits.astype(np.float32).astype(np.float64)
        queries, wide, probability = rows.queries, self._fired(rows, names), sigmoid(logit)
        prior_logit = self.transform.prior_logit(rows) * np.float32(self.prior_slope)
        return [
            Explanation(
                names.user_ids.text(int(queries.user[row])),
                names.item_ids.text(int(queries.item[row])),
                int(queries.time[row]),
                int(queries.known_until[row]),
                self.bias,
                float(prior_logit[row]),
                wide[row],
                float(logit[row]),
                float(probability[row]),
            )
            for row in range(len(queries))
        ]

    def _fired(self, rows: RawFeatures, names: DisplayNames) -> list[tuple[FiredFeature, ...]]:
        """Return the features that fire in each row, in words, the heaviest first."""
        wide = self.transform.wide_ids(rows)
        ids, position = np.unique(wide.values, return_inverse=True)
        texts = FeatureNaming(self.transform, names).to_text(ids.astype(np.int64))
        features = [
            FiredFeature(**asdict(text), weight=weight)
            for text, weight in zip(texts, self.weights[ids].tolist(), strict=True)
        ]
        return [
            tuple(
                sorted(
                    (features[i] for i in position[start:end]),
                    key=lambda feature: -abs(feature.weight),
                )
            )
            for start, end in pairwise(wide.offsets)
        ]


@dataclass(frozen=True, slots=True)
class Explainer:
    """A model, the data set and what the model may read of it, and names for its explanations."""

    model: TrainedModel
    interactions: Interactions
    tables: FeatureTables
    names: DisplayNames
    spec: DatasetSpec

    @classmethod
    def load(cls, model: Path, history: Path) -> Self:
        """Read a registered model's folder and its folder `history`."""
        snapshot = DataSnapshot.load(history)
        names, spec = DisplayNames.from_tables(snapshot.side), snapshot.side.spec
        trained = TrainedModel.load(model)
        return cls(trained, snapshot.interactions, snapshot.tables, names, spec)

    def knowing(self, user: str, item: str) -> Self:
        """Return one that calls these ids as they were asked for.

        Raises:
            InputError: The ids of the data are integers, and one of these is not.
        """
        self.spec.interactions.check_id("user", user)
        self.spec.interactions.check_id("item", item)
        return replace(self, names=self.names.knowing([user], [item]))

    @property
    def known_until(self) -> int:
        """One second after the last rating, UNIX seconds."""
        return int(self.interactions.time[-1]) + 1

    def explain(self, queries: Queries, tables: FeatureTables | None = None) -> list[Explanation]:
        """Return one explanation for each query; unknown users and items count as new ones.

        With `tables`, these hold the attributes instead of the registered ones.
        """
        transform, network = self.model.transform, self.model.network
        rows = transform.compute_features(self.interactions, queries, tables or self.tables)
        scores = logits(network, transform.encode(rows))
        return WidePart.from_model(self.model).explain(rows, scores, self.names)

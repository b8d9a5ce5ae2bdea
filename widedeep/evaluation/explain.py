"""Why a model scores a pair as it does: bias + offset + fired wide features + deep part = logit.

The wide part of a model: what of a logit can be told feature by feature.

What a registered model carries beside its weights.

Explanations of a registered model's scores.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.tables import Interactions, read_small
from widedeep.evaluation.naming import DisplayNames, FeatureNaming
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.transform import Transform
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import logits, sigmoid
from widedeep.store import file_digest


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
        user: Token.
        item: Token.
        time: Of the query, UNIX seconds.
        known_until: Ratings strictly before it were known, UNIX seconds.
        bias: The network's.
        offset: What the online model's expectation adds.
        wide: Every fired wide feature, the heaviest first; one out of vocabulary may fire twice.
        logit: As `widedeep.model.training.logits` gives it.
        probability: P(positive), as the model is served.
    """

    user: int
    item: int
    time: int
    known_until: int
    bias: float
    offset: float
    wide: tuple[FiredFeature, ...]
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
        self, rows: RawFeatures, logits: NDArray[np.float64], names: DisplayNames
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
                int(asked.item[row]),
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

    def _offset(self, rows: RawFeatures) -> NDArray[np.float32]:
        return self.transform.offset(rows) * np.float32(self.slope)

    def _fired(self, rows: RawFeatures, names: DisplayNames) -> list[tuple[FiredFeature, ...]]:
        """What fires in each row, in words, the heaviest first."""
        wide = self.transform.fired(rows)
        ids, place = np.unique(wide.values, return_inverse=True)
        worded = FeatureNaming(self.transform, names).describe(ids.astype(np.int64))
        weights = self.weights[ids].tolist()
        fired = [
            FiredFeature(**asdict(one), weight=w) for one, w in zip(worded, weights, strict=True)
        ]
        return [
            tuple(sorted((fired[i] for i in place[start:end]), key=lambda one: -abs(one.weight)))
            for start, end in pairwise(wide.offsets)
        ]


_RATINGS, _ITEMS, _PEOPLE = "ratings.parquet", "items.parquet", "people.parquet"


@dataclass(frozen=True, slots=True)
class DataSnapshot:
    """What was known when the model was registered.

    Attributes:
        log: The ratings.
        items: What is known of each item, see `items.ITEM_COLUMNS`.
        people: Their names, see `items.PEOPLE_COLUMNS`.
        item table: The items' attributes.
    """

    interactions: Interactions
    items: pa.Table
    people: pa.Table
    item_table: ItemTable

    @classmethod
    def of(cls, interactions: Interactions, items: pa.Table, people: pa.Table) -> Self:
        """What is known, with its item table."""
        return cls(interactions, items, people, ItemTable.from_table(items))

    def save(self, folder: Path) -> None:
        """Write everything into `folder`."""
        self.interactions.save(folder / _RATINGS)
        pq.write_table(self.items, folder / _ITEMS)
        pq.write_table(self.people, folder / _PEOPLE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a registered model's folder `history`."""
        return cls.of(Interactions.load(folder / _RATINGS), *load_item_tables(folder))


def load_item_tables(folder: Path) -> tuple[pa.Table, pa.Table]:
    """Items and people of a registered model's folder `history`, without its ratings."""
    return read_small(folder / _ITEMS), read_small(folder / _PEOPLE)


def item_table_digests(folder: Path) -> tuple[str, str]:
    """Those of the files that `load_item_tables` reads."""
    return file_digest(folder / _ITEMS), file_digest(folder / _PEOPLE)


@dataclass(frozen=True, slots=True)
class Explainer:
    """A model with the ratings and items it may know of; `names` are for its words."""

    model: TrainedModel
    interactions: Interactions
    item_table: ItemTable
    names: DisplayNames

    @classmethod
    def load(cls, model: Path, history: Path) -> Self:
        """Read a registered model's folders."""
        known = DataSnapshot.load(history)
        names = DisplayNames.of(known.items, known.people)
        return cls(TrainedModel.load(model), known.interactions, known.item_table, names)

    @property
    def known_until(self) -> int:
        """UNIX seconds: every rating of the log is older."""
        return int(self.interactions.time[-1]) + 1

    def explain(self, asked: Queries) -> list[Explanation]:
        """One explanation a query; an unknown user or item is a cold one."""
        transform, network = self.model.transform, self.model.network
        rows = transform.describe(self.interactions, asked, self.item_table)
        given = logits(network, transform.encode(rows))
        return WidePart.of(self.model).explain(rows, given, self.names)

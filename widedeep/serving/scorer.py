"""A model taken apart for requests: by what depends on the item, the user, and both.

What a model reads of a user besides numbers: the id, and the items liked and disliked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from widedeep.choices import Precision
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import NUMBERS
from widedeep.features.transform import Transform
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.kernels import PairRows
from widedeep.serving.live_state import FeatureRow
from widedeep.serving.scorer_deep import DeepScorer
from widedeep.serving.scorer_wide import ItemFeatures, WideScorer

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UserFeatures:
    """Which of `user`, `liked` and `disliked` a model reads, and the ids of their tokens.

    `ids` are by code (see `LiveState`), the stranger's last: 0 for the out-of-vocabulary.
    """

    names: tuple[str, ...]
    ids: tuple[Ints, ...]

    @classmethod
    def of(cls, transform: Transform, users: Ints, items: Ints) -> Self:
        """Look up tokens, those that have a code at the start; later ones are in no vocabulary."""
        spec = transform.spec
        names = [category.name for category in spec.categories if category.name == "user"]
        names += [bag.name for bag in spec.bags if bag.name in {"liked", "disliked"}]
        ids = [
            transform.vocabulary_of(name).encode(users if name == "user" else items)
            for name in names
        ]
        return cls(tuple(names), tuple(np.append(known, 0).astype(np.int64) for known in ids))

    def read(self, reading: FeatureRow) -> dict[str, Ints]:
        """The ids by name, of shape (1,) for the user, and as many as are remembered for bags."""
        codes = {
            "user": np.array([reading.user]),
            "liked": reading.liked,
            "disliked": reading.disliked,
        }
        return {
            name: ids[np.minimum(codes[name], len(ids) - 1)]
            for name, ids in zip(self.names, self.ids, strict=True)
        }


Floats = NDArray[np.float64]

_EXACT = 1e-5
"""How far sums of float32 in another order may move a probability."""


@dataclass(frozen=True, slots=True)
class FastScorer:
    """Gives logits to readings of a state whose tokens it was prepared for; nothing in it changes.

    `offset` is the place among `NUMBERS` of the number that the model starts from, if there is one.
    """

    items: ItemFeatures
    users: UserFeatures
    wide: WideScorer
    deep: DeepScorer | None
    bias: float
    slope: float
    offset: int | None

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        tokens: tuple[Ints, Ints],
        item_table: ItemTable,
        dtype: torch.dtype,
    ) -> Self:
        """Prepare for the users and items that a state has codes for at the start."""
        transform, network = model.transform, model.network
        items = ItemFeatures.of(transform, item_table, tokens[1])
        deep = DeepScorer.of(transform, network, items, dtype) if network.config.deep else None
        offset = transform.spec.offset
        return cls(
            items,
            UserFeatures.of(transform, *tokens),
            WideScorer.of(transform, model.wide_weights, items),
            deep,
            network.bias.item(),
            network.slope.item(),
            None if offset is None else NUMBERS.index(offset),
        )

    @property
    def precision(self) -> Precision:
        """In what the matrix products are computed."""
        return Precision.FLOAT32 if self.deep is None else self.deep.tower.precision

    @property
    def tolerance(self) -> float:
        """How far a probability may be from the one that the model itself gives."""
        return _EXACT if self.deep is None else self.deep.tower.tolerance

    def logits(self, reading: FeatureRow) -> Floats:
        """The logit of each candidate, float64 (n,)."""
        return self.logits_of([reading])

    def logits_of(self, readings: Sequence[FeatureRow]) -> Floats:
        """Those of several readings, one behind the other."""
        rows = [self._rows(reading) for reading in readings]
        users = [self.users.read(reading) for reading in readings]
        parts = zip(rows, readings, users, strict=True)
        wide = [self.wide.score(row, reading.values, user) for row, reading, user in parts]
        values = np.concatenate([reading.values for reading in readings])
        logit: Floats = self.bias + np.concatenate(wide)
        if self.offset is not None:
            logit += self.slope * values[:, self.offset].astype(np.float32)
        if self.deep is not None:
            owners = np.repeat(np.arange(len(rows)), [*map(len, rows)])
            logit += self.deep.score(PairRows(np.concatenate(rows), owners), values, users)
        return logit

    def at(self, reading: FeatureRow) -> "FastScorer":
        """For the moment of a reading of all items, by code: readings of another get no logits."""
        if self.deep is None:
            return self
        self._rows(reading)
        return replace(self, deep=self.deep.at(reading.values))

    def _rows(self, reading: FeatureRow) -> Ints:
        """The row of each item, and its age among the values that were read."""
        rows = np.minimum(reading.items, len(self.items.original_year) - 1)
        reading.values[:, -1] = self.items.item_age(rows, reading.time)
        return rows


def known_tokens(model: TrainedModel) -> tuple[Ints, Ints]:
    """Users and items in the model's vocabularies, which a log need not have."""
    transform = model.transform
    held = {name: transform.vocabulary_of(name).tokens for name in _token_features(model)}
    none = np.empty(0, np.int64)
    users = held.pop("user", none)
    return users, np.concatenate([none, *held.values()])


def _token_features(model: TrainedModel) -> list[str]:
    """The features whose vocabularies hold tokens of users or items."""
    spec = model.transform.spec
    names = [category.name for category in spec.categories] + [bag.name for bag in spec.bags]
    return [name for name in names if name in {"user", "item", "liked", "disliked"}]

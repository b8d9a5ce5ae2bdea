"""`FastScorer`: the logits of candidates, from the features that a live state reads of them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from widedeep.features import FeatureTables
from widedeep.inputs import Precision
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.live_state import FeatureRow
from widedeep.serving.scorer.deep import FLOAT32_TOLERANCE, DeepScorer
from widedeep.serving.scorer.features import (
    ItemFeatures,
    Layout,
    RequestCodes,
    RequestNumbers,
)
from widedeep.serving.scorer.kernels import Floats, Ints, PairRows
from widedeep.serving.scorer.wide import WideScorer


@dataclass(frozen=True, slots=True)
class FastScorer:
    """A model taken apart for the users and items of one live state; immutable.

    Attributes:
        items: What the model reads of each item.
        requests: How the model codes the user, the remembered items and the context.
        numbers: The numbers that are attributes.
        wide: The wide part.
        deep: The deep part; None if the model has none.
        bias: The model's bias.
        prior_slope: The model's factor of the prior logit.
        prior_column: Column of the prior logit in the values; None if the model has none.
    """

    items: ItemFeatures
    requests: RequestCodes
    numbers: RequestNumbers
    wide: WideScorer
    deep: DeepScorer | None
    bias: float
    prior_slope: float
    prior_column: int | None

    @classmethod
    def from_model(
        cls,
        model: TrainedModel,
        ids: tuple[Ints, Ints],
        tables: FeatureTables,
        dtype: torch.dtype,
    ) -> Self:
        """Take a model apart.

        Args:
            model: The trained model.
            ids: Users and items that the live state has codes for at the start, ascending.
            tables: Attributes of items, users and the context.
            dtype: Of the matrix products of the deep part, float32 or bfloat16.
        """
        transform, network = model.transform, model.network
        items = ItemFeatures.from_transform(transform, tables, ids[1])
        prior, layout = transform.spec.prior_logit, Layout.from_spec(transform.spec, tables)
        return cls(
            items,
            RequestCodes.from_transform(transform, tables, *ids),
            RequestNumbers.from_tables(tables, *ids),
            WideScorer.from_weights(transform, model.wide_weights, items, layout),
            DeepScorer.from_network(transform, network, items, layout, dtype)
            if network.config.deep
            else None,
            network.bias.item(),
            network.prior_slope.item(),
            None if prior is None else layout.numbers.index(prior),
        )

    @property
    def precision(self) -> Precision:
        """The precision of the matrix products."""
        return Precision.FLOAT32 if self.deep is None else self.deep.tower.precision

    @property
    def tolerance(self) -> float:
        """How far a probability may be from the one that the model itself computes."""
        return FLOAT32_TOLERANCE if self.deep is None else self.deep.tower.tolerance

    def logits(self, *requests: FeatureRow) -> Floats:
        """Return the logit of each candidate, float64 (n,), request after request.

        The attributes among the values of the requests are filled in.
        """
        rows = [self._item_rows(request) for request in requests]
        users = [self.requests.read(request) for request in requests]
        wide = [
            self.wide.score(item_rows, request.values, user)
            for item_rows, request, user in zip(rows, requests, users, strict=True)
        ]
        values = np.concatenate([request.values for request in requests])
        logit: Floats = self.bias + np.concatenate(wide)
        if self.prior_column is not None:
            logit += self.prior_slope * values[:, self.prior_column].astype(np.float32)
        if self.deep is not None:
            owners = np.repeat(np.arange(len(rows)), [*map(len, rows)])
            logit += self.deep.score(PairRows(np.concatenate(rows), owners), values, users)
        return logit

    def at_moment(self, survey: FeatureRow) -> "FastScorer":
        """Return a scorer for one moment only, which adds up the items' numbers ahead.

        Args:
            survey: Every item by code at that moment, with any user (`LiveState.read_every_item`).
        """
        if self.deep is None:
            return self
        self._item_rows(survey)
        return replace(self, deep=self.deep.at_moment(survey.values))

    def _item_rows(self, request: FeatureRow) -> Ints:
        """Return the row of each candidate in `items`, and fill in the values' attributes."""
        rows = np.minimum(request.items, self.items.rows - 1)
        self.numbers.fill(request, rows)
        return rows

"""The answer of `GET /model`: which model answers, by which decision, and what its data mean.

These are frozen dataclasses without slots, as in `schemas`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from math import inf, log
from typing import Any, Self

from widedeep.data.dataset import DatasetSpec, Feature
from widedeep.data.tables import MISSING
from widedeep.evaluation.naming import range_texts
from widedeep.features import QuantileNormaliser, Transform
from widedeep.serving.service import RefusedVersion, ServingState

_MOST_VALUES = 100
"""Values of a feature that are listed, at most."""

_LEVELS = ("low", "average", "high")


@dataclass(frozen=True)
class LoggedDecision:
    """A decision on a registered model as the decision log has it.

    `by_hand` says that no training run led to it: a person moved the champion.
    """

    at: str
    version: str
    action: str
    reason: str
    champion_version: str | None
    replaced_version: str | None
    by: str | None
    by_hand: bool

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Pick the fields out of a record of the decision log; absent ones are None."""
        known = [field.name for field in fields(cls) if field.name != "by_hand"]
        values: dict[str, Any] = {name: record.get(name) for name in known}
        return cls(**values, by_hand="run_id" not in record)


@dataclass(frozen=True)
class FeatureFact:
    """A feature: what people call it, of what it is an attribute, and its type.

    `values` are those that the model knows, of a category or bag with few of them.
    """

    name: str
    korean: str
    english: str
    side: str
    type: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ValueRange:
    """The values that feedback may have."""

    minimum: float | None
    maximum: float | None
    integer: bool


@dataclass(frozen=True)
class DataFacts:
    """What the model's data mean.

    `item_korean` and `item_english` are what people call an item. `label` says when an interaction
    is positive, `label_from_value` whether that follows from its value, and `audience` whether
    items have an age rating. A request's `context` and `user_features` may give the features of
    these sides.
    """

    item_korean: str
    item_english: str
    audience: bool
    label: str
    value: ValueRange | None
    label_from_value: bool
    features: tuple[FeatureFact, ...]

    @classmethod
    def from_spec(cls, spec: DatasetSpec, transform: Transform) -> Self:
        """Read the facts of a data set, and the values that a model knows."""
        value, items = spec.interactions.value, spec.items
        called = items.called if items is not None else {}
        return cls(
            called.get("ko", "항목"),
            called.get("en", "item"),
            items is not None and items.age_rating is not None,
            spec.label,
            ValueRange(value.minimum, value.maximum, value.integer) if value else None,
            spec.interactions.label_from_value,
            tuple(_feature_fact(feature, transform) for feature in spec.features),
        )


@dataclass(frozen=True)
class LabelFact:
    """When an interaction is positive: `column` is at least, or equals, a value (else it is 1)."""

    column: str
    at_least: float | None
    equals: str | int | float | bool | None

    @classmethod
    def from_spec(cls, spec: DatasetSpec) -> Self | None:
        """Return the rule of a data set; None if each of its interactions is positive."""
        rule = spec.interactions.label
        return cls(rule.column, rule.at_least, rule.equals) if rule is not None else None


Levels = dict[str, dict[str, str]]
"""By number and range, as `FiredFeature` has them: whether the range is low, average or high."""


def levels_of(transform: Transform) -> Levels:
    """Say of each range of each bucketed number where it lies among the model's own quantiles.

    The ranges in the lower third of the number's ranges are low, those in the upper third high. Of
    a number with a usual value, a range is low only if it ends there or below, and high only if it
    begins there or above.
    """
    usual = _usual_values(transform.prior)
    normalisers = {b.number: transform.normalisers[b.name] for b in transform.spec.buckets}
    return {
        number: dict(
            zip(range_texts(normaliser), _range_levels(normaliser, usual.get(number)), strict=True)
        )
        for number, normaliser in normalisers.items()
        if normaliser.quantiles > 1
    }


def _usual_values(prior: float) -> dict[str, float]:
    """Return the values of history for a user and an item of which nothing is known."""
    return {
        "expected_logit": log(prior / (1 - prior)),
        "mean_plus_residual": prior,
        "user_fast": 0.0,
        "item_short_mean": prior,
    }


def _range_levels(normaliser: QuantileNormaliser, usual: float | None) -> list[str]:
    """Return the level of each range, the lowest range first; `usual` is in the number's unit."""
    count, ends = normaliser.quantiles, [-inf, *normaliser.boundaries.tolist(), inf]
    levels = []
    for position, (start, end) in enumerate(pairwise(ends)):
        level = _LEVELS[(2 * position + 1) * len(_LEVELS) // (2 * count)]
        wrong = usual is not None and (end > usual if level == "low" else start < usual)
        levels.append("average" if wrong else level)
    return levels


def _feature_fact(feature: Feature, transform: Transform) -> FeatureFact:
    vocabulary = transform.vocabularies.get(feature.name)
    values: tuple[str, ...] = ()
    if vocabulary is not None and len(vocabulary) <= _MOST_VALUES:
        values = tuple(str(value) for value in vocabulary.ids.tolist() if value != MISSING)
    korean, english = (feature.title.get(code, feature.name) for code in ("ko", "en"))
    side, kind = feature.side.value, feature.type.value
    return FeatureFact(feature.name, korean, english, side, kind, values)


@dataclass(frozen=True)
class ModelAnswer:
    """The model that answers, since when, by which decision, and all decisions, oldest first.

    `precision` is that of its matrix products: float32 or bfloat16. `data` says what it is asked.
    `label` is the rule of what it predicts, `positive_share` the share of the interactions that it
    was trained with to which the rule applies; both are null if all of them are positive and the
    negatives sampled. `levels` puts the ranges of numbers in reasons into an order.
    """

    name: str
    version: str
    precision: str
    since: str
    promoted: LoggedDecision | None
    refused: tuple[RefusedVersion, ...]
    history: tuple[LoggedDecision, ...]
    data: DataFacts
    label: LabelFact | None
    positive_share: float | None
    levels: Levels

    @classmethod
    def from_records(
        cls,
        serving: ServingState,
        refused: tuple[RefusedVersion, ...],
        records: Sequence[Mapping[str, Any]],
    ) -> Self:
        """Find the newest of the logged decisions that made the serving version champion."""
        version = serving.model.version
        spec, transform = serving.model.metadata.side.spec, serving.model.transform
        history = tuple(LoggedDecision.from_record(record) for record in records)
        promotions = [
            decision
            for decision in history
            if decision.champion_version != decision.replaced_version
            and decision.champion_version == version.number
        ]
        return cls(
            version.model,
            version.number,
            serving.model.ranker.precision.value,
            serving.since,
            promotions[-1] if promotions else None,
            refused,
            history,
            DataFacts.from_spec(spec, transform),
            LabelFact.from_spec(spec),
            None if spec.negatives else transform.prior,
            levels_of(transform),
        )

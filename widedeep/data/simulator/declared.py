"""Simulated data in any form that a `dataset.toml` declares, with a known truth.

Users, items, tastes and times are those of the simulator of ratings. Every declared feature of
items, users and the context adds to an interaction's logit: each value on its own, and each value
of a user or a context together with each value of an item. So what a model can gain by reading a
feature is known.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec, Feature, FeatureType, Side
from widedeep.data.dataset_tables import ExtraTable, Table, TimeUnit
from widedeep.data.simulator.config import MINUTE, SimulationConfig
from widedeep.data.simulator.interactions import SimulatedTraffic, sigmoid
from widedeep.data.simulator.items import Floats, Ints, draw_titles
from widedeep.inputs import InputError

_VALUES = {Side.ITEM: 12, Side.USER: 6, Side.CONTEXT: 4}
"""Number of values of a category or bag, by what it is an attribute of."""
_MOST_IN_BAG = 3
_MISSING_SHARE = 0.03
_MEAN, _DEVIATION = 40.0, 12.0
"""Of numbers."""
_FIRST_YEAR = 1970
_TYPED_HEADER = (".inter", ".item", ".user")
_TIME_VALUES = {FeatureType.HOUR: 24, FeatureType.WEEKDAY: 7, FeatureType.MONTH: 12}
_PER_SECOND = {TimeUnit.MILLISECONDS: 10**3, TimeUnit.MICROSECONDS: 10**6}
_PER_SECOND |= {TimeUnit.SECONDS: 1, TimeUnit.NANOSECONDS: 10**9}

Shares = NDArray[np.float32]
AnyInts = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class DrawnFeature:
    """A feature's values of all items, all users or all rows.

    Attributes:
        feature: Its declaration.
        column: (n,) the values as they stand in the files: text, numbers, or lists of texts.
        shares: (n, v) float32, for a category or bag the share of each value in a row; for a
            number one column, standardised; 0 where missing.
        effect: (v,) what each adds to the logit.
    """

    feature: Feature
    column: Any
    shares: Shares
    effect: Floats

    @classmethod
    def draw(
        cls, feature: Feature, entities: int, minute: Ints, rng: np.random.Generator
    ) -> "DrawnFeature":
        """Draw the values of a feature of `entities`; `minute` is the time of context features."""
        if feature.derived_from_time:
            return cls._from_time(feature, minute, rng)
        missing = rng.random(entities) < _MISSING_SHARE
        if feature.type in {FeatureType.NUMBER, FeatureType.AGE}:
            return cls._numbers(feature, missing, rng)
        count = _VALUES[feature.side]
        most = _MOST_IN_BAG if feature.type is FeatureType.BAG else 1
        # The n-th value is chosen n times as rarely as the first one.
        clocks = rng.exponential(np.arange(1, count + 1), (entities, count))
        chosen = np.argsort(clocks, axis=1)
        lengths = np.where(missing, 0, rng.integers(1, most + 1, entities))
        names = np.array([f"{feature.name}-{number + 1}" for number in range(count)], object)
        taken = np.arange(most) < lengths[:, None]
        shares = np.zeros((entities, count), np.float32)
        row, place = np.nonzero(taken)
        shares[row, chosen[row, place]] = 1.0 / lengths[row]
        lists = [names[ids[:n]].tolist() for ids, n in zip(chosen, lengths, strict=True)]
        if feature.type is FeatureType.BAG:
            column = pa.array(lists, pa.list_(pa.string()))
        else:
            column = pa.array([values[0] if values else None for values in lists], pa.string())
        return cls(feature, column, shares, rng.standard_normal(count))

    @classmethod
    def _from_time(cls, feature: Feature, minute: Ints, rng: np.random.Generator) -> "DrawnFeature":
        zone = ZoneInfo(feature.time_zone)
        local = pc.assume_timezone(pa.array(minute * MINUTE).cast(pa.timestamp("s")), "UTC")
        local = pc.local_timestamp(local.cast(pa.timestamp("s", tz=str(zone))))
        parts = {
            FeatureType.HOUR: pc.hour,
            FeatureType.WEEKDAY: pc.day_of_week,
            FeatureType.MONTH: lambda times: pc.subtract(pc.month(times), 1),
        }
        code = parts[feature.type](local).to_numpy()
        shares = np.eye(_TIME_VALUES[feature.type], dtype=np.float32)[code]
        return cls(feature, None, shares, rng.standard_normal(shares.shape[1]))

    @classmethod
    def _numbers(
        cls, feature: Feature, missing: NDArray[np.bool_], rng: np.random.Generator
    ) -> "DrawnFeature":
        standard = rng.standard_normal(len(missing))
        numbers = np.round(_MEAN + _DEVIATION * standard)
        if feature.type is FeatureType.AGE:
            numbers += _FIRST_YEAR - 20
        column = pa.array(numbers.astype(np.int64), mask=missing)
        shares = np.where(missing, 0.0, standard).astype(np.float32)[:, None]
        return cls(feature, column, shares, rng.standard_normal(1))


@dataclass(frozen=True, slots=True)
class DeclaredFeatures:
    """All features of a simulation, by side, and their effects together."""

    items: tuple[DrawnFeature, ...]
    users: tuple[DrawnFeature, ...]
    context: tuple[DrawnFeature, ...]
    pairs: Mapping[tuple[str, str], Floats]
    """What a value of a user or context adds together with a value of an item, (v, w)."""

    @classmethod
    def draw(
        cls,
        spec: DatasetSpec,
        config: SimulationConfig,
        traffic: SimulatedTraffic,
        rng: np.random.Generator,
    ) -> "DeclaredFeatures":
        """Draw all features that a spec declares, and their effects."""
        _refuse_what_cannot_be_drawn(spec)
        minute = traffic.minute.astype(np.int64)
        sizes = {Side.ITEM: config.items, Side.USER: config.users, Side.CONTEXT: len(minute)}
        items, users, context = (
            tuple(DrawnFeature.draw(f, sizes[side], minute, rng) for f in spec.features_of(side))
            for side in (Side.ITEM, Side.USER, Side.CONTEXT)
        )
        pairs = {
            (other.feature.name, item.feature.name): rng.standard_normal(
                (other.shares.shape[1], item.shares.shape[1])
            )
            for other in (*users, *context)
            for item in items
        }
        return cls(items, users, context, pairs)

    def logits(self, traffic: SimulatedTraffic, spread: float) -> Floats:
        """Return what the features add to each row's logit, (rows,), of this deviation."""
        rows = np.arange(len(traffic.item))
        total = np.zeros(len(rows))
        sides = ((self.items, traffic.item), (self.users, traffic.user), (self.context, rows))
        for features, entity in sides:
            for drawn in features:
                total += (drawn.shares @ drawn.effect)[entity]
        for features, entity in sides[1:]:
            for drawn in features:
                for item in self.items:
                    effect = self.pairs[drawn.feature.name, item.feature.name]
                    together = drawn.shares @ effect
                    total += np.einsum("ij,ij->i", together[entity], item.shares[traffic.item])
        deviation = float(total.std())
        return spread * (total - total.mean()) / deviation if deviation else total

    def named(self) -> dict[str, DrawnFeature]:
        """Return every feature of all sides under its name."""
        return {drawn.feature.name: drawn for drawn in (*self.items, *self.users, *self.context)}

    def summary(self) -> dict[str, list[float]]:
        """Return the effect of each feature's values, before they are scaled."""
        return {name: drawn.effect.round(4).tolist() for name, drawn in self.named().items()}


def _refuse_what_cannot_be_drawn(spec: DatasetSpec) -> None:
    """Raise InputError if a declared column has a form that only real data can have."""
    for feature in spec.features:
        if feature.pattern is not None:
            raise InputError(
                f"feature {feature.name!r} has a pattern; the simulator cannot write texts that "
                "match one. Declare a column that holds the value itself"
            )
    for name in spec.tables:
        own = [feature.name for feature in spec.features if feature.table == name]
        if len(own) > 1:
            raise InputError(
                f"[tables.{name}] has the features {', '.join(own)}; the simulator writes tables "
                "with one feature"
            )


@dataclass(frozen=True, slots=True)
class DeclaredData:
    """Everything that the files of a simulated data set say.

    Attributes:
        spec: The form.
        config: The settings.
        traffic: Who meets which item when, (rows,).
        positive: (rows,) bool.
        logit: (rows,) float64, the truth.
        features: The declared features.
    """

    spec: DatasetSpec
    config: SimulationConfig
    traffic: SimulatedTraffic
    positive: NDArray[np.bool_]
    logit: Floats
    features: DeclaredFeatures

    def user_ids(self, code: AnyInts) -> pa.Array:
        """Return ids of users as the files have them."""
        return self._ids("u", code)

    def item_ids(self, code: AnyInts) -> pa.Array:
        """Return ids of items as the files have them."""
        return self._ids("i", code)

    def _ids(self, letter: str, code: AnyInts) -> pa.Array:
        if self.spec.interactions.integer_ids:
            return pa.array(code.astype(np.int64) + 1)
        return pa.array([f"{letter}{number + 1}" for number in code.tolist()])

    def write(self, folder: Path, order: Ints, rng: np.random.Generator) -> None:
        """Write all files; `order` are the rows of the traffic that interactions have."""
        for name, table in self.spec.named_tables.items():
            columns = {
                "interactions": lambda: self._interactions(order, rng),
                "items": lambda: self._attributes(Side.ITEM, rng),
                "users": lambda: self._attributes(Side.USER, rng),
            }.get(name, lambda name=name: self._values(name))()
            _write_table(folder, table, columns)

    def _interactions(self, order: Ints, rng: np.random.Generator) -> dict[str, pa.Array]:
        table = self.spec.interactions
        user, item = self.traffic.user[order], self.traffic.item[order]
        columns = {table.item: self.item_ids(item)}
        if table.user is not None:
            columns[table.user] = self.user_ids(user)
        unit = table.time_unit or TimeUnit.SECONDS
        columns[table.time] = _times(self.traffic.minute[order].astype(np.int64) * MINUTE, unit)
        columns |= self._labels(order, rng)
        if table.weight is not None:
            columns[table.weight] = pa.array(rng.choice([0.5, 1.0, 2.0], len(order)))
        entities = {Side.ITEM: item, Side.USER: user, Side.CONTEXT: order}
        for drawn in self.features.named().values():
            if drawn.feature.table == "interactions":
                values = drawn.column.take(pa.array(entities[drawn.feature.side]))
                columns[drawn.feature.column] = _field(drawn.feature, values)
        return columns

    def _labels(self, order: Ints, rng: np.random.Generator) -> dict[str, pa.Array]:
        """Return the columns of label and value."""
        table, positive = self.spec.interactions, self.positive[order]
        columns: dict[str, pa.Array] = {}
        rule, value = table.label, table.value
        low = 1 if value is None or value.minimum is None else int(value.minimum)
        high = low + 4 if value is None or value.maximum is None else int(value.maximum)
        if value is not None:
            likes = np.round(low + (high - low) * sigmoid(self.logit[order]))
            columns[value.column] = pa.array(likes.astype(np.int64))
        if rule is None:
            return columns
        if rule.at_least is not None:
            least = ceil(rule.at_least)
            above = rng.integers(least, max(high, least) + 1, len(order))
            below = rng.integers(min(low, least - 1), least, len(order))
            columns[rule.column] = pa.array(np.where(positive, above, below))
        elif isinstance(rule.equals, bool):
            columns[rule.column] = pa.array(positive == rule.equals)
        elif rule.equals is not None:
            columns[rule.column] = pa.array(np.where(positive, str(rule.equals), "other").tolist())
        else:
            columns[rule.column] = pa.array(positive.astype(np.int64))
        return columns

    def _attributes(self, side: Side, rng: np.random.Generator) -> dict[str, pa.Array]:
        table = self.spec.items if side is Side.ITEM else self.spec.users
        drawn_features = self.features.items if side is Side.ITEM else self.features.users
        count = self.config.items if side is Side.ITEM else self.config.users
        codes = np.arange(count)
        ids = self.item_ids(codes) if side is Side.ITEM else self.user_ids(codes)
        columns = {table.id: ids}  # type: ignore[union-attr]
        korean, english = draw_titles(count, rng)
        for language, title in table.title.items():  # type: ignore[union-attr]
            columns[title.column] = korean if language == "ko" else english
        for drawn in drawn_features:
            if drawn.feature.table == f"{side.value}s":
                columns[drawn.feature.column] = _field(drawn.feature, drawn.column)
        return columns

    def _values(self, name: str) -> dict[str, pa.Array]:
        """Return the columns of an extra table: the values of a bag, or names of values."""
        table = self.spec.tables[name]
        if table.of is None:
            return self._names(name, table)
        own = [d for d in self.features.named().values() if d.feature.table == name]
        if not own:
            return {table.id: pa.array([], pa.string())}
        feature, lists = own[0].feature, own[0].column
        codes = pc.list_parent_indices(lists).to_numpy()
        ids = self.item_ids(codes) if table.of == "items" else self.user_ids(codes)
        columns = {table.id: ids, feature.column: lists.flatten()}
        for column, value in feature.where.items():
            columns[column] = pa.array([str(value)] * len(codes))
        if feature.order_by is not None:
            columns[feature.order_by] = pa.array(np.arange(len(codes)))
        return columns

    def _names(self, name: str, table: ExtraTable) -> dict[str, pa.Array]:
        named = [d for d in self.features.named().values() if d.feature.names == name]
        values = [value for drawn in named for value in _distinct(drawn.column)]
        columns = {table.id: pa.array(values, pa.string())}
        for language, title in table.title.items():
            titles = [f"{value} ({language})" if language else value for value in values]
            columns[title.column] = pa.array(titles, pa.string())
        return columns


def _distinct(column: pa.Array) -> Iterator[str]:
    values = column.flatten() if pa.types.is_list(column.type) else column
    yield from sorted(values.drop_null().unique().to_pylist())


def _field(feature: Feature, column: pa.Array) -> pa.Array:
    """Return a column as a file has it: a bag with a separator as one text a row."""
    if feature.type is FeatureType.BAG and feature.separator is not None:
        return pc.binary_join(column, feature.separator)
    return column


def _times(seconds: Ints, unit: TimeUnit) -> pa.Array:
    if unit is TimeUnit.ISO:
        stamps = (datetime.fromtimestamp(second, UTC) for second in seconds.tolist())
        return pa.array([stamp.strftime("%Y-%m-%dT%H:%M:%SZ") for stamp in stamps])
    return pa.array(seconds * _PER_SECOND[unit])


def _write_table(folder: Path, table: Table, columns: Mapping[str, pa.Array]) -> None:
    """Write one file of a table, in its declared format."""
    path = folder / re.sub(r"[*?]|\[.*?\]", "1", table.files[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    names = table.columns or tuple(columns)
    rows = len(next(iter(columns.values())))
    arrays = [columns.get(name, pa.nulls(rows, pa.string())) for name in names]
    if path.suffix == ".parquet":
        pq.write_table(pa.table(arrays, names=list(names)), path)
        return
    separator = table.separator or ("," if path.suffix == ".csv" else "\t")
    texts = [array.cast(pa.string()).fill_null("") for array in arrays]
    if path.suffix in _TYPED_HEADER and table.columns is None:
        names = tuple(_typed(name, array) for name, array in zip(names, arrays, strict=True))
    with path.open("w", encoding=table.encoding, newline="") as file:
        if table.columns is None:
            file.write(separator.join(names) + "\n")
        lines = pc.binary_join_element_wise(*texts, separator)
        file.writelines(f"{line}\n" for line in lines.to_pylist())


def _typed(name: str, column: pa.Array) -> str:
    """Return a column's name with RecBole's type behind it."""
    number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return f"{name}:{'float' if number else 'token'}"

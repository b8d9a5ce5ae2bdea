"""What a data folder holds and means: `DatasetSpec`, as its `dataset.toml` says.

The file names the tables, their keys, the label rule and the features. It is the only place that
knows the columns of a data set; all other modules use the names of its features and the words user,
item, time, label and value. KMRD is one such file, `kmrd.toml`, in this folder. `dataset_file`
reads it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, TypeAdapter

from widedeep.data.dataset_tables import (
    STRICT,
    AttributesTable,
    ExtraTable,
    InteractionsTable,
    Table,
)
from widedeep.inputs import InputError, close_name

VERSION = 1
"""The version of `dataset.toml` that this code reads."""

RESERVED = frozenset({"user", "item", "time", "label", "value", "weight", "liked", "disliked"})
"""Names that no feature may have, because they have a meaning of their own."""


class Side(StrEnum):
    """Of what a feature is an attribute."""

    ITEM = "item"
    USER = "user"
    CONTEXT = "context"


class FeatureType(StrEnum):
    """How a feature's column is read; hour, weekday and month are read from the time."""

    CATEGORY = "category"
    BAG = "bag"
    NUMBER = "number"
    AGE = "age"
    HOUR = "hour"
    WEEKDAY = "weekday"
    MONTH = "month"


CATEGORICAL = (FeatureType.CATEGORY, FeatureType.HOUR, FeatureType.WEEKDAY, FeatureType.MONTH)
"""Types with one id a row."""

NUMERICAL = (FeatureType.NUMBER, FeatureType.AGE)
"""Types with one number a row."""

FROM_TIME = (FeatureType.HOUR, FeatureType.WEEKDAY, FeatureType.MONTH)
"""Types that are derived from the interaction's time."""


@dataclass(frozen=True, slots=True)
class Feature:
    """An attribute that models may read.

    Attributes:
        name: By which models, reports and requests call it.
        source: `table.column` (`from` in the file), or `time` for what is derived from the time.
        type: How it is read.
        side: Of what it is an attribute; from the table by default, and context for columns of the
            interactions.
        separator: Between the values of a bag in one field.
        pattern: A regular expression; the feature is what its first group matches.
        where: Only rows of an extra table in which these columns have these values.
        order_by: A numeric column by which the values of a bag are ordered; the file's order by
            default.
        names: The extra table that names the ids of a bag or category.
        learn: Whether models read it; otherwise it serves history and retrieval alone.
        title: What people call it, by language (`ko`, `en`).
        words: What its values are called, by language, where that is not as in the data.
        time_zone: Of hour, weekday and month, such as Asia/Seoul; UTC by default.
    """

    name: str
    source: str
    type: FeatureType
    side: Side = Side.CONTEXT
    separator: str | None = None
    pattern: str | None = None
    where: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    order_by: str | None = None
    names: str | None = None
    learn: bool = True
    title: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    time_zone: str = "UTC"
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @property
    def table(self) -> str:
        """The table that the feature is read from; empty for one derived from the time."""
        return self.source.partition(".")[0] if "." in self.source else ""

    @property
    def column(self) -> str:
        """The column that the feature is read from."""
        return self.source.partition(".")[2] if "." in self.source else self.source

    @property
    def derived_from_time(self) -> bool:
        """Whether the feature follows from the time alone."""
        return self.type in FROM_TIME


@dataclass(frozen=True, slots=True)
class ModelSection:
    """What of a model the file decides; what is None follows from the preset and the features.

    Attributes:
        crosses: Cross-product features, each a list of names; `<number>_bucket` is a number's
            quantile.
        user_residuals: Bags and categories of items on which history keeps each user's residuals.
        residuals: Bags and categories of items on which history keeps the residuals of all users.
    """

    crosses: tuple[tuple[str, ...], ...] | None = None
    user_residuals: tuple[str, ...] | None = None
    residuals: tuple[str, ...] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True)
class Negatives:
    """How negatives are sampled for a log of positives only: so many for each positive."""

    per_positive: int
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What a data folder holds and means.

    Raises:
        InputError: The parts contradict one another.
    """

    name: str
    interactions: InteractionsTable
    items: AttributesTable | None = None
    users: AttributesTable | None = None
    tables: Mapping[str, ExtraTable] = field(default_factory=dict)
    features: tuple[Feature, ...] = ()
    model: ModelSection = field(default_factory=ModelSection)
    negatives: Negatives | None = None
    version: int = VERSION
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        """Check what the types of the parts cannot say; see the class."""
        _check_tables(self)
        _check_features(self)
        _check_model(self)

    @property
    def label(self) -> str:
        """When an interaction is positive, for people, such as `rate >= 10`."""
        rule = self.interactions.label
        return rule.to_text() if rule is not None else "every interaction, against sampled ones"

    @property
    def named_tables(self) -> dict[str, Table]:
        """All tables by name: interactions, items, users and the extra ones."""
        known = {"interactions": self.interactions, "items": self.items, "users": self.users}
        return {name: table for name, table in known.items() if table is not None} | dict(
            self.tables
        )

    def features_of(self, side: Side) -> tuple[Feature, ...]:
        """Return the features of items, of users or of the context."""
        return tuple(feature for feature in self.features if feature.side is side)

    def feature(self, name: str) -> Feature | None:
        """Return the feature of this name, if there is one."""
        return next((feature for feature in self.features if feature.name == name), None)

    def columns_of(self, table: str) -> tuple[str, ...]:
        """Return the columns that are read from a table, each once."""
        return tuple(dict.fromkeys(_columns(self, table)))

    def as_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` reads back to an equal spec."""
        values: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DatasetSpec":
        """Read the values that `as_json` returned."""
        return _ADAPTER.validate_python(values)


def _check_tables(spec: DatasetSpec) -> None:
    for name, table in spec.named_tables.items():
        if not table.files:
            raise InputError(f"[{name}] names no files")
    used = [name for name in spec.tables if name in {"interactions", "items", "users", "time"}]
    if used:
        raise InputError(f"[tables.{used[0]}]: this name has a meaning already; choose another")
    label = spec.interactions.label
    if label is None and spec.negatives is None:
        raise InputError(
            "[interactions] says not when a row is positive; add label = { column = … }, or "
            "[negatives] if every row is"
        )
    if label is not None and label.at_least is not None and label.equals is not None:
        raise InputError("the label has both at_least and equals; expected one of them")
    if spec.negatives and spec.negatives.per_positive < 1:
        raise InputError(
            f"negatives.per_positive is {spec.negatives.per_positive}; expected at least 1"
        )
    _check_rules(spec)
    if spec.users and spec.interactions.user is None:
        raise InputError("there is a [users] table, but [interactions] names no user column")


def _check_rules(spec: DatasetSpec) -> None:
    """Check the features that decide which items may be shown."""
    if spec.items is None:
        return
    expected = {"age_rating": FeatureType.CATEGORY, "released": FeatureType.AGE}
    for entry, kind in expected.items():
        name = getattr(spec.items, entry)
        known = [f.name for f in spec.features_of(Side.ITEM) if f.type is kind]
        if name is not None and name not in known:
            raise InputError(
                f"items.{entry} is {name!r}, but there is no feature of items of type "
                f"{kind.value!r} with this name{close_name(name, known)}"
            )


def _check_features(spec: DatasetSpec) -> None:
    seen: set[str] = set()
    for feature in spec.features:
        if feature.name in RESERVED or not feature.name.strip():
            raise InputError(
                f"a feature is called {feature.name!r}, which has a meaning of its own; give it "
                "another name"
            )
        if feature.name in seen:
            raise InputError(f"there are two features {feature.name!r}; give one another name")
        seen.add(feature.name)
        _check_feature(spec, feature)


def _check_feature(spec: DatasetSpec, feature: Feature) -> None:
    what = f"feature {feature.name!r}"
    if feature.derived_from_time or feature.source == "time":
        if feature.source != "time" or not feature.derived_from_time:
            derived = ", ".join(FROM_TIME)
            raise InputError(
                f'{what}: type {feature.type.value!r} from {feature.source!r}; from = "time" goes '
                f"with the types {derived}"
            )
        _check_time_zone(what, feature.time_zone)
        return
    tables = spec.named_tables
    if feature.table not in tables:
        hint = close_name(feature.table, tables)
        raise InputError(
            f"{what} is from {feature.source!r}, but there is no table {feature.table!r}{hint} "
            f"(tables: {', '.join(tables)})"
        )
    extra = spec.tables.get(feature.table)
    if extra is not None and extra.of is None:
        raise InputError(f"{what}: [tables.{feature.table}] says not whose values it holds (of)")
    if extra is not None and feature.type is not FeatureType.BAG:
        raise InputError(f"{what}: values of [tables.{feature.table}] are a bag")
    if (feature.where or feature.order_by) and extra is None:
        raise InputError(f"{what}: where and order_by are for the values of an extra table")
    if feature.names is not None:
        _check_names(spec, feature)
    if feature.side is Side.CONTEXT and feature.type in {FeatureType.BAG, FeatureType.AGE}:
        raise InputError(
            f"{what}: a column of the interactions is a category or a number, not of type "
            f'{feature.type.value!r}; with side = "item" or "user" it may be a bag'
        )


def _check_names(spec: DatasetSpec, feature: Feature) -> None:
    if feature.names not in spec.tables:
        hint = close_name(str(feature.names), spec.tables)
        raise InputError(
            f"feature {feature.name!r} has names {feature.names!r}, but there is no "
            f"[tables.{feature.names}]{hint}"
        )


def _check_time_zone(what: str, name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"{what}: unknown time_zone {name!r}; for example Asia/Seoul") from error


def _check_model(spec: DatasetSpec) -> None:
    discrete = [f.name for f in spec.features_of(Side.ITEM) if f.type not in NUMERICAL]
    for names in (spec.model.user_residuals or (), spec.model.residuals or ()):
        for name in names:
            if name not in discrete:
                raise InputError(
                    f"model: history keeps residuals on categories and bags of items; {name!r} is "
                    f"none{close_name(name, discrete)} (there are: {', '.join(discrete) or 'none'})"
                )


def _columns(spec: DatasetSpec, table: str) -> Iterable[str]:
    entry = spec.named_tables[table]
    if isinstance(entry, InteractionsTable):
        names = [entry.user, entry.item, entry.time, entry.weight]
        names += [entry.label.column if entry.label is not None else None]
        yield from (name for name in names if name is not None)
        if entry.value is not None:
            yield entry.value.column
    else:
        yield entry.id
        yield from (title.column for title in entry.title.values())
    for feature in spec.features:
        if feature.table == table:
            yield feature.column
            yield from feature.where
            if feature.order_by is not None:
                yield feature.order_by


_ADAPTER = TypeAdapter(DatasetSpec)

"""What a data folder holds and means: `DatasetSpec`, read from its `dataset.toml`.

The file names the tables, their keys, the label rule and the features. It is the only place that
knows the columns of a data set; all other modules use the names of its features and the words user,
item, time, label and value. KMRD is one such file, `kmrd.toml`, in this folder.

`load_spec` reads a folder's file, `parse_spec` its text. Every mistake in it is one `InputError`
that names the entry, and suggests a name where one was misspelt.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, TypeAdapter, ValidationError

from widedeep.inputs import InputError

SPEC_FILE = "dataset.toml"
"""Name of the file in a data folder."""

KMRD_SPEC = Path(__file__).with_name("kmrd.toml")
"""The spec of KMRD, for a folder in KMRD's form."""

VERSION = 1
"""The version of `dataset.toml` that this code reads."""

RESERVED = frozenset({"user", "item", "time", "label", "value", "weight", "liked", "disliked"})
"""Names that no feature may have, because they have a meaning of their own."""

_STRICT = ConfigDict(extra="forbid")


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


class TimeUnit(StrEnum):
    """The unit of a time column; ISO is text such as 2018-10-01T12:00:00+09:00."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"
    ISO = "iso"


CATEGORICAL = (FeatureType.CATEGORY, FeatureType.HOUR, FeatureType.WEEKDAY, FeatureType.MONTH)
"""Types with one id a row."""

NUMERICAL = (FeatureType.NUMBER, FeatureType.AGE)
"""Types with one number a row."""

FROM_TIME = (FeatureType.HOUR, FeatureType.WEEKDAY, FeatureType.MONTH)
"""Types that are derived from the interaction's time."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """When an interaction is positive.

    `at_least` compares numbers, `equals` compares text; without either the column holds 0 or 1.
    """

    column: str
    at_least: float | int | None = None
    equals: str | int | float | bool | None = None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def is_positive(self, value: float) -> bool:
        """Return whether a number in the label's column is positive."""
        if self.at_least is not None:
            return value >= self.at_least
        return str(self.equals) == f"{value:g}" if self.equals is not None else value == 1

    def to_text(self) -> str:
        """Return the rule for people, such as `rate >= 10`."""
        if self.at_least is not None:
            return f"{self.column} >= {self.at_least:g}"
        return f"{self.column} = {1 if self.equals is None else self.equals}"


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """The number of an interaction that history averages, and the range it must lie in.

    History counts values as parts of `maximum`, if it is given.
    """

    column: str
    minimum: float | int | None = None
    maximum: float | int | None = None
    integer: bool = False
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class TitleColumn:
    """A column of display names.

    With `pattern`, the name is what its first group matches; with `last_of`, it is the last part
    that is not empty between texts like this one.
    """

    column: str
    pattern: str | None = None
    last_of: str | None = None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class InteractionsTable:
    """The table of interactions.

    Attributes:
        files: Globs below the folder; their rows are read one file after another.
        item: Column of the item's id.
        time: Column of the time.
        label: When a row is positive; None, with sampled negatives: every row is.
        user: Column of the user's id; None for anonymous traffic, in which every row is a new user.
        time_unit: Unit of the time; recognised from the values if None.
        value: The number that history averages; None: the label.
        weight: Column of a row's weight in training.
        integer_ids: Whether ids are integers, so that a row with another id is a bad row.
        repeats: Whether only the first row of a (user, item) is an example, or all are.
        separator: Between columns; recognised from the header if None.
        columns: Names of the columns of files without a header.
    """

    files: tuple[str, ...]
    item: str
    time: str
    label: LabelRule | None = None
    user: str | None = None
    time_unit: TimeUnit | None = None
    value: ValueColumn | None = None
    weight: str | None = None
    integer_ids: bool = False
    repeats: Literal["first", "all"] = "first"
    separator: str | None = None
    columns: tuple[str, ...] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    @property
    def label_from_value(self) -> bool:
        """Whether the label of an interaction follows from its value."""
        same = self.value is not None and self.label is not None
        return same and self.label.column == self.value.column  # type: ignore[union-attr]

    def check_id(self, what: str, identity: str) -> None:
        """Raise InputError if ids are integers and this one is not; `what` says whose it is."""
        if self.integer_ids and not identity.strip().removeprefix("-").isdecimal():
            raise InputError(
                f"{what} {identity!r} is not an integer, as all ids in these data are "
                "(integer_ids in dataset.toml)"
            )

    def read_feedback(
        self,
        value: float | None,
        label: bool | None,  # noqa: FBT001  as it was given
    ) -> tuple[float, bool]:
        """Return value and label of an interaction that a server is told of.

        Raises:
            InputError: One that is needed is missing, or the value is out of range.
        """
        if self.value is not None:
            self._check_value(value)
        if self.label_from_value and value is not None and self.label is not None:
            label = self.label.is_positive(value)
        if label is None:
            raise InputError("label is missing; expected true or false")
        return (float(label) if value is None or self.value is None else value), label

    def _check_value(self, value: float | None) -> None:
        column = self.value
        if column is None:
            return
        low, high = column.minimum, column.maximum
        expected = "an integer" if column.integer else "a number"
        if low is not None and high is not None:
            expected += f" from {low:g} to {high:g}"
        wrong = value is None or (column.integer and value != int(value))
        wrong = wrong or (low is not None and value < low) or (high is not None and value > high)  # type: ignore[operator]
        if wrong:
            raise InputError(f"value is {value}; expected {expected}")


@dataclass(frozen=True, slots=True)
class AttributesTable:
    """A table with one row for each item or user.

    Attributes:
        files: Globs below the folder.
        id: Column of the item's or user's id.
        title: Column of the display name, or columns by language (`ko`, `en`, …).
        called: What people call such an item or user, by language: film, 영화.
        age_rating: The category of items that says from which age they may be shown.
        released: The feature of type age that says when an item came out; later ones are not shown.
        complete: Whether an interaction of an id that the table lacks is a bad row; otherwise its
            attributes are missing.
        separator: Between columns; recognised from the header if None.
        columns: Names of the columns of files without a header.
    """

    files: tuple[str, ...]
    id: str
    title: Mapping[str, TitleColumn] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)
    age_rating: str | None = None
    released: str | None = None
    complete: bool = False
    separator: str | None = None
    columns: tuple[str, ...] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class ExtraTable:
    """A further table: values of a bag, one a row (with `of`), or names of ids (with `title`).

    Attributes:
        files: Globs below the folder.
        id: Column of the item's or user's id, or of the named id.
        of: Whose values the rows are: `items` or `users`.
        title: Columns of names by language.
        optional: Whether the files may be absent.
        separator: Between columns; recognised from the header if None.
        columns: Names of the columns of files without a header.
    """

    files: tuple[str, ...]
    id: str
    of: Literal["items", "users"] | None = None
    title: Mapping[str, TitleColumn] = field(default_factory=dict)
    optional: bool = False
    separator: str | None = None
    columns: tuple[str, ...] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


Table = InteractionsTable | AttributesTable | ExtraTable


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
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

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
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Negatives:
    """How negatives are sampled for a log of positives only: so many for each positive."""

    per_positive: int
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


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
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

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


def load_spec(folder: Path) -> DatasetSpec:
    """Read `dataset.toml` in `folder`; the name is the folder's unless the file gives one.

    Raises:
        InputError: The file is absent, not TOML, of another version, or contradicts itself.
    """
    path = folder / SPEC_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} has no {SPEC_FILE}; write one with: widedeep describe {folder}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}; save the file as UTF-8") from error
    return parse_spec(text, folder.name, str(path))


def kmrd_spec(name: str) -> DatasetSpec:
    """Return the spec of a folder in KMRD's form."""
    return parse_spec(KMRD_SPEC.read_text(encoding="utf-8"), name, str(KMRD_SPEC))


def parse_spec(text: str, name: str, origin: str = SPEC_FILE) -> DatasetSpec:
    """Read the text of a `dataset.toml`.

    Args:
        text: TOML.
        name: Of the data set, unless the text gives one.
        origin: The file, for messages.

    Raises:
        InputError: The text is not TOML, of another version, or contradicts itself.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin} is not valid TOML: {error}") from error
    version = values.get("version", VERSION)
    if version != VERSION:
        raise InputError(
            f"{origin} has version {version!r}; this widedeep reads version {VERSION}: write the "
            "file anew with: widedeep describe, or install the widedeep that it was written for"
        )
    if "interactions" not in values:
        names = ", ".join(values) or "nothing"
        raise InputError(f"{origin} has no [interactions] table; found {names}")
    _refuse_missing_time(values["interactions"], origin)
    try:
        return _ADAPTER.validate_python(_in_full({"name": name, **values}))
    except ValidationError as error:
        raise InputError(f"{origin}: {_first_problem(error)}") from error
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


def close_name(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the most similar of `names`, or nothing."""
    matches = get_close_matches(name, list(names), 1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _refuse_missing_time(table: Any, origin: str) -> None:  # noqa: ANN401  not checked yet
    if isinstance(table, Mapping) and "time" not in table and "item" in table:
        known = {entry.name for entry in fields(InteractionsTable)}
        hint = close_name("time", [key for key in table if key not in known])
        raise InputError(
            f"{origin}: [interactions] names no time column{hint}; retraining needs time: "
            "what a model may know of an interaction, and what it is tested on, follow from when "
            'it happened. Add time = "column"'
        )


def _in_full(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write out the short forms: text for a column, `from` for `source`, a default side."""
    full = dict(values)
    interactions = dict(full["interactions"])
    if isinstance(interactions.get("value"), str):
        interactions["value"] = {"column": interactions["value"]}
    if isinstance(interactions.get("label"), str):
        interactions["label"] = {"column": interactions["label"]}
    full["interactions"] = interactions
    for name in ("items", "users"):
        if isinstance(full.get(name), Mapping):
            full[name] = _full_titles(full[name])
    tables = full.get("tables")
    if isinstance(tables, Mapping):
        full["tables"] = {name: _full_titles(table) for name, table in tables.items()}
    if isinstance(full.get("features"), Sequence):
        extra = tables if isinstance(tables, Mapping) else {}
        full["features"] = [_full_feature(feature, extra) for feature in full["features"]]
    return full


def _full_titles(table: Any) -> Any:  # noqa: ANN401  not checked yet
    if not isinstance(table, Mapping):
        return table
    full = dict(table)
    title = full.get("title")
    if isinstance(title, str):
        title = {"": title}
    if isinstance(title, Mapping):
        full["title"] = {
            language: {"column": column} if isinstance(column, str) else column
            for language, column in title.items()
        }
    return full


def _full_feature(feature: Any, tables: Mapping[str, Any]) -> Any:  # noqa: ANN401  likewise
    if not isinstance(feature, Mapping):
        return feature
    full = dict(feature)
    if "from" in full:
        full["source"] = full.pop("from")
    sides = {"items": "item", "users": "user"}
    table = str(full.get("source", "")).partition(".")[0]
    extra = tables.get(table)
    if isinstance(extra, Mapping):
        table = extra.get("of", table)
    return {"side": sides.get(table, "context"), **full}


def _first_problem(error: ValidationError) -> str:
    """Return the first problem as one sentence."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    where = ".".join(["from" if part == "source" else part for part in path])
    match problem["type"]:
        case "unexpected_keyword_argument":
            known = _known_keys(path[:-1])
            return f"unknown entry {where!r}{close_name(path[-1], known)} (known: {known})"
        case "missing":
            return f"{where!r} is missing"
        case "value_error" | "assertion_error":
            return str(problem.get("ctx", {}).get("error", problem["msg"]))
        case "enum" | "literal_error":
            expected = problem["ctx"]["expected"]
            value = str(problem["input"])
            hint = close_name(value, expected.replace("'", "").replace(" or ", ", ").split(", "))
            return f"{where!r} is {value!r}{hint} (expected {expected})"
        case _:
            return f"{where!r} is {problem['input']!r}: {problem['msg'].lower()}"


def _known_keys(path: Sequence[str]) -> list[str]:
    """Return the entries that the table at `path` may have."""
    kinds: dict[str, Any] = {
        "interactions": InteractionsTable,
        "items": AttributesTable,
        "users": AttributesTable,
        "tables": ExtraTable,
        "features": Feature,
        "model": ModelSection,
        "negatives": Negatives,
        "label": LabelRule,
        "value": ValueColumn,
        "title": TitleColumn,
    }
    names = [part for part in path if part in kinds]
    kind = kinds[names[-1]] if names else DatasetSpec
    return ["from" if f.name == "source" else f.name for f in fields(kind)]


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


def renamed(spec: DatasetSpec, name: str) -> DatasetSpec:
    """Return the spec under another name."""
    return replace(spec, name=name)


_ADAPTER = TypeAdapter(DatasetSpec)

"""What a column is as a feature: its type and its side, or why it is left out.

`guess_features` looks at the columns of interactions, items and users that have no role. A column
is left out if a model learns nothing from it (a constant, an id of the row, free text), or if it
was known too late: it tells the label, or it tells the future.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from widedeep.data.dataset import RESERVED, FeatureType, Side
from widedeep.data.ids import Keys
from widedeep.data.profile.columns import Column
from widedeep.data.profile.entities import EntityTable
from widedeep.data.profile.labels import outcome_reason
from widedeep.data.profile.leakage import Leak, LeakProbes
from widedeep.data.profile.names import CATEGORIES, CODES, NUMBERS, words_of
from widedeep.data.profile.roles import Roles
from widedeep.data.profile.samples import Sample

SMALL = 64
"""Values of a category up to which it is crossed, and each user's residuals on it are kept."""

_MOST_CATEGORIES = 5_000
_MOST_CODES = 20
_FEW_VALUES = 20
_MANY_FLAGS = 10
_RELEASES = {"year", "release", "released", "date"}
_SEPARATORS = {" ": "spaces", "|": "bars", ";": "semicolons", ",": "commas"}


@dataclass(frozen=True, slots=True)
class GuessedFeature:
    """A feature, the reason for its type, and the share of missing values."""

    name: str
    source: str
    type: FeatureType
    side: Side
    reason: str
    values: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that is no feature, and the reason."""

    source: str
    reason: str


Guess = GuessedFeature | LeftOut


def guess_features(roles: Roles, table: Sample, entities: Sequence[EntityTable]) -> list[Guess]:
    """Return what each column without a role is, of users, items and interactions in this order.

    Args:
        roles: Of the interactions' columns.
        table: The interactions.
        entities: The tables of users and items that there are.
    """
    guesses: list[Guess] = []
    probes = LeakProbes(roles.labels, table.columns[roles.time].seconds)
    interactions = _Interactions(roles, table, probes)
    for entity in sorted(entities, key=lambda entity: entity.side is Side.ITEM):
        guesses += _of_entity(entity, interactions)
    for column in table.columns.values():
        if column.name not in roles.columns:
            guesses.append(_of_interactions(column, interactions))
    guesses += [
        LeftOut(f"{name}.{column}", f"its type is {kind}; expected values or lists of values")
        for name, sample in (("interactions", table), *((e.name, e.sample) for e in entities))
        for column, kind in sample.unread.items()
    ]
    return [*_with_names([*guesses, *_calendar(roles, table, guesses)])]


@dataclass(frozen=True, slots=True)
class _Interactions:
    """The roles of the interactions' columns, their rows, and the probes for leakage."""

    roles: Roles
    table: Sample
    probes: LeakProbes

    def keys(self, side: Side) -> Keys:
        """Return the user or the item of each row, (n,)."""
        key = self.roles.key(side)
        return self.table.columns[key].keys if key is not None else np.empty(0, np.int64)

    def leak(self, column: Column, side: Side, keys: Keys) -> Leak | None:
        """Return how an attribute of the users or items `keys`, (m,), was known too late."""
        owners, dated = self.keys(side), column.is_year
        return self.probes.of_attribute(column, side.value, keys, owners, dated=dated)


def _of_entity(entity: EntityTable, interactions: _Interactions) -> Iterator[Guess]:
    """Yield what the columns of a table of items or users are."""
    sample, keys = entity.sample, entity.sample.columns[entity.key].keys
    flags = [name for name, column in sample.columns.items() if column.is_flag]
    many = flags if len(flags) >= _MANY_FLAGS else []
    for name, column in sample.columns.items():
        if name not in {entity.key, *entity.titles.values(), *many}:
            reason = _nothing_to_learn(column, entity.side)
            leak = interactions.leak(column, entity.side, keys) if reason is None else None
            yield _guess(column, entity.name, entity.side, reason, leak)
    if many:
        reason = "flags of one bag; join their names by | in one column to read them as a bag"
        yield LeftOut(f"{entity.name}.{many[0]} … {many[-1]}", f"{len(many)} {reason}")
    yield from _year_in_title(entity)


def _year_in_title(entity: EntityTable) -> Iterator[Guess]:
    """Yield the year that stands at the end of most titles, if no other column has one."""
    columns = entity.sample.columns
    titles = [columns[name] for name in entity.titles.values()]
    if any(c.is_year for n, c in columns.items() if n not in entity.titles.values()):
        return
    for title in titles:
        if title.year_pattern is not None:
            reason = f"the year at the end of the title{_missing(title)}"
            source, options = f"{entity.name}.{title.name}", {"pattern": title.year_pattern}
            kind = FeatureType.AGE
            yield GuessedFeature("item_age", source, kind, entity.side, reason, options=options)
            return


def _of_interactions(column: Column, interactions: _Interactions) -> Guess:
    """Return what a column of the interactions is: of the context, or of a user or item."""
    roles = interactions.roles
    side = interactions.table.owner_of(column, roles.user, roles.item)
    if side is None:
        reason = _nothing_to_learn(column, Side.CONTEXT)
        leak = interactions.probes.of_context(column) if reason is None else None
        return _guess(column, "interactions", Side.CONTEXT, reason, leak)
    owners, rows = np.unique(interactions.keys(side), return_inverse=True)
    present = np.flatnonzero(column.is_present)[::-1]
    first = np.full(len(owners), -1)
    first[rows[present]] = present
    own = column.take(first)
    reason = _nothing_to_learn(own, side)
    leak = interactions.leak(own, side, owners) if reason is None else None
    return _guess(own, "interactions", side, reason, leak)


def _nothing_to_learn(column: Column, side: Side) -> str | None:
    """Return why nothing can be learned from a column, which has one row for each of its side."""
    if not column.name.strip():
        return "it has no name"
    if column.distinct <= 1 and (column.distinct == 0 or column.missing == 0):
        return "a constant" if column.distinct else "it has no value"
    if side is Side.CONTEXT and (outcome := outcome_reason(column.name, column)) is not None:
        return outcome
    return _cannot_be_read(column, side) or _too_many_values(column, side)


def _cannot_be_read(column: Column, side: Side) -> str | None:
    """Return why a column has no type."""
    if column.is_nested:
        return "lists or objects in text; expected values with one mark between, such as |"
    if column.declared == "float_seq" or (column.is_list and _are_fractions(column)):
        return "a vector of numbers"
    if (column.is_list or column.bag_separator is not None) and side is Side.CONTEXT:
        return "several values for each interaction"
    if column.time_unit is not None and column.numeric:
        return "a UNIX time; expected years or ISO-8601 dates to read as an age"
    return None


def _too_many_values(column: Column, side: Side) -> str | None:
    """Return why a column has too many values to be a category."""
    rows, kind = len(column.present), _type(column, side)[0]
    one = {Side.CONTEXT: "a row", Side.USER: "a user", Side.ITEM: "an item"}[side]
    if _counts_rows(column, rows):
        return f"one value {one}: its number"
    if kind is not FeatureType.CATEGORY:
        return None
    if column.distinct > max(0.5 * rows, _FEW_VALUES):
        return f"nearly one value {one} ({column.distinct:,} in {rows:,}): an id or free text"
    if column.distinct > _MOST_CATEGORIES:
        return f"{column.distinct:,} different texts"
    return None


def _counts_rows(column: Column, rows: int) -> bool:
    """Return whether a column numbers its rows: integers without gaps, each once."""
    if not column.integers or column.distinct < max(0.99 * rows, _FEW_VALUES):
        return False
    if column.is_year or {*words_of(column.name)} & NUMBERS:
        return False
    return bool(np.ptp(column.numbers[column.is_present]) < 1.1 * rows)


def _are_fractions(column: Column) -> bool:
    """Return whether the values of lists are numbers with fractions."""
    values = Column(column.name, pa.chunked_array([column.parts.cast(pa.string())]))
    return values.numeric and values.fractional


def _guess(column: Column, table: str, side: Side, reason: str | None, leak: Leak | None) -> Guess:
    """Return the feature that a column is, or that it is left out for a reason."""
    source = f"{table}.{column.name}"
    if leak is not None and leak.certain:
        reason = f"it {leak.reason}"
    if reason is not None:
        return LeftOut(source, reason + _missing(column))
    kind, why, options = _type(column, side)
    if leak is not None:
        why += f"; it {leak.reason}: is it?"
    values = len(column.parts) if kind is FeatureType.BAG else column.distinct
    name = _name(column.name, side, kind)
    return GuessedFeature(name, source, kind, side, why + _missing(column), values, options)


def _name(column: str, side: Side, kind: FeatureType) -> str:
    """Return the name of a feature; the years since a release are the item's age."""
    if kind is FeatureType.AGE and side is Side.ITEM and {*words_of(column)} & _RELEASES:
        return "item_age"
    return re.sub(r"\W+", "_", column).strip("_") or "feature"


def _type(column: Column, side: Side) -> tuple[FeatureType, str, dict[str, str]]:
    """Return a column's type, the reason, and what else is said of it."""
    if column.is_list:
        return FeatureType.BAG, f"lists of {len(column.parts):,} different values", {}
    if column.bag_separator is not None:
        marks = _SEPARATORS[column.bag_separator]
        reason = f"{len(column.parts):,} different values with {marks} between"
        return FeatureType.BAG, reason, {"separator": column.bag_separator}
    if column.is_year and side is not Side.CONTEXT:
        years = column.years[column.is_present]
        span = f"years from {np.nanmin(years):.0f} to {np.nanmax(years):.0f}"
        pattern = column.year_pattern
        return FeatureType.AGE, span, {"pattern": pattern} if pattern is not None else {}
    kind = _type_of_number(column)
    noun = "numbers" if kind is FeatureType.NUMBER else "values"
    return kind, f"{column.distinct:,} different {noun}", {}


def _type_of_number(column: Column) -> FeatureType:
    """Return whether a column is read as numbers: by its values, and where few, by its name."""
    words = {*words_of(column.name)}
    if not column.numeric or column.is_flag or words & (CODES | CATEGORIES):
        return FeatureType.CATEGORY
    many = column.distinct > _MOST_CODES or column.fractional or words & NUMBERS
    return FeatureType.NUMBER if many else FeatureType.CATEGORY


def _calendar(roles: Roles, table: Sample, others: Sequence[Guess]) -> Iterator[Guess]:
    """Yield hour and weekday, unless people say by a rating what they think at any hour."""
    names = {guess.name for guess in others if isinstance(guess, GuessedFeature)}
    if roles.value is not None:
        return
    seconds = table.columns[roles.time].seconds
    for kind, step, cycle in ((FeatureType.HOUR, 3600, 24), (FeatureType.WEEKDAY, 86_400, 7)):
        if kind.value not in names and len(np.unique(seconds // step % cycle)) > 1:
            reason = "what people do may depend on it; say their time zone"
            options = {"time_zone": "UTC"}
            yield GuessedFeature(kind.value, "time", kind, Side.CONTEXT, reason, cycle, options)


def _with_names(guesses: list[Guess]) -> Iterator[Guess]:
    """Yield the guesses with names that are different, and that have no meaning of their own."""
    names = {*RESERVED}
    for guess in guesses:
        if isinstance(guess, LeftOut):
            yield guess
            continue
        name, number = guess.name, 1
        if name in names:
            name = f"{guess.side.value}_{name}"
        while name in names:
            number += 1
            name = f"{guess.side.value}_{guess.name}_{number}"
        names.add(name)
        yield replace(guess, name=name)


def _missing(column: Column) -> str:
    return f"; {column.missing:.1%} missing"

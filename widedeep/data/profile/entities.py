"""Which tables hold the attributes of items and users, found by their ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from widedeep.data.dataset import Side
from widedeep.data.profile.names import TITLE, named, named_like, words_of
from widedeep.data.profile.roles import Roles
from widedeep.data.profile.samples import Sample

_LANGUAGES = {"ko": "ko", "kor": "ko", "korean": "ko", "en": "en", "eng": "en", "english": "en"}


@dataclass(frozen=True, slots=True)
class EntityTable:
    """A table of items or users.

    Attributes:
        side: Whose rows they are.
        sample: Its first rows.
        key: Column of the id.
        titles: Columns of display names by language.
    """

    side: Side
    sample: Sample
    key: str
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the table: items or users."""
        return f"{self.side.value}s"


def guess_entities(roles: Roles, table: Sample, others: Sequence[Sample]) -> list[EntityTable]:
    """Return the tables of items and users: those whose ids are best those of the interactions."""
    scores = [
        (_key_score(roles, table, other, name, side), position, name, side)
        for position, other in enumerate(others)
        for name in other.columns
        for side in (Side.ITEM, Side.USER)
    ]
    chosen: dict[Side, EntityTable] = {}
    taken: set[int] = set()
    for score, position, name, side in sorted(scores, key=lambda entry: -entry[0]):
        if score > 0 and side not in chosen and position not in taken:
            chosen[side] = EntityTable(side, others[position], name)
            taken.add(position)
    return [
        replace(entity, titles=_titles(entity)) if side is Side.ITEM else entity
        for side, entity in sorted(chosen.items())
    ]


def _key_score(roles: Roles, table: Sample, other: Sample, name: str, side: Side) -> float:
    """Return how sure it is that a column holds the ids of users or items, 0 if it does not."""
    column, key = other.columns[name], roles.key(side)
    not_its = roles.key(Side.USER if side is Side.ITEM else Side.ITEM)
    of_other_side = name == not_its or {key, not_its} <= {*other.columns}
    if key is None or of_other_side or column.is_list or column.distinct < 0.9 * other.rows:
        return 0.0
    known, ids = np.unique(table.columns[key].keys), np.unique(column.keys)
    both = len(np.intersect1d(known, ids, assume_unique=True))
    share = both / max(len(known), 1)
    if share < (0.2 if name == key else 0.5):
        return 0.0
    named_as_such = named_like(side, [name, other.path.name])
    has_title = bool(named(other.columns, TITLE))
    bonus = 0.5 * (name == key) + 0.25 * named_as_such + 0.2 * has_title
    return share + bonus + 0.1 * both / len(ids) + 0.01 * len(other.columns)


def unused_reason(roles: Roles, table: Sample, other: Sample) -> str:
    """Return why a table is neither that of the items nor that of the users."""
    for side in (Side.ITEM, Side.USER):
        if any(_key_score(roles, table, other, name, side) > 0 for name in other.columns):
            return f"another table of {side.value}s, or none; join its columns to read them"
    return "no column holds the id of each user or item once"


def _titles(entity: EntityTable) -> dict[str, str]:
    """Return the columns of titles by language; one alone has none."""
    columns = {
        name: column
        for name, column in entity.sample.columns.items()
        if name != entity.key and not column.numeric and column.distinct > 0.5 * entity.sample.rows
    }
    names = named(columns, TITLE)
    by_language = {_LANGUAGES[w]: n for n in names for w in words_of(n) if w in _LANGUAGES}
    if len(by_language) > 1:
        return by_language
    return {"": names[0]} if names else {}

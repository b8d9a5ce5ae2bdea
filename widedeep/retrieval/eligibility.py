"""Business rules about which items may be shown, applied before any model is asked.

`ItemEligibility` holds what the rules look at, one row an item of an item table; `EligibilityRules`
are the rules of one request. The paper mentions such rules beside the models (section 2).
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.tables import SideTables
from widedeep.features import FeatureTables
from widedeep.inputs import InputError

ADULT = 18
"""Minimum age in years; also that of an item whose age rating is missing or says nothing (NR)."""

_AMERICAN = {"G": 0, "PG": 12, "PG-13": 13, "R": 17, "NC-17": 18}
_KOREAN_YEARS = re.compile(r"(?P<years>[0-9]+)\s*세")
_KOREAN_WORDS = {"전체": 0, "모든": 0, "청소년": ADULT, "미성년": ADULT, "제한": ADULT}


def minimum_age(grade: str) -> int:
    """Return the age in years from which an item of that grade may be watched.

    Korean grades (전체, 12세, 15세 관람가, 청소년 관람불가) and American ones are known. Those that
    leave the decision to parents become a fixed age: PG counts as 12, like the closest Korean
    grade, and R as 17.
    """
    grade = grade.strip()
    years = _KOREAN_YEARS.search(grade)
    if years is not None:
        return int(years["years"])
    ages = [age for word, age in _KOREAN_WORDS.items() if word in grade]
    return max(ages) if ages else _AMERICAN.get(grade.upper(), ADULT)


@dataclass(frozen=True, slots=True)
class EligibilityRules:
    """Which items a request leaves out.

    Attributes:
        audience_age: Leave out items whose minimum age is higher than this age in years. None
            shows everything.
        excluded: Ids of items that are never shown.
        untitled: Whether items without any title may be shown.
        unreleased: Whether items of a year after the request's may be shown.

    Raises:
        InputError: The age is below 0.
    """

    audience_age: int | None = None
    excluded: frozenset[int] = frozenset()
    untitled: bool = False
    unreleased: bool = False

    def __post_init__(self) -> None:
        if self.audience_age is not None and self.audience_age < 0:
            raise InputError(f"audience age is {self.audience_age}; expected 0 or more")


@dataclass(frozen=True, slots=True)
class ItemEligibility:
    """What eligibility rules look at, one row an item; arrays of shape (m,).

    Attributes:
        items: Keys, int64, ascending.
        minimum_age: In years.
        released: Year in which the item came out; NaN where unknown.
        titled: Whether the item has a title in any language, or the data have no titles at all.
    """

    items: NDArray[np.int64]
    minimum_age: NDArray[np.int64]
    released: NDArray[np.float64]
    titled: NDArray[np.bool_]

    @classmethod
    def from_tables(cls, tables: FeatureTables, side: SideTables) -> Self:
        """Read the attributes of items that the spec names for the rules, and their titles."""
        items, rules = tables.items, side.spec.items
        count = len(items.ids)
        ages, released = np.zeros(count, np.int64), np.full(count, np.nan)
        if rules is not None and rules.age_rating is not None:
            grades = items.categories[rules.age_rating][:-1].tolist()
            years = {grade: minimum_age(str(grade)) for grade in set(grades)}
            ages = np.array([years[grade] for grade in grades], np.int64)
        if rules is not None and rules.released is not None:
            released = items.years[rules.released][:-1]
        return cls(items.ids, ages, released, _titled(side.items))

    def allowed(self, rules: EligibilityRules, at: int) -> NDArray[np.bool_]:
        """Return which items may be shown at UNIX seconds `at`, shape (m,)."""
        allowed = np.ones(len(self.items), np.bool_)
        if rules.audience_age is not None:
            allowed &= self.minimum_age <= rules.audience_age
        if not rules.untitled:
            allowed &= self.titled
        if not rules.unreleased:
            years_since_1970 = np.datetime64(at, "s").astype("datetime64[Y]").astype(np.int64)
            allowed &= ~(self.released > 1970 + years_since_1970)
        if rules.excluded:
            allowed &= ~np.isin(self.items, list(rules.excluded))
        return allowed


def _titled(items: pa.Table) -> NDArray[np.bool_]:
    """Return which items have a title, (m,); all of them if there is no column of titles."""
    columns = [items[name].to_pylist() for name in items.column_names if name.startswith("title_")]
    if not columns:
        return np.ones(len(items), np.bool_)
    titled = [any((t or "").strip() for t in row) for row in zip(*columns, strict=True)]
    return np.array(titled, np.bool_)

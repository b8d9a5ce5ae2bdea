"""Business rules about which items may be shown, applied before any model is asked.

`ItemEligibility` holds what the rules look at, one row an item of an item table; `EligibilityRules`
are the rules of one request. The paper mentions such rules beside the models (section 2).
"""

import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.features import ItemTable
from widedeep.inputs import InputError

ADULT = 18
"""Minimum age in years; also that of an item whose grade is missing or says nothing (NR)."""

_AMERICAN = {"G": 0, "PG": 12, "PG-13": 13, "R": 17, "NC-17": 18}
_KOREAN_YEARS = re.compile(r"(?P<years>[0-9]+)\s*세")
_KOREAN_WORDS = {"전체": 0, "모든": 0, "청소년": ADULT, "미성년": ADULT, "제한": ADULT}


def minimum_age(grade: str) -> int:
    """Return the age in years from which an item of that grade may be watched.

    KMRD mixes Korean grades (전체, 12세, 15세 관람가, 청소년 관람불가) with American ones. Grades
    that leave the decision to parents become a fixed age: PG counts as 12, like the closest Korean
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
        items: Ids, int64, ascending.
        minimum_age: In years.
        original_year: NaN where unknown.
        titled: Whether the item has a title in any language.
    """

    items: NDArray[np.int64]
    minimum_age: NDArray[np.int64]
    original_year: NDArray[np.float64]
    titled: NDArray[np.bool_]

    @classmethod
    def from_table(cls, item_table: ItemTable, items: pa.Table) -> Self:
        """Read an item table, and the titles of the same items from `items` as ingest wrote it."""
        titles = [items[name].to_pylist() for name in ("title", "title_eng")]
        any_title = [any(map(_is_title, pair)) for pair in zip(*titles, strict=True)]
        titled = np.zeros(len(item_table.ids) + 1, np.bool_)
        titled[item_table.find_rows(items["item"].to_numpy())] = any_title
        grades = item_table.categories["grade"][:-1].tolist()
        ages = {grade: minimum_age(str(grade)) for grade in set(grades)}
        return cls(
            item_table.ids,
            np.array([ages[grade] for grade in grades], np.int64),
            item_table.numbers["original_year"][:-1],
            titled[:-1],
        )

    def allowed(self, rules: EligibilityRules, at: int) -> NDArray[np.bool_]:
        """Return which items may be shown at UNIX seconds `at`, shape (m,)."""
        allowed = np.ones(len(self.items), np.bool_)
        if rules.audience_age is not None:
            allowed &= self.minimum_age <= rules.audience_age
        if not rules.untitled:
            allowed &= self.titled
        if not rules.unreleased:
            years_since_1970 = np.datetime64(at, "s").astype("datetime64[Y]").astype(np.int64)
            allowed &= ~(self.original_year > 1970 + years_since_1970)
        if rules.excluded:
            allowed &= ~np.isin(self.items, list(rules.excluded))
        return allowed


def _is_title(title: Any) -> bool:  # noqa: ANN401  a cell of an Arrow table
    return bool((title or "").strip())

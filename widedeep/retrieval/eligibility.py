"""What people decide about candidates, whatever the models say (paper, section 2: the rules)."""

import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.features.items import ItemTable
from widedeep.inputs import InputError

ADULT = 18
UNGRADED = ADULT
"""Years of age that a item asks for whose grade is missing or says nothing (NR)."""

_AMERICAN = {"G": 0, "PG": 12, "PG-13": 13, "R": 17, "NC-17": 18}
_KOREAN = re.compile(r"(?P<years>[0-9]+)\s*세")
_KOREAN_WORDS = {"전체": 0, "모든": 0, "청소년": ADULT, "미성년": ADULT, "제한": ADULT}


def least_age(grade: str) -> int:
    """Years of age from which a item of that grade may be watched.

    KMRD mixes Korean grades (전체, 12세, 15세 관람가, 청소년 관람불가) with those of the USA. Where
    parents decide, nobody asks them here: PG counts as 12, the Korean grade like it, R as 17.
    """
    grade = grade.strip()
    years = _KOREAN.search(grade)
    if years is not None:
        return int(years["years"])
    found = [age for word, age in _KOREAN_WORDS.items() if word in grade]
    return max(found) if found else _AMERICAN.get(grade.upper(), UNGRADED)


@dataclass(frozen=True, slots=True)
class EligibilityRules:
    """What is left out.

    Attributes:
        audience_age: Nothing that asks for more years of age than this; an ungraded item is for
            adults. None: for adults, everything.
        excluded: Tokens of items that are never shown.
        untitled: Whether items without any title may be shown.
        unreleased: Whether items of a later year than the present one may be shown.

    Raises:
        InputError: An age below 0.
    """

    audience_age: int | None = None
    excluded: frozenset[int] = frozenset()
    untitled: bool = False
    unreleased: bool = False

    def __post_init__(self) -> None:
        if self.audience_age is not None and self.audience_age < 0:
            raise InputError(f"the age of the audience is {self.audience_age}; 0 or more is wanted")


@dataclass(frozen=True, slots=True)
class ItemEligibility:
    """What rules ask of the items of a item table; (m,) each.

    `least_age` in years; `original_year` NaN where unknown; `titled`: a title in any language.
    """

    items: NDArray[np.int64]
    least_age: NDArray[np.int64]
    original_year: NDArray[np.float64]
    titled: NDArray[np.bool_]

    @classmethod
    def of(cls, item_table: ItemTable, items: pa.Table) -> Self:
        """Read the item table, and the titles of the same items from ingest's table."""
        titles = [items[name].to_pylist() for name in ("title", "title_eng")]
        named = np.array([any(map(_named, pair)) for pair in zip(*titles, strict=True)], np.bool_)
        titled = np.zeros(len(item_table.items) + 1, np.bool_)
        titled[item_table.rows(items["item"].to_numpy())] = named
        grades = item_table.categories["grade"][:-1]
        ages = {grade: least_age(str(grade)) for grade in set(grades.tolist())}
        return cls(
            item_table.items,
            np.array([ages[grade] for grade in grades.tolist()], np.int64),
            item_table.numbers["original_year"][:-1],
            titled[:-1],
        )

    def allowed(self, rules: EligibilityRules, at: int) -> NDArray[np.bool_]:
        """Which items may be shown at UNIX seconds `at`, (m,)."""
        may = np.ones(len(self.items), np.bool_)
        if rules.audience_age is not None:
            may &= self.least_age <= rules.audience_age
        if not rules.untitled:
            may &= self.titled
        if not rules.unreleased:
            years_since_1970 = np.datetime64(at, "s").astype("datetime64[Y]").astype(np.int64)
            may &= ~(self.original_year > 1970 + years_since_1970)
        if rules.excluded:
            may &= ~np.isin(self.items, list(rules.excluded))
        return may


def _named(title: Any) -> bool:  # noqa: ANN401
    return bool((title or "").strip())

"""Eligibility rules: from which age a grade allows an item, and what each rule leaves out."""

import pytest

from tests.worlds import side_of, tables_of
from widedeep.inputs import InputError
from widedeep.retrieval.eligibility import EligibilityRules, ItemEligibility, minimum_age


@pytest.mark.parametrize(
    ("grade", "age"),
    [
        ("전체 관람가", 0),
        ("모든 관람객", 0),
        ("12세 관람가", 12),
        ("15세이상관람가", 15),
        ("청소년 관람불가", 18),
        ("제한상영가", 18),
        ("G", 0),
        ("PG", 12),
        ("PG-13", 13),
        ("pg-13 ", 13),
        ("R", 17),
        ("NR", 18),
        ("", 18),
        ("???", 18),
    ],
)
def test_a_grade_says_from_which_age_an_item_may_be_watched(grade, age):
    assert minimum_age(grade) == age


def test_each_rule_leaves_out_what_it_says(make_items):
    items = make_items(
        {"item": 1, "title_ko": "가", "grade": "전체 관람가", "item_age": 1990},
        {"item": 2, "title_ko": "나", "grade": "R", "item_age": 2015},
        {"item": 3, "title_en": "C", "item_age": 2031},
        {"item": 4, "title_ko": " ", "title_en": None, "grade": "G"},
        {"item": 5, "title_ko": "마", "grade": "15세 관람가"},
    )
    eligibility = ItemEligibility.from_tables(tables_of(items), side_of(items))

    def shown(at=1_577_000_000, **rules):
        allowed = eligibility.allowed(EligibilityRules(**rules), at)
        return eligibility.items[allowed].tolist()

    assert shown() == [1, 2, 5], "3 is of a later year, 4 has no title"
    assert shown(at=-1) == [5], "in 1969 all others are still to come"
    assert shown(unreleased=True, untitled=True) == [1, 2, 3, 4, 5]
    assert shown(audience_age=15) == [1, 5]
    assert shown(audience_age=17) == [1, 2, 5]
    assert shown(audience_age=18, unreleased=True) == [1, 2, 3, 5]
    assert shown(audience_age=0, untitled=True) == [1, 4]
    assert shown(excluded=frozenset({2, 99})) == [1, 5]


def test_an_age_below_0_is_refused():
    with pytest.raises(InputError, match="audience age is -1"):
        EligibilityRules(audience_age=-1)

"""Raw columns: what a row is called by, before anything is fitted."""

from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pytest

from widedeep.features.history import Queries
from widedeep.features.raw_features import ITEM_AGE, NUMBERS, RawFeatures
from widedeep.inputs import InputError


@pytest.fixture
def asked():
    time = np.full(3, int(datetime(2010, 1, 1, tzinfo=UTC).timestamp()))
    return Queries(np.array([1, 2, 3]), np.array([101, 105, 999]), time, time)


def test_item_age_counts_years_since_the_original_release(world, asked):
    age = world.describe(asked).number(ITEM_AGE)

    # 101 is of 1991; 105 has no year; 999 is unknown.
    np.testing.assert_allclose(age, [2010 - 1991, np.nan, np.nan], atol=0.01)


def test_every_number_has_a_value_or_nan_for_each_row(world):
    rows = world.describe()

    for name in NUMBERS:
        assert rows.number(name).shape == (len(world.interactions),)


def test_attributes_stay_by_item_and_are_reached_by_its_row(world, asked):
    rows = world.describe(asked)

    assert rows.attribute("grade")[rows.item_rows].tolist() == ["12세 관람가", "12세 관람가", ""]
    leading = rows.attribute_bag("leading").take(rows.item_rows)
    assert leading.lengths.tolist() == [2, 0, 0]


def test_users_items_and_past_likes_are_told_from_attributes(world, asked):
    rows = world.describe(asked)

    assert rows.token("user").tolist() == [1, 2, 3]
    assert rows.token("item").tolist() == [101, 105, 999]
    assert rows.token("grade") is None
    assert len(rows.history_bag("liked")) == len(rows.history_bag("disliked")) == 3
    assert rows.history_bag("genres") is None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("number", "no numeric feature 'year'; there are .*'item_age'"),
        ("attribute", r"no feature 'year' in the catalogue; there are \['grade'\]"),
        ("attribute_bag", r"no feature 'year' in the catalogue; there are \['countries', "),
    ],
)
def test_a_feature_that_is_not_there_is_named_with_those_that_are(world, asked, method, message):
    with pytest.raises(InputError, match=message):
        getattr(world.describe(asked), method)("year")


def test_no_label_is_among_the_columns():
    assert {f.name for f in fields(RawFeatures)} == {
        "queries",
        "history",
        "item_table",
        "item_rows",
    }

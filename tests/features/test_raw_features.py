"""Raw features: what each row is called by and where it is found, before anything is fitted."""

from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pytest

from widedeep.features.history import Queries
from widedeep.features.raw_features import ITEM_AGE, NUMBERS, RawFeatures
from widedeep.inputs import InputError


@pytest.fixture
def queries():
    time = np.full(3, int(datetime(2010, 1, 1, tzinfo=UTC).timestamp()))
    return Queries(np.array([1, 2, 3]), np.array([101, 105, 999]), time, time)


def test_item_age_counts_years_since_the_original_release(world, queries):
    age = world.compute_features(queries).number(ITEM_AGE)

    # 101 is of 1991; 105 has no year; 999 is unknown.
    np.testing.assert_allclose(age, [2010 - 1991, np.nan, np.nan], atol=0.01)


def test_every_number_has_a_value_or_nan_for_each_row(world):
    rows = world.compute_features()

    for name in NUMBERS:
        assert rows.number(name).shape == (len(world.interactions),)


def test_attributes_stay_by_item_and_are_reached_by_its_row(world, queries):
    rows = world.compute_features(queries)

    grades = rows.item_category("grade")[rows.item_rows]
    assert grades.tolist() == ["12세 관람가", "12세 관람가", ""]
    leading = rows.item_bag("leading").select_rows(rows.item_rows)
    assert leading.lengths.tolist() == [2, 0, 0]


def test_users_items_and_past_likes_are_told_apart_from_attributes(world, queries):
    rows = world.compute_features(queries)

    assert rows.entity_ids("user").tolist() == [1, 2, 3]
    assert rows.entity_ids("item").tolist() == [101, 105, 999]
    assert rows.entity_ids("grade") is None
    assert len(rows.history_bag("liked")) == len(rows.history_bag("disliked")) == 3
    assert rows.history_bag("genres") is None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("number", "numeric feature 'year'; .*'item_age'"),
        ("item_category", r"feature 'year'.*\['grade'\]"),
        ("item_bag", r"feature 'year'.*\['countries', "),
    ],
)
def test_a_feature_that_is_not_there_is_named_with_those_that_are(world, queries, method, message):
    with pytest.raises(InputError, match=message):
        getattr(world.compute_features(queries), method)("year")


def test_no_label_is_among_the_columns():
    assert {f.name for f in fields(RawFeatures)} == {
        "queries",
        "history",
        "item_table",
        "item_rows",
    }

"""Raw features: what each row is called by and where it is found, before anything is fitted."""

from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pytest

from widedeep.features.history import NUMERIC, Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.inputs import InputError


@pytest.fixture
def queries():
    time = np.full(3, int(datetime(2010, 1, 1, tzinfo=UTC).timestamp()))
    return Queries(np.array([1, 2, 3]), np.array([101, 105, 999]), time, time)


def test_item_age_counts_years_since_the_original_release(world, queries):
    age = world.compute_features(queries).number("item_age")

    # 101 is of 1991; 105 has no year; 999 is unknown.
    np.testing.assert_allclose(age, [2010 - 1991, np.nan, np.nan], atol=0.01)


def test_every_number_has_a_value_or_nan_for_each_row(world):
    rows = world.compute_features()

    for name in (*NUMERIC, "user_genres_residual", "people_residual", "item_age"):
        assert rows.number(name).shape == (len(world.interactions),)


def test_attributes_stay_by_item_and_are_reached_by_its_row(world, queries):
    rows = world.compute_features(queries)

    ids, positions = rows.category("grade")
    assert ids[positions].tolist() == ["12세 관람가", "12세 관람가", ""]
    leading, positions = rows.bag("leading")
    assert leading.select_rows(positions).lengths.tolist() == [2, 0, 0]


def test_users_items_and_past_likes_are_told_apart_from_attributes(world, queries):
    rows = world.compute_features(queries)

    assert rows.category("user")[0].tolist() == [1, 2, 3]
    assert rows.category("item")[0].tolist() == [101, 105, 999]
    assert rows.category("user")[1] is None
    assert len(rows.bag("liked")) == len(rows.bag("disliked")) == 3


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("number", "numeric feature 'year'; .*'item_age'"),
        ("category", r"category 'year'.*\['grade'\]"),
        ("bag", r"bag 'year'.*\['countries', "),
    ],
)
def test_a_feature_that_is_not_there_is_named_with_those_that_are(world, queries, method, message):
    with pytest.raises(InputError, match=message):
        getattr(world.compute_features(queries), method)("year")


def test_no_label_is_among_the_columns():
    assert {f.name for f in fields(RawFeatures)} == {
        "queries",
        "history",
        "tables",
        "item_rows",
        "user_rows",
    }

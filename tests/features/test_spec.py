"""A spec is checked when it is made, and comes back equal from JSON."""

import json
from dataclasses import replace

import pytest

from widedeep.features.history import HistoryConfig
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec, Number
from widedeep.inputs import InputError


@pytest.fixture
def spec(world):
    return replace(world.spec, history=HistoryConfig(length=3, user_attributes=("genres",)))


def test_json_gives_back_an_equal_spec(spec):
    spec = replace(spec, prior_logit="expected_logit")

    assert FeatureSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wide": ("items",)}, "'items' is used but not declared"),
        ({"crosses": (Cross(("item", "item_age")),)}, "'item_age' is used but not declared"),
        ({"bags": (Bag("liked", vocabulary_of="film"),)}, "'film' is used but not declared"),
        ({"bags": (Bag("genres"), Bag("leading", vocabulary_of="genres"))}, "'genres' is used"),
        ({"categories": (Category("user"), Category("user"))}, "'user' is declared more than once"),
        ({"bags": (Bag("item"),)}, "'item' is declared more than once"),
        (
            {"numbers": (Number("user_genres_residual"), Number("user_genres_residual", 5))},
            "'user_genres_residual' is declared more than once",
        ),
        (
            {"buckets": (Bucket("user_genres_residual"), Bucket("user_genres_residual", 5))},
            "'user_genres_residual_bucket' is declared more than once",
        ),
        ({"crosses": (Cross(("user", "item")),) * 2}, "'user x item' is declared more than once"),
        ({"wide": ("item", "item")}, "'item' is declared more than once"),
        ({"numbers": (Number("user_genres_residual", 1),)}, "quantiles is 1; expected at least 2"),
        ({"buckets": (Bucket("user_genres_residual", 0),)}, "quantiles is 0; expected at least 2"),
        ({"categories": (Category("item", 0),)}, "minimum_count is 0; expected at least 1"),
        ({"bags": (Bag("genres", -1),)}, "minimum_count is -1; expected at least 1"),
        ({"crosses": (Cross(("item",)),)}, "number of parts is 1; expected at least 2"),
        ({"crosses": (Cross(("user", "item"), 0),)}, "minimum_support is 0; expected at least 1"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(change, message):
    fields = {
        "categories": (Category("user"), Category("item")),
        "bags": (),
        "numbers": (),
        "buckets": (),
        "crosses": (),
        "wide": (),
    }
    with pytest.raises(InputError, match=message):
        FeatureSpec(**(fields | change))

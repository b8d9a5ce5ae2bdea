"""A mistake in dataset.toml is one sentence that names the entry and a name that is like it."""

import pytest

from widedeep.data.dataset import DatasetSpec, Side
from widedeep.data.dataset_file import kmrd_spec, load_spec, parse_spec
from widedeep.inputs import InputError

SHOP = """
version = 1
[interactions]
files = ["clicks-*.parquet"]
user = "uid"
item = "sku"
time = "ts"
label = { column = "clicked" }
[items]
files = ["items.csv"]
id = "sku"
title = "name"
[users]
files = ["users.csv"]
id = "uid"
[[features]]
name = "age"
from = "users.age"
type = "number"
[[features]]
name = "tags"
from = "items.tags"
type = "bag"
separator = "|"
[[features]]
name = "device"
from = "interactions.device"
type = "category"
[[features]]
name = "hour"
from = "time"
type = "hour"
time_zone = "Asia/Seoul"
[model]
crosses = [["liked", "item"], ["age_bucket", "tags"]]
"""


def shop(old="", new=""):
    assert old in SHOP
    return parse_spec(SHOP.replace(old, new), "shop")


def test_it_says_what_the_data_mean():
    spec = shop()
    sides = {feature.name: feature.side for feature in spec.features}
    assert sides == {
        "age": Side.USER,
        "tags": Side.ITEM,
        "device": Side.CONTEXT,
        "hour": Side.CONTEXT,
    }
    assert spec.label == "clicked = 1"
    assert spec.columns_of("interactions") == ("uid", "sku", "ts", "clicked", "device")
    assert spec.columns_of("items") == ("sku", "name", "tags")
    assert spec.model.crosses == (("liked", "item"), ("age_bucket", "tags"))


@pytest.mark.parametrize("spec", [shop(), kmrd_spec("kmrd-small")], ids=["shop", "kmrd"])
def test_it_is_the_same_after_a_round_trip_through_json(spec):
    assert DatasetSpec.from_json(spec.as_json()) == spec


MISTAKES = {
    "another version": (
        "version = 1",
        "version = 2",
        "has version 2; this widedeep reads version 1",
    ),
    "no TOML": ("version = 1", "version = ", "not valid TOML"),
    "no interactions": ("[interactions]", "[interaction]", r"no \[interactions\] table"),
    "no time": ('time = "ts"', "", "names no time column; retraining needs time"),
    "two times": ('time = "ts"', 'time = ["ts", "day"]', "interactions.time"),
    "a misspelt time": ('time = "ts"', 'tiem = "ts"', "did you mean 'tiem'"),
    "a misspelt entry": ("separator = ", "seperator = ", "did you mean 'separator'"),
    "a misspelt type": ('type = "bag"', 'type = "bags"', "did you mean 'bag'"),
    "a misspelt table": ('"users.age"', '"user.age"', "no table 'user'; did you mean 'users'"),
    "no item": ('item = "sku"\n', "", "'interactions.item' is missing"),
    "no label": ('label = { column = "clicked" }\n', "", "says not when a row is positive"),
    "two rules": ("clicked", 'clicked", at_least = 1, equals = "1', "both at_least and equals"),
    "a feature twice": ('name = "tags"', 'name = "age"', "two features 'age'"),
    "a reserved name": ('name = "tags"', 'name = "label"', "a meaning of its own"),
    "an unknown zone": ("Asia/Seoul", "Asia/Soul", "unknown time_zone 'Asia/Soul'"),
    "hour of a column": ('from = "time"', 'from = "items.ts"', 'from = "time" goes'),
    "a bag of the context": (
        'from = "interactions.device"\ntype = "category"',
        'from = "interactions.device"\ntype = "bag"',
        "a category or a number",
    ),
    "users without a column": ('user = "uid"\n', "", "names no user column"),
    "no encoding": (
        'time = "ts"',
        'time = "ts"\nencoding = "cp94"',
        "'cp94' is no encoding",
    ),
    "an encoding of two bytes": (
        'time = "ts"',
        'time = "ts"\nencoding = "utf-16"',
        "cannot be read line by line",
    ),
    "a vector": ('type = "bag"', 'type = "vector"', "features.1.type"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake):
    old, new, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message) as raised:
        shop(old, new)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_folder_without_the_file_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="widedeep describe"):
        load_spec(tmp_path)


def test_negatives_take_the_place_of_a_label():
    label = 'label = { column = "clicked" }\n'
    text = SHOP.replace(label, "") + "[negatives]\nper_positive = 4\n"
    assert parse_spec(text, "shop").label == "every interaction, against sampled ones"
    with pytest.raises(InputError, match="expected at least 1"):
        parse_spec(text.replace("per_positive = 4", "per_positive = 0"), "shop")

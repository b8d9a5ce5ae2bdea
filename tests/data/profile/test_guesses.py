"""What columns mean is guessed from their names and values; what came too late is left out."""

import tomllib

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.profile.tables import (
    CLICKED,
    FLAT,
    ITEM,
    ITEMS,
    RANDOM,
    RATING,
    ROWS,
    SECONDS,
    USER,
    USERS,
    bag,
    features,
    of_item,
    of_user,
    reason,
    write,
)
from widedeep.data.dataset import FeatureType, Side
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.describe import describe


@pytest.fixture
def described(tmp_path):
    """Return a function that describes a flat table with some columns replaced or added."""

    def describe_flat(**columns):
        columns = {**FLAT, **columns}
        table = {name: values for name, values in columns.items() if values is not None}
        return describe(write(tmp_path / "flat", log=table))

    return describe_flat


# Roles


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (SECONDS, TimeUnit.SECONDS),
        (SECONDS * 1000 + 5, TimeUnit.MILLISECONDS),
        (SECONDS * 10**6, TimeUnit.MICROSECONDS),
        (SECONDS * 10**9, TimeUnit.NANOSECONDS),
        (pd.to_datetime(SECONDS, unit="s").strftime("%Y-%m-%d %H:%M:%S"), TimeUnit.ISO),
        (pd.to_datetime(SECONDS, unit="s").strftime("%Y-%m-%d"), TimeUnit.ISO),
    ],
    ids=str,
)
def test_the_unit_of_the_time_is_recognised(described, times, unit):
    assert described(timestamp=times).spec.interactions.time_unit is unit


def test_the_obviously_named_time_is_preferred_and_the_other_is_left_out(described):
    description = described(delivered_at=SECONDS + 5)
    assert description.spec.interactions.time == "timestamp"
    assert "later" in reason(description, "delivered_at")


def test_a_date_that_each_user_has_once_is_not_the_time(described):
    signup = of_user(pd.date_range("2010-01-01", periods=USERS, freq="30D").strftime("%Y-%m-%d"))
    description = described(timestamp=None, moment=SECONDS, since=signup)
    assert description.spec.interactions.time == "moment"
    assert features(description)["since"].side is Side.USER
    assert features(description)["since"].type is FeatureType.AGE


def test_an_id_that_looks_like_a_time_is_not_one(described):
    description = described(order_no=1_500_000_000 + RANDOM.permutation(ROWS) * 9)
    assert description.spec.interactions.time == "timestamp"


def test_user_and_item_are_ids_and_not_their_attributes(described):
    ages = of_user(np.arange(20, 20 + USERS))
    table = described(user_age=ages, item_price=of_item(np.arange(ITEMS) + 0.5)).spec.interactions
    assert (table.user, table.item) == ("user_id", "item_id")


@pytest.mark.parametrize(
    ("user", "item", "expected"),
    [(USER, ITEM, True), ([f"u{k}" for k in USER], ITEM, False), (USER - 1, ITEM, True)],
)
def test_ids_are_integers_only_if_all_are(described, user, item, expected):
    assert described(user_id=user, item_id=item).spec.interactions.integer_ids is expected


def test_traffic_without_a_user_is_anonymous_and_says_so(described):
    description = described(user_id=None, user_segment=of_user(np.arange(USERS) % 12))
    table = description.spec.interactions
    assert (table.user, table.repeats) == (None, "all")
    assert "every row is a new user" in description.text
    assert features(description)["user_segment"].side is Side.CONTEXT


def test_a_column_of_0_and_1_is_the_label_and_its_share_is_said(described):
    description = described()
    assert description.spec.label == "clicked = 1"
    assert f"{CLICKED.mean():.1%} of the rows" in description.text
    assert description.spec.interactions.value is None


def test_yes_and_no_are_a_label(described):
    description = described(clicked=np.where(CLICKED == 1, "yes", "no"))
    assert description.spec.label == "clicked = yes"


def test_a_rating_is_positive_from_the_threshold_closest_to_half(described):
    description = described(clicked=None, rating=RATING)
    table = description.spec.interactions
    assert table.label.at_least == 4
    assert f"{(RATING >= 4).mean():.1%} of the rows" in description.text
    assert (table.value.column, table.value.minimum, table.value.maximum) == ("rating", 1, 5)
    assert table.repeats == "first"


def test_the_threshold_of_a_score_with_many_values_is_near_the_median(described):
    scores = np.round(RANDOM.random(ROWS) * 7, 5)
    rule = described(clicked=None, score=scores).spec.interactions.label
    assert rule.at_least == pytest.approx(np.median(scores), abs=0.02)


@pytest.mark.parametrize(
    ("actions", "goal"),
    [
        (["view", "cart", "transaction"], "transaction"),
        (["pv", "fav", "buy"], "buy"),
        (["impression", "click"], "click"),
        (["like", "dislike"], "like"),
    ],
)
def test_an_action_is_positive_if_it_is_the_goal(described, actions, goal):
    chosen = np.asarray(actions)[np.arange(ROWS) % len(actions)]
    rule = described(clicked=None, event=chosen).spec.interactions.label
    assert (rule.column, rule.equals) == ("event", goal)


def test_a_type_of_device_is_no_action(described):
    device = RANDOM.choice(["mobile", "desktop"], ROWS)
    description = described(device_type=device)
    assert description.spec.label == "clicked = 1"
    assert features(description)["device_type"].side is Side.CONTEXT


def test_a_log_without_a_label_gets_sampled_negatives_and_says_so(described):
    description = described(clicked=1)
    assert description.spec.negatives.per_positive == 4
    assert description.spec.interactions.label is None
    assert "negatives are sampled" in description.text
    assert "constant" in reason(description, "clicked")


def test_only_a_column_that_is_called_weight_is_one(described):
    amounts = RANDOM.integers(1, 9, ROWS) * 10
    assert described(sample_weight=amounts).spec.interactions.weight == "sample_weight"
    assert described(amount=amounts).spec.interactions.weight is None


def test_impressions_that_repeat_are_all_examples(described):
    half = np.tile(ITEM[: ROWS // 2], 2)
    spec = described(user_id=np.tile(USER[: ROWS // 2], 2), item_id=half).spec
    assert spec.interactions.repeats == "all"
    assert described(user_id=np.arange(ROWS)).spec.interactions.repeats == "first"


def test_clicks_get_hour_and_weekday_and_ratings_do_not(described):
    assert {"hour", "weekday"} <= {*features(described())}
    assert not {"hour", "weekday"} & {*features(described(clicked=None, rating=RATING))}


def test_dates_without_an_hour_give_no_hour(described):
    days = pd.to_datetime(SECONDS, unit="s").strftime("%Y-%m-%d")
    named = features(described(timestamp=days))
    assert "hour" not in named
    assert "weekday" in named


# Features


@pytest.mark.parametrize(
    ("values", "kind", "separator"),
    [
        (of_item(["a", "b", "c"]), FeatureType.CATEGORY, None),
        (of_item([3, 1, 2]), FeatureType.CATEGORY, None),
        (of_item(np.arange(ITEMS) * 3), FeatureType.NUMBER, None),
        (of_item([0.5, 1.5]), FeatureType.NUMBER, None),
        (of_item([bag(k) for k in range(16)]), FeatureType.BAG, "|"),
        (of_item([bag(k, ";") for k in range(16)]), FeatureType.BAG, ";"),
        (of_item([bag(k, ", ") for k in range(16)]), FeatureType.BAG, ","),
        (of_item(np.arange(1960, 2000)), FeatureType.AGE, None),
        (of_item([f"{1960 + k}-03-01" for k in range(40)]), FeatureType.AGE, None),
        (of_item([f"01-Jan-{1960 + k}" for k in range(40)]), FeatureType.AGE, None),
    ],
)
def test_the_type_of_an_attribute_follows_from_its_values(described, values, kind, separator):
    description = described(thing=values)
    feature = features(description)["thing"]
    assert (feature.type, feature.separator, feature.side) == (kind, separator, Side.ITEM)


@pytest.mark.parametrize("name", ["category_id", "zip", "brand", "genre_code"])
def test_numbers_that_are_codes_are_categories(described, name):
    feature = features(described(**{name: of_item(np.arange(ITEMS) // 2 * 10)}))[name]
    assert feature.type is FeatureType.CATEGORY


def test_the_side_of_a_column_is_whose_rows_share_its_value(described):
    named = features(
        described(
            income=of_user(np.arange(USERS) * 7),
            price=of_item(np.arange(ITEMS) + 0.5),
            slot=RANDOM.integers(1, 9, ROWS),
        )
    )
    assert named["income"].side is Side.USER
    assert named["price"].side is Side.ITEM
    assert named["slot"].side is Side.CONTEXT


def test_missing_values_do_not_hide_whose_a_value_is(described):
    income = of_user(np.arange(USERS) * 7.5).astype(object)
    income[::9] = None
    assert features(described(income=income))["income"].side is Side.USER


def test_the_share_of_missing_values_is_said(described):
    device = RANDOM.choice(["mobile", "desktop"], ROWS).astype(object)
    device[: ROWS // 8] = None
    text = described(device=device).text
    line = text[text.index('name = "device"') :].splitlines()[2]
    assert "12.5% missing" in line


LEAKS = {
    "a constant": {"x": 7},
    "no value": {"x": [None] * ROWS},
    "its number": {"x": np.arange(ROWS) + 12},
    "one value a row": {"x": [f"comment number {k}" for k in range(ROWS)]},
    "tells the label": {"x": CLICKED * 3 + RANDOM.integers(0, 3, ROWS)},
    "tells the label with AUC 1.000": {
        "x": np.where(CLICKED == 1, RANDOM.integers(1, 999, ROWS), np.nan)
    },
    "known only after": {"dwell_seconds": RANDOM.integers(1, 999, ROWS)},
    "another outcome": {"purchased": (RANDOM.random(ROWS) < 0.1).astype(int)},
    "another time": {"x": SECONDS + RANDOM.integers(0, 999, ROWS)},
    "lists or objects": {"x": of_item(["['a', 'b']", "['b']", "{'c': 1}"])},
    "several values": {"x": [bag(k) for k in RANDOM.integers(1, 16, ROWS)]},
}


@pytest.mark.parametrize("words", LEAKS)
def test_columns_that_no_model_should_read_are_left_out_with_the_reason(described, words):
    column = next(iter(LEAKS[words]))
    description = described(**LEAKS[words])
    assert words in reason(description, column)
    assert column not in features(description)


def test_text_of_each_item_is_left_out_and_rare_flags_and_noise_are_not(described):
    rare = np.zeros(ROWS, int)
    rare[::400] = 1
    texts = [f"text {k}" for k in range(90)]
    items = 1 + np.arange(ROWS) % 90
    description = described(
        item_id=items, text=np.asarray(texts)[items - 1], rare=rare, noise=RANDOM.random(ROWS)
    )
    assert "one value an item" in reason(description, "text")
    assert {"rare", "noise"} <= {*features(description)}


def test_a_count_of_interactions_tells_the_future(tmp_path):
    items = 1 + (RANDOM.random(ROWS) ** 3 * 80).astype(int)
    counts = np.bincount(items, minlength=81)[1:]
    catalogue = {"item_id": np.arange(1, 81), "views": counts * 3, "price": np.arange(80) % 7 + 0.5}
    description = describe(write(tmp_path / "x", log={**FLAT, "item_id": items}, items=catalogue))
    assert "future" in reason(description, "views")
    assert "price" in features(description)


def test_a_year_after_the_interactions_tells_the_future(tmp_path):
    years = np.where(np.arange(ITEMS) % 3 == 0, 2021, 1990)
    catalogue = {"item_id": np.arange(1, ITEMS + 1), "year": years, "made": years - 31}
    description = describe(write(tmp_path / "x", log=FLAT, items=catalogue))
    assert "future" in reason(description, "year")
    assert features(description)["made"].type is FeatureType.AGE


def test_ids_in_the_order_of_activity_are_told(tmp_path):
    users = np.resize(np.repeat(np.arange(120), np.arange(120) // 7 + 1), ROWS)
    text = describe(write(tmp_path / "x", log={**FLAT, "user_id": users})).text
    line = next(line for line in text.splitlines() if line.startswith("user ="))
    assert "order of activity" in line
    assert "activity" not in describe(write(tmp_path / "y", log=FLAT)).text


def test_a_few_large_categories_are_kept_out_of_crosses_and_residuals(tmp_path):
    brands = [f"brand {k % 100}" for k in range(400)]
    kinds = [f"kind {k % 4}" for k in range(400)]
    catalogue = {"item_id": np.arange(1, 401), "brand": brands, "kind": kinds}
    log = {**FLAT, "item_id": 1 + np.arange(ROWS) % 400, "device": RANDOM.choice(["a", "b"], ROWS)}
    model = describe(write(tmp_path / "x", log=log, items=catalogue)).spec.model
    assert ("device", "kind") in model.crosses
    assert ("liked", "item") in model.crosses
    assert not any("brand" in cross for cross in model.crosses)
    assert model.user_residuals == ("kind",)
    assert {*model.residuals} == {"brand", "kind"}


def test_small_categories_need_no_model_section(described):
    assert "[model]" not in described(device=RANDOM.choice(["a", "b"], ROWS)).text


def test_features_get_names_that_are_free(described):
    named = features(
        described(weight_=RANDOM.random(ROWS), label=None, value=of_item([1.5, 2.5, 4.5]))
    )
    assert "item_value" in named
    assert len(named) == len({*named})


@pytest.mark.parametrize("name", ["장르", 'a "quoted" name', "with space", "tab\\t", "a.b", "#x"])
def test_any_name_of_a_column_is_written_as_it_is(described, name):
    description = described(**{name: RANDOM.choice(["p", "q", "r"], ROWS)})
    assert f"interactions.{name}" in {f.source for f in description.spec.features}


def test_lists_in_parquet_are_bags_and_structures_are_left_out(tmp_path):
    tags = [["new"], ["new", "sale"], ["eco"], []]
    vectors = [[0.5, 1.25], [0.75, 2.5]]
    catalogue = {
        "item_id": np.arange(1, ITEMS + 1),
        "tags": [tags[k % 4] for k in range(ITEMS)],
        "photo": [vectors[k % 2] for k in range(ITEMS)],
        "size": [{"w": k, "h": 1} for k in range(ITEMS)],
    }
    description = describe(write(tmp_path / "x", log=FLAT, items__parquet=catalogue))
    assert features(description)["tags"].type is FeatureType.BAG
    assert "vector" in reason(description, "photo")
    assert "struct" in reason(description, "size")


COLUMN_NAME = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=COLUMN_NAME, value=COLUMN_NAME)
def test_no_name_or_value_breaks_the_file(tmp_path, name, value):
    values = np.where(CLICKED == 1, value, "other")
    table = {**FLAT, name: values, "kind": np.where(np.arange(ROWS) % 2, value, "b")}
    text = describe(write(tmp_path / "x", log__parquet=table)).text
    assert tomllib.loads(text)["version"] == 1

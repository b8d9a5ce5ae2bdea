"""`check` promises named checks: PASS, WARN or FAIL, with a count and up to ten examples."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from widedeep.data.check import CheckResult, Status, check, check_folder, render
from widedeep.data.dataset_file import kmrd_spec, parse_spec
from widedeep.data.describe import describe
from widedeep.data.ingest import MAXIMUM_BAD_SHARE, ingest
from widedeep.inputs import InputError

NOW = 1_700_000_000
ROWS, USERS, ITEMS = 2000, 50, 80
PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL
RANDOM = np.random.default_rng(5)
PAIRS = RANDOM.permutation(USERS * ITEMS)[:ROWS]
USER, ITEM = 1 + PAIRS // ITEMS, 1 + PAIRS % ITEMS
SECONDS = 1_500_000_000 + np.sort(RANDOM.integers(0, 3 * 10**7, ROWS))
CLICKED = (RANDOM.random(ROWS) < 0.3).astype(int)
TEXT = """
name = "shop"
[interactions]
files = ["log.csv"]
user = "user"
item = "item"
time = "ts"
label = { column = "clicked" }
[items]
files = ["items.csv"]
id = "item"
[users]
files = ["users.csv"]
id = "user"
[[features]]
name = "device"
from = "interactions.device"
type = "category"
[[features]]
name = "price"
from = "items.price"
type = "number"
[[features]]
name = "country"
from = "users.country"
type = "category"
"""


@pytest.fixture
def shop(tmp_path):
    """Return three good tables as frames, and their folder."""
    log = {"user": USER, "item": ITEM, "ts": SECONDS, "clicked": CLICKED}
    log["device"] = RANDOM.choice(["mobile", "desktop"], ROWS)
    items = {"item": np.arange(1, ITEMS + 1), "price": RANDOM.random(ITEMS).round(3)}
    users = {"user": np.arange(1, USERS + 1), "country": RANDOM.choice(["KR", "US"], USERS)}
    frames = {"log": log, "items": items, "users": users}
    return tmp_path, {name: pd.DataFrame(columns) for name, columns in frames.items()}


def checked(shop, text=TEXT):
    """Write the tables, and return the outcome of each check by name."""
    folder, frames = shop
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    results = check(folder, parse_spec(text, "shop"), NOW)
    assert all(isinstance(result, CheckResult) for result in results)
    assert all(len(result.examples) <= 10 for result in results)
    return {result.name: result for result in results}


def statuses(results, status):
    return {name for name, result in results.items() if result.status is status}


def without(line):
    """Return the spec without a line."""
    assert line in TEXT
    return TEXT.replace(f"{line}\n", "")


def test_good_data_pass_every_check(shop):
    results = checked(shop)
    assert statuses(results, PASS) == {*results}
    assert {"files", "rows", "keys", "items resolve", "users resolve"} <= {*results}
    assert {"time", "label", "duplicates", "repeats", "leakage", "missing values", "split"} <= {
        *results
    }
    assert results["rows"].count == ROWS


def test_what_describe_writes_passes(shop):
    folder, _ = shop
    checked(shop)
    results = check(folder, describe(folder).spec, NOW)
    assert {result.status for result in results} == {PASS}


def test_checking_writes_nothing(shop):
    folder, _ = shop
    checked(shop)
    before = {path.name for path in folder.iterdir()}
    check(folder, parse_spec(TEXT, "shop"), NOW)
    assert {path.name for path in folder.iterdir()} == before


# Files and columns


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"log.csv"', '"logs.csv"', "did you mean 'log.csv'"),
        ("items.price", "items.prise", "did you mean 'price'"),
        ('time = "ts"', 'time = "timestamp"', "timestamp missing"),
    ],
)
def test_a_missing_file_or_column_fails_alone_and_suggests_a_name(shop, old, new, words):
    results = checked(shop, TEXT.replace(old, new))
    assert statuses(results, FAIL) == {*results} == {"files"}
    assert words in results["files"].message


# Rows


@pytest.mark.parametrize(("bad", "status"), [(5, WARN), (int(ROWS * MAXIMUM_BAD_SHARE) + 1, FAIL)])
def test_bad_rows_are_counted_with_lines_and_fail_beyond_the_limit(shop, bad, status):
    log = shop[1]["log"]
    log["clicked"] = log["clicked"].astype(object)
    log.loc[log.index[:bad], "clicked"] = "maybe"
    result = checked(shop)["rows"]
    assert (result.status, result.count) == (status, bad)
    assert "clicked is not 0 or 1" in result.message
    assert result.examples[0].startswith("log.csv line 2:")


@pytest.mark.parametrize("bad", [ROWS // 10 - 3, ROWS // 10 + 3])
def test_the_check_of_rows_fails_exactly_if_ingest_refuses_them(shop, store, bad):
    log = shop[1]["log"]
    log["item"] = log["item"].astype(object)
    log.loc[log.index[:bad], "item"] = None
    folder, spec = shop[0], parse_spec(TEXT, "shop")
    failed = checked(shop)["rows"].status is FAIL
    try:
        ingest(folder, spec, store, NOW)
        refused = False
    except InputError:
        refused = True
    assert failed == refused


def test_each_file_has_its_own_limit(shop):
    folder, frames = shop
    small = frames["log"].tail(40).assign(clicked="x")
    small.to_csv(folder / "log-2.csv", index=False)
    result = checked(shop, TEXT.replace('"log.csv"', '"log.csv", "log-2.csv"'))["rows"]
    assert result.status is FAIL
    assert "log-2.csv" in result.message


# Keys and references


@pytest.mark.parametrize(("table", "key"), [("items", "item"), ("users", "user")])
def test_ids_that_repeat_are_found(shop, table, key):
    frames = shop[1]
    frames[table] = pd.concat([frames[table], frames[table].head(3)])
    result = checked(shop)["keys"]
    assert (result.status, result.count) == (WARN, 3)
    assert f'"{frames[table][key].iloc[0]}"' in result.examples[0]


def test_other_bad_rows_of_a_table_are_told_apart_from_repeated_ids(shop):
    items = shop[1]["items"]
    items["price"] = items["price"].astype(object)
    items.loc[4, "price"] = "cheap"
    results = checked(shop)
    assert results["keys"].status is PASS
    assert (results["other rows"].status, results["other rows"].count) == (WARN, 1)


@pytest.mark.parametrize("table", ["items", "users"])
def test_ids_that_their_table_lacks_are_named(shop, table):
    frames = shop[1]
    frames[table] = frames[table].tail(-2)
    result = checked(shop)[f"{table} resolve"]
    assert (result.status, result.count, result.examples) == (WARN, 2, ("1", "2"))


def test_a_table_that_lacks_most_ids_fails(shop):
    frames = shop[1]
    frames["users"]["user"] += 1000
    assert checked(shop)["users resolve"].status is FAIL


def test_items_of_a_complete_table_that_are_not_in_it_make_bad_rows(shop):
    frames = shop[1]
    frames["items"] = frames["items"].tail(-1)
    results = checked(
        shop, TEXT.replace('files = ["items.csv"]', 'files = ["items.csv"]\ncomplete = true')
    )
    lost = int((ITEM == 1).sum())
    assert (results["items resolve"].status, results["items resolve"].count) == (WARN, lost)
    assert results["rows"].count == lost


# Label


@pytest.mark.parametrize(
    ("label", "status"),
    [
        (np.zeros(ROWS, int), FAIL),
        (np.ones(ROWS, int), FAIL),
        (np.arange(ROWS) % 200 == 0, WARN),
        (np.arange(ROWS) % 2, PASS),
    ],
)
def test_the_label_needs_two_values_and_a_sane_share(shop, label, status):
    shop[1]["log"]["clicked"] = np.asarray(label).astype(int)
    result = checked(shop)["label"]
    assert result.status is status
    assert f"{np.mean(label):.1%}" in result.message


def test_a_label_of_text_fails_and_says_what_to_write(shop):
    shop[1]["log"]["clicked"] = np.where(CLICKED == 1, "yes", "no")
    result = checked(shop)["label"]
    assert (result.status, {*result.examples}) == (FAIL, {"yes", "no"})
    assert "equals" in result.message


def test_an_action_that_does_not_occur_is_corrected(shop):
    shop[1]["log"]["clicked"] = np.where(CLICKED == 1, "purchase", "view")
    rule = '{ column = "clicked", equals = "purchse" }'
    result = checked(shop, TEXT.replace('{ column = "clicked" }', rule))["label"]
    assert result.status is FAIL
    assert "did you mean 'purchase'" in result.message


def test_a_log_of_positives_needs_no_second_class(shop):
    shop[1]["log"]["clicked"] = 1
    results = checked(shop, TEXT + "[negatives]\nper_positive = 2\n")
    assert (results["label"].status, results["split"].status) == (PASS, PASS)
    assert "sampled" in results["label"].message


# Time


@pytest.mark.parametrize(
    ("factor", "unit", "words"),
    [
        (1000, "s", 'time_unit = "ms"'),
        (10**6, "s", 'time_unit = "us"'),
        (1, "ms", 'time_unit = "s"'),
        (0.01, "s", "before 1980"),
        (2, "s", "in the future"),
    ],
)
def test_times_in_another_unit_or_cut_short_fail(shop, factor, unit, words):
    shop[1]["log"]["ts"] = (SECONDS * factor).astype(np.int64)
    text = TEXT.replace('time = "ts"', f'time = "ts"\ntime_unit = "{unit}"')
    result = checked(shop, text)["time"]
    assert result.status is FAIL
    assert words in result.message
    assert result.examples


def test_text_read_as_numbers_fails(shop):
    shop[1]["log"]["ts"] = pd.to_datetime(SECONDS, unit="s").strftime("%Y-%m-%dT%H:%M:%SZ")
    text = TEXT.replace('time = "ts"', 'time = "ts"\ntime_unit = "s"')
    assert 'time_unit = "iso"' in checked(shop, text)["time"].message
    assert checked(shop)["time"].status is PASS


def test_a_few_times_in_the_future_are_a_warning(shop):
    shop[1]["log"].loc[:2, "ts"] = NOW + 1
    results = checked(shop)
    assert (results["time"].status, results["time"].count) == (WARN, 3)
    assert results["rows"].count == 3


# Repeats


def test_exact_and_repeated_pairs_are_counted_apart(shop):
    frames = shop[1]
    later = frames["log"].head(5).assign(ts=frames["log"]["ts"].head(5) + 60)
    frames["log"] = pd.concat([frames["log"], frames["log"].head(4), later])
    results = checked(shop)
    assert (results["duplicates"].status, results["duplicates"].count) == (WARN, 4)
    assert (results["repeats"].status, results["repeats"].count) == (PASS, 9)
    assert results["duplicates"].examples[0].startswith(f"user {USER[0]}, item {ITEM[0]}, 2017-")


def test_impressions_that_would_be_superseded_are_a_warning(shop):
    frames = shop[1]
    frames["log"] = pd.concat([frames["log"], frames["log"].assign(ts=frames["log"]["ts"] + 9)])
    assert checked(shop)["repeats"].status is WARN
    text = TEXT.replace('time = "ts"', 'time = "ts"\nrepeats = "all"')
    assert checked(shop, text)["repeats"].status is PASS


# Leakage


def add_feature(kind, table="interactions", side=""):
    line = f'side = "{side}"\n' if side else ""
    return TEXT + f'[[features]]\nname = "x"\nfrom = "{table}.x"\ntype = "{kind}"\n{line}'


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (CLICKED * 10 + RANDOM.integers(0, 3, ROWS), FAIL),
        (np.where(CLICKED == 1, RANDOM.random(ROWS), np.nan), FAIL),
        (CLICKED * 2.2 + RANDOM.normal(0, 0.8, ROWS), WARN),
        (RANDOM.integers(0, 99, ROWS), PASS),
        ((np.arange(ROWS) % 500 == 0).astype(int), PASS),
    ],
    ids=["tells", "present-if-positive", "suspicious", "noise", "rare-flag"],
)
def test_a_column_that_tells_the_label_is_found(shop, values, status):
    shop[1]["log"]["x"] = values
    result = checked(shop, add_feature("number"))["leakage"]
    assert result.status is status
    assert any(example.startswith("x ") for example in result.examples) == (status is not PASS)


def test_a_category_that_tells_the_label_is_found_and_an_id_of_the_row_is_not(shop):
    shop[1]["log"]["x"] = np.where(CLICKED == 1, "thank you", RANDOM.choice(["home", "cart"], ROWS))
    assert checked(shop, add_feature("category"))["leakage"].status is FAIL
    shop[1]["log"]["x"] = [f"row {k}" for k in range(ROWS)]
    assert checked(shop, add_feature("category"))["leakage"].status is PASS


def test_an_attribute_that_counts_interactions_is_a_warning(shop):
    shop[1]["items"]["x"] = np.bincount(ITEM, minlength=ITEMS + 1)[1:] * 5
    result = checked(shop, add_feature("number", "items"))["leakage"]
    assert result.status is WARN
    assert "future" in result.examples[0]


def test_a_year_after_many_interactions_is_a_warning(shop):
    shop[1]["items"]["x"] = np.where(np.arange(ITEMS) % 4, 1999, 2021)
    assert checked(shop, add_feature("age", "items"))["leakage"].status is WARN
    shop[1]["items"]["x"] = 1990 + np.arange(ITEMS) % 9
    assert checked(shop, add_feature("age", "items"))["leakage"].status is PASS


def test_an_attribute_that_changes_over_time_is_a_warning(shop):
    shop[1]["log"]["x"] = USER * 3
    text = add_feature("number", side="user")
    assert checked(shop, text)["x constant"].status is PASS
    shop[1]["log"].loc[(USER == 7) & (np.median(SECONDS) < SECONDS), "x"] = 4
    result = checked(shop, text)["x constant"]
    assert (result.status, result.count) == (WARN, 1)
    assert result.examples == ("7",)


# Missing values and split


@pytest.mark.parametrize(("share", "status"), [(0.2, PASS), (0.6, WARN)])
def test_missing_values_are_told_by_feature(shop, share, status):
    users = shop[1]["users"]
    users.loc[users.index[: int(share * USERS)], "country"] = None
    result = checked(shop)["missing values"]
    assert result.status is status
    assert result.examples == (f"country: {share:.1%}",)


def test_too_few_rows_for_the_split_fail(shop):
    shop[1]["log"] = shop[1]["log"].head(300)
    result = checked(shop)["split"]
    assert (result.status, result.count) == (FAIL, 300)


def test_a_holdout_of_one_class_fails(shop):
    shop[1]["log"].loc[ROWS * 3 // 4 :, "clicked"] = 0
    assert checked(shop)["split"].status is FAIL


# Other data


def test_anonymous_traffic_is_checked_without_users(shop):
    text = TEXT[: TEXT.index("[users]")] + TEXT[TEXT.index('[[features]]\nname = "device"') :]
    text = text[: text.index('[[features]]\nname = "country"')].replace('user = "user"\n', "")
    results = checked(shop, text)
    assert "repeats" not in results
    assert statuses(results, FAIL) == set()


def test_ids_of_text_are_shown_as_they_stand(shop):
    frames = shop[1]
    frames["log"]["item"] = [f"물건-{k}" for k in ITEM]
    frames["items"]["item"] = [f"물건-{k}" for k in range(2, ITEMS + 2)]
    assert checked(shop)["items resolve"].examples == ("물건-1",)


def test_the_small_kmrd_passes_but_for_its_size(kmrd, now):
    results = {result.name: result for result in check(kmrd, kmrd_spec("kmrd"), now)}
    assert statuses(results, FAIL) == {"split"}


# How it is shown


def test_a_line_for_each_check_and_examples_only_of_what_is_wrong():
    good = CheckResult("rows", PASS, "all rows can be used", 7, ("row 1",))
    bad = CheckResult("label", FAIL, "one class", 7, ("clicked 1", "clicked 2"))
    lines = render([good, bad])
    assert [line.split() for line in lines] == [
        ["PASS", "rows", "all", "rows", "can", "be", "used"],
        ["FAIL", "label", "one", "class"],
        ["clicked", "1"],
        ["clicked", "2"],
    ]
    assert render([]) == []


def test_a_report_is_json_and_names_what_failed(shop):
    folder, _ = shop
    checked(shop)
    (folder / "dataset.toml").write_text(TEXT.replace("price", "prise"), encoding="utf-8")
    report = check_folder(folder, NOW, lambda spec: ("features", len(spec.features)))
    values = json.loads(json.dumps(report.as_json()))
    assert values["failed"] == ["files"]
    assert [check_["status"] for check_ in values["checks"]] == ["PASS", "FAIL"]
    with pytest.raises(InputError, match="files"):
        report.refuse_failures()


def test_a_folder_without_a_spec_is_described_first(shop):
    checked(shop)
    report = check_folder(shop[0], NOW, lambda _: ("fine", 1))
    assert report.form.startswith("recognised as 3 tables")
    assert report.failed == []
    report.refuse_failures()


def test_features_that_no_model_can_read_fail(shop):
    def refuse(spec):
        raise InputError(f"{spec.name}: no such part")

    checked(shop)
    report = check_folder(shop[0], NOW, refuse)
    assert report.failed == ["features"]


def test_ml_100k_and_kmrd_pass(ml_100k, kmrd_small):
    for folder in (ml_100k, kmrd_small):
        results = check(folder, describe(folder).spec, NOW)
        assert [result.name for result in results if result.status is FAIL] == []


def test_an_integer_spec_refuses_text_as_it_says(shop):
    shop[1]["log"]["user"] = [f"u{k}" for k in USER]
    folder = shop[0]
    checked(shop)
    spec = parse_spec(TEXT, "shop")
    spec = replace(spec, interactions=replace(spec.interactions, integer_ids=True))
    results = {result.name: result for result in check(folder, spec, NOW)}
    assert results["rows"].status is FAIL
    assert "user is not an integer" in results["rows"].message

"""`widedeep check` names what is wrong with data before anything learns from them."""

import numpy as np
import pandas as pd
import pytest

from widedeep.data.check import EXAMPLES, Status, check, check_folder
from widedeep.data.dataset_file import parse_spec
from widedeep.data.describe import write_description
from widedeep.inputs import InputError

NOW = 1_700_000_000
ROWS = 3000
SPEC = """
[interactions]
files = ["log.csv"]
user = "user"
item = "item"
time = "time"
label = { column = "clicked" }
repeats = "all"
[items]
files = ["items.csv"]
id = "item"
[[features]]
name = "kind"
from = "items.kind"
type = "category"
[[features]]
name = "device"
from = "interactions.device"
type = "category"
[[features]]
name = "age"
from = "interactions.age"
type = "number"
side = "user"
"""


@pytest.fixture
def log():
    rng = np.random.default_rng(5)
    user = rng.integers(1, 200, ROWS)
    return pd.DataFrame(
        {
            "user": user,
            "item": rng.integers(1, 51, ROWS),
            "time": 1_400_000_000 + np.arange(ROWS) * 60,
            "clicked": rng.integers(0, 2, ROWS),
            "device": rng.choice(["phone", "desktop"], ROWS),
            "age": 15 + user % 60,
        }
    )


def items():
    return pd.DataFrame({"item": np.arange(1, 51), "kind": ["news", "sport"] * 25})


@pytest.fixture
def outcome(tmp_path):
    """Return a function that checks a log (and items) and returns the results by name."""

    def checked(log, items=items, spec=SPEC):
        log.to_csv(tmp_path / "log.csv", index=False)
        items().to_csv(tmp_path / "items.csv", index=False)
        results = check(tmp_path, parse_spec(spec, "shop"), NOW)
        return {result.name: result for result in results}

    return checked


def test_good_data_pass_every_check(outcome, log):
    results = outcome(log)
    assert {result.status for result in results.values()} == {Status.PASS}
    assert [*results] == [
        *(
            "files",
            "unused columns",
            "rows",
            "keys",
            "items resolve",
            "label",
            "time",
            "duplicates",
            "repeats",
        ),
        *("leakage", "age constant", "missing values", "split"),
    ]


def one_class(log):
    return log.assign(clicked=1)


def few_positives(log):
    return log.assign(clicked=(np.arange(ROWS) % 500 == 0).astype(int))


def text_label(log):
    return log.assign(clicked="perhaps")


def cut_short(log):
    return log.assign(time=log.time // 1000)


def milliseconds(log):
    return log.assign(time=log.time * 1000)


def unknown_items(log):
    return log.assign(item=log.item + 40)


def doubled(log):
    return pd.concat([log, log[:70]])


def leak(log):
    return log.assign(device=np.where(log.clicked == 1, "seen", "not"))


def changing(log):
    return log.assign(age=log.age + log.time % 7)


def mostly_missing(log):
    return log.assign(device=log.device.where(np.arange(ROWS) % 3 == 0))


def few_rows(log):
    return log[:60]


def a_few_bad_rows(log):
    return log.assign(clicked=log.clicked.where(np.arange(ROWS) % 300 > 0, 7))


@pytest.mark.parametrize(
    ("spoil", "name", "status", "words"),
    [
        (one_class, "label", Status.FAIL, "expected both classes"),
        (few_positives, "label", Status.WARN, "0.2% of 3,000 rows"),
        (text_label, "rows", Status.FAIL, "clicked"),
        (cut_short, "time", Status.FAIL, "cut short"),
        (unknown_items, "items resolve", Status.FAIL, "10 of 50 items"),
        (doubled, "duplicates", Status.WARN, "70 exact duplicates"),
        (leak, "leakage", Status.FAIL, "device alone tells the label with AUC 1.000"),
        (changing, "age constant", Status.WARN, "changes for"),
        (mostly_missing, "missing values", Status.WARN, "1 features are missing"),
        (few_rows, "split", Status.FAIL, "expected at least 100"),
        (a_few_bad_rows, "rows", Status.WARN, "10 of 3,000 rows would be set aside"),
    ],
)
def test_what_is_wrong_is_named_and_counted(outcome, log, spoil, name, status, words):
    result = outcome(spoil(log))[name]
    assert (result.status, words in result.message) == (status, True), result.message
    assert result.count or name == "label"
    assert len(result.examples) <= EXAMPLES


def test_milliseconds_are_recognised_and_seconds_that_are_none_are_refused(outcome, log):
    assert outcome(milliseconds(log))["time"].status is Status.PASS
    said = SPEC.replace('time = "time"', 'time = "time"\ntime_unit = "s"')
    result = outcome(milliseconds(log), spec=said)["rows"]
    assert result.status is Status.FAIL
    assert 'time_unit = "ms"' in result.message


def test_a_repeated_key_is_shown_with_its_line(outcome, log):
    result = outcome(log, lambda: pd.concat([items(), items()[:3]]))["keys"]
    assert (result.status, result.count) == (Status.WARN, 3)
    assert 'items.csv line 52: item repeats that of an earlier line: "1"' in result.examples


def test_repeats_of_ratings_are_doubted_if_there_are_many(outcome, log):
    few = log.assign(user=log.user % 20)
    result = outcome(few, spec=SPEC.replace('repeats = "all"', ""))["repeats"]
    assert result.status is Status.WARN
    assert len(result.examples) == EXAMPLES


def test_a_missing_column_is_named_with_one_that_is_like_it(outcome, log):
    (result,) = outcome(log.rename(columns={"device": "devices"})).values()
    assert (result.name, result.status) == ("files", Status.FAIL)
    assert "did you mean 'devices'" in result.message


def test_a_report_says_how_the_meaning_is_known_and_fails_as_a_whole(tmp_path, log):
    def features(_spec):
        return "3 features", 3

    log.to_csv(tmp_path / "log.csv", index=False)
    report = check_folder(tmp_path, NOW, features)
    assert (report.form, report.failed) == ("recognised as one flat table", [])
    write_description(tmp_path, None, force=False)
    one_class(log).to_csv(tmp_path / "log.csv", index=False)
    report = check_folder(tmp_path, NOW, features)
    assert report.failed == ["label", "split"]
    with pytest.raises(InputError, match="2 checks failed: label, split"):
        report.refuse_failures()

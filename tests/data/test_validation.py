"""Every row that cannot be used is quarantined with its file, line, text and what is wrong."""

import pytest

from tests.data.conftest import append, ingest, quarantined, read


@pytest.mark.parametrize(
    "bad",
    [
        ("1,10001,10", "wrong number of columns: found 3, expected 4", None),
        ("1,10001,10,1,5", "wrong number of columns: found 5, expected 4", None),
        ("1\t10001\t10\t1", "wrong number of columns: found 1, expected 4", None),
        ("", "blank line", None),
        ("user,movie,rate,time", "repeated header", None),
        ("1,10001,ten,7", 'rate is not an integer: "ten"', 7),
        ("1,10001,7.5,7", 'rate is not an integer: "7.5"', 7),
        ("1,10001,,7", 'rate is not an integer: ""', 7),
        ("1,10001,0x7,7", 'rate is not an integer: "0x7"', 7),
        ("1,10001,\u0667,7", 'rate is not an integer: "\u0667"', 7),
        ("1,10001,11,7", 'rate is not from 1 to 10: "11"', 7),
        ("1,10001,0,7", 'rate is not from 1 to 10: "0"', 7),
        ("1,10001,-3,7", 'rate is not from 1 to 10: "-3"', 7),
        ("1,10001,266,7", 'rate is not from 1 to 10: "266"', 7),
        ("x,10001,10,7", 'user is not an integer: "x"', 7),
        ("1,x,10,7", 'movie is not an integer: "x"', 7),
        ("1,77777,10,7", 'movie is not in movies.txt: "77777"', 7),
        ("1,10001,10,then", 'time is not a time: "then"', None),
        ("1,10001,10,-5", 'time is negative: "-5"', -5),
        ("1,10001,10,1600000001", 'time is in the future: "1600000001"', None),
        (
            "u,10001,12,-5",
            'user is not an integer: "u"; time is negative: "-5"; rate is not from 1 to 10: "12"',
            -5,
        ),
    ],
)
def test_a_bad_row_is_quarantined_with_its_line_and_reason(kmrd, store, now, bad):
    row, reason, time = bad
    append(kmrd / "rates.csv", row, "9,10004,10,1500009999", "8,10004,10")
    artifact = ingest(kmrd, store, now)
    by_line = {row["line"]: row for row in quarantined(artifact)}
    expected = {"file": "rates.csv", "line": 42, "text": row, "reason": reason, "time": time}
    assert set(by_line) == {42, 44}
    assert by_line[42] == expected
    assert artifact.summary["counts"] == {
        "read": 43,
        "examples": 40,
        "superseded": 1,
        "quarantined": 2,
    }
    by_reason = artifact.summary["quarantined_by_reason"]
    assert sum(by_reason.values()) == 2
    assert reason.split(": ")[0] in by_reason


@pytest.mark.parametrize(
    "row",
    [
        "007,010001,010,01500000000",
        " 7, 10001, 10, 7",
        "7,10001,10,0",
        "1,10001,10,{now}",
        "7,10001,10,7.5",
    ],
)
def test_odd_but_readable_rows_are_good(kmrd, store, now, row):
    append(kmrd / "rates.csv", row.format(now=now))
    assert ingest(kmrd, store, now).summary["counts"]["quarantined"] == 0


@pytest.mark.parametrize(
    "bad",
    [
        ("movies.txt", "ten\tt\te\t\t", 'movie is not an integer: "ten"'),
        ("movies.txt", "10001\tagain\te\t\t", 'movie repeats that of an earlier line: "10001"'),
        ("movies.txt", "10009\tt\te\t", "wrong number of columns: found 4, expected 5"),
        ("movies.txt", "", "blank line"),
        ("genres.csv", "x,SF", 'movie is not an integer: "x"'),
        ("genres.csv", "77777,SF", 'movie is not in movies.txt: "77777"'),
        ("genres.csv", "10001,", 'genre is empty: ""'),
        ("countries.csv", "77777,한국", 'movie is not in movies.txt: "77777"'),
        ("countries.csv", "10001,", 'country is empty: ""'),
        ("castings.csv", "77777,1,1,1", 'movie is not in movies.txt: "77777"'),
        ("castings.csv", "10001,1,first,1", 'order is not a number: "first"'),
        ("castings.csv", "10001,,1,1", 'people is empty: ""'),
        ("peoples.txt", "x\ta\tb", 'people is not an integer: "x"'),
        ("peoples.txt", "8\ta\tb", 'people repeats that of an earlier line: "8"'),
    ],
)
def test_bad_rows_of_the_other_files_are_quarantined_too(kmrd, store, now, bad):
    name, row, reason = bad
    before = ingest(kmrd, store, now)
    line = len((kmrd / name).read_text(encoding="utf-8").splitlines()) + 1
    append(kmrd / name, row, *["behind"] * (row == ""))
    artifact = ingest(kmrd, store, now)
    bad_rows = quarantined(artifact)
    assert bad_rows[0] == {"file": name, "line": line, "text": row, "reason": reason, "time": None}
    assert artifact.summary["counts"] == before.summary["counts"]
    for table in ("ratings", "items", "names"):
        assert read(artifact, table).equals(read(before, table))


def test_a_rating_of_a_quarantined_item_is_quarantined(kmrd, store, now):
    append(kmrd / "movies.txt", "10005\ttoo\tfew")
    append(kmrd / "rates.csv", "1,10005,10,5")
    reasons = [row["reason"] for row in quarantined(ingest(kmrd, store, now))]
    assert reasons[0] == 'movie is not in movies.txt: "10005"'


def test_line_numbers_are_right_far_behind_bad_rows(kmrd, store, now):
    lines = [f"{n},10001,{10 - n % 2},{1_500_000_000 + n}" for n in range(2, 600_002)]
    bad = {n: "1,2" if n % 2 else "1,10001,eleven,1" for n in range(5, 600_000, 9_999)}
    for number, row in bad.items():
        lines[number - 2] = row
    text = "\n".join(["user,movie,rate,time", *lines])
    (kmrd / "rates.csv").write_text(text)
    artifact = ingest(kmrd, store, now)
    assert {row["line"]: row["text"] for row in quarantined(artifact)} == bad
    assert artifact.summary["counts"]["examples"] == 600_000 - len(bad)

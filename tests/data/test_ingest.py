"""Ingest promises that no row is lost, no bad row is used, and a bad file changes nothing.

The first rating of a pair is the example; each later one says how it differs from the first.
"""

import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.conftest import append, ingest, quarantined, read
from widedeep.data.dataset_file import kmrd_spec, parse_spec
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.files import open_table
from widedeep.data.ids import id_key
from widedeep.data.ingest import ingest as ingest_declared
from widedeep.data.ingest import locate_rows
from widedeep.data.reading.small_files import join_small_files
from widedeep.data.repeats import split_repeats
from widedeep.data.tables import IngestedData
from widedeep.data.validation import InteractionRules
from widedeep.data.values import parse_integer_ids
from widedeep.inputs import InputError
from widedeep.store import Artifact, ArtifactStore, file_digest

TABLES = ("ratings", "superseded", "quarantine", "items", "users", "names")
DAY = 86_400


def tree(folder):
    """Return every file below a folder with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_good_folder_becomes_six_tables_and_a_summary(kmrd, store, now):
    artifact = ingest(kmrd, store, now)
    assert artifact.kind == "ratings"
    assert {file.stem for file in artifact.path.glob("*.parquet")} == set(TABLES)
    assert artifact.summary == {
        "counts": {"read": 40, "examples": 40, "superseded": 0, "quarantined": 0},
        "quarantined_by_reason": {},
        "users": 10,
        "items": 4,
        "first_time": 1_500_000_000,
        "last_time": 1_500_003_960,
        "absent": [],
        "interaction_files": ["rates.csv"],
        "sampled_negatives": 0,
    }


def test_many_small_parts_are_read_together_as_each_by_itself(kmrd, store, now, monkeypatch):
    path = kmrd / "rates.csv"
    header, *rows = path.read_text().splitlines()
    faults = ["1,2,3", "", header, "1,10001,eleven,1500000000", "1,10001,10,32503680000"]
    for number in range(60):
        part = [*rows[number % 9 :: 9], *rows[:7], faults[number % len(faults)]]
        end = "\r\n" if number % 3 == 0 else "\n"
        text = end.join([header, *part, *([""] if number % 2 else [])])
        (kmrd / f"rates-{number}.csv").write_text(text, newline="")
    path.write_text(f"{header}\n{rows[0]}\n")
    together = ingest(kmrd, store, now)
    monkeypatch.setattr("widedeep.data.ingest.join_small_files", iter)
    alone = ingest(kmrd, ArtifactStore(store.root / "alone"), now)
    assert together.summary == alone.summary
    assert together.summary["counts"]["quarantined"] > 40
    for name in TABLES:
        assert read(together, name).equals(read(alone, name)), name


def test_one_bad_part_among_many_stops_the_run(kmrd, store, now):
    header, *rows = (kmrd / "rates.csv").read_text().splitlines()
    for number in range(20):
        (kmrd / f"rates-{number:02}.csv").write_text("\n".join([header, *(rows * 30)]))
    bad = [f"{user},10001,ten,1500000000" for user in range(1200)]
    (kmrd / "rates-13.csv").write_text("\n".join([header, *bad]))
    with pytest.raises(InputError, match=r"rates-13\.csv: more than 10%"):
        ingest(kmrd, store, now)


def test_parts_beyond_16_bits_have_numbers(kmrd, now):
    files = [*open_table(kmrd_spec("kmrd"), "interactions", kmrd)] * 2
    (joined,) = join_small_files(files)
    rules = InteractionRules(kmrd_spec("kmrd"), None, "", now, TimeUnit.SECONDS)
    check = locate_rows(rules.check(joined, joined.read(next(joined.ranges()))), joined, 70_000, 1)
    assert {*check.good["part"].to_pylist()} == {70_000, 70_001}
    assert check.good["line"].to_pylist() == [*range(2, 42)] * 2


def test_columns_have_their_types_and_order(kmrd, store, now):
    artifact = ingest(kmrd, store, now)
    types = {
        name: {field.name: str(field.type) for field in read(artifact, name).schema}
        for name in ("ratings", "superseded", "quarantine")
    }
    rating = {"user": "int64", "item": "int64", "value": "float", "time": "int64"}
    assert types == {
        "ratings": rating | {"label": "bool"},
        "superseded": rating | {"file": "string", "line": "int64", "reason": "string"},
        "quarantine": {
            "file": "string",
            "line": "int64",
            "text": "string",
            "reason": "string",
            "time": "int64",
        },
    }


def test_too_many_bad_rows_stop_it_and_the_first_are_named(kmrd, store, now):
    lines = (kmrd / "rates.csv").read_text().splitlines()[:37]
    (kmrd / "rates.csv").write_text("\n".join([*lines, *["1,10001,ten,7"] * 4, ""]))
    assert ingest(kmrd, store, now).summary["counts"]["quarantined"] == 4
    append(kmrd / "rates.csv", "1,10001,11,7")
    before = tree(store.root)
    with pytest.raises(InputError) as caught:
        ingest(kmrd, store, now)
    assert "more than 10% of its 41 rows are bad" in str(caught.value)
    assert 'line 38 (rate is not an integer: "ten"), line 39' in str(caught.value)
    assert tree(store.root) == before


def test_items_without_one_good_row_stop_it(kmrd, store, now):
    (kmrd / "movies.txt").write_text("movie\ttitle\ttitle_eng\tyear\tgrade\nx\t\t\t\t\n")
    with pytest.raises(InputError, match=r"movies\.txt has no good row: line 2 \(movie is not an"):
        ingest(kmrd, store, now)


def delete_ratings(kmrd):
    (kmrd / "rates.csv").unlink()


def empty_castings(kmrd):
    (kmrd / "castings.csv").write_text("")


def break_the_last_item(kmrd):
    with (kmrd / "movies.txt").open("ab") as file:
        file.write("10009\t영화\t\t\t\n".encode("cp949"))


def break_the_last_person(kmrd):
    with (kmrd / "peoples.txt").open("ab") as file:
        file.write(b"77\t\xff\t\n")


def rename_a_column(kmrd):
    text = (kmrd / "rates.csv").read_text()
    (kmrd / "rates.csv").write_text(text.replace("time", "timestamp"))


@pytest.mark.parametrize(
    "damage",
    [delete_ratings, empty_castings, break_the_last_item, break_the_last_person, rename_a_column],
)
def test_a_bad_file_stops_it_before_anything_is_written(kmrd, store, now, damage):
    damage(kmrd)
    with pytest.raises(InputError):
        ingest(kmrd, store, now)
    assert not store.root.exists()


def test_without_the_optional_files_their_columns_are_empty(kmrd, store, now):
    for name in ("genres.csv", "countries.csv", "castings.csv", "peoples.txt"):
        (kmrd / name).unlink()
    artifact = ingest(kmrd, store, now)
    items = read(artifact, "items")
    for name in ("genres", "countries", "people", "leading"):
        assert items[name].to_pylist() == [[]] * 4
    assert len(read(artifact, "names")) == 0
    assert artifact.summary["absent"] == ["genres", "countries", "castings", "people"]


def test_the_same_files_are_not_ingested_twice(kmrd, store, now):
    first = ingest(kmrd, store, now)
    before = tree(store.root)
    moved = kmrd.rename(kmrd.with_name("elsewhere"))
    assert ingest(moved, store, now + 400 * DAY) == first
    assert tree(store.root) == before


@pytest.mark.parametrize("name", ["rates.csv", "genres.csv"])
def test_another_byte_is_another_artefact(kmrd, store, now, name):
    first = ingest(kmrd, store, now)
    with (kmrd / name).open("ab") as file:
        file.write(b"\n")
    second = ingest(kmrd, store, now)
    assert second.id != first.id
    assert second.key["files"][name] == file_digest(kmrd / name)
    assert first.key["future_on"] is None


def test_rows_in_the_future_are_not_checked_again_on_the_same_day(kmrd, store, now):
    append(kmrd / "rates.csv", f"1,10001,10,{now + 500}")
    today = ingest(kmrd, store, now)
    assert ingest(kmrd, store, now + 1000) == today
    assert today.summary["counts"]["quarantined"] == 1


def test_rows_in_the_future_are_checked_again_on_another_day(kmrd, store, now):
    append(kmrd / "rates.csv", f"1,10001,10,{now + DAY}")
    today = ingest(kmrd, store, now)
    assert today.key["future_on"] == datetime.fromtimestamp(now, UTC).date().isoformat()
    assert today.summary["quarantined_by_reason"] == {"time is in the future": 1}
    tomorrow = ingest(kmrd, store, now + DAY)
    assert tomorrow.key["future_on"] is None
    assert tomorrow.summary["counts"]["quarantined"] == 0
    assert ingest(kmrd, store, now + 9 * DAY) == tomorrow


def spoil(row, how):
    """Return a row that cannot be used."""
    user, item, value, time = row.split(",")
    return {
        "short": f"{user},{item},{value}",
        "rate": f"{user},{item},{int(value) + 10},{time}",
        "movie": f"{user},{item}9,{value},{time}",
        "time": f"{user},{item},{value},x{time}",
        "blank": "",
    }[how]


@st.composite
def rate_rows(draw):
    """Draw rows with distinct times, of which at most a tenth cannot be used."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=3, max_size=40))
    times = draw(st.permutations(range(len(pairs))))
    values = st.integers(1, 10)
    rows = [f"{u},1000{i},{draw(values)},{t}" for (u, i), t in zip(pairs, times, strict=True)]
    positions = st.lists(st.integers(0, len(rows) - 1), unique=True, max_size=len(rows) // 10)
    hows = st.sampled_from(["short", "rate", "movie", "time", "blank"])
    for position in draw(positions):
        rows[position] = spoil(rows[position], draw(hows))
    return rows


@settings(max_examples=20)
@given(rows=rate_rows(), seed=st.integers(0, 99))
def test_rows_are_conserved_and_their_order_changes_no_example(tmp_path_factory, rows, seed):
    folder = tmp_path_factory.mktemp("random")
    (folder / "movies.txt").write_text(
        "movie\ttitle\ttitle_eng\tyear\tgrade\n"
        + "".join(f"1000{item}\t\t\t\t\n" for item in range(1, 5))
    )
    shuffled = random.Random(seed).sample(rows, len(rows))  # noqa: S311
    examples = []
    for order in (rows, shuffled):
        text = "\n".join(["user,movie,rate,time", *order, "9,10001,1,99"])
        (folder / "rates.csv").write_text(text)
        artifact = ingest(folder, ArtifactStore(folder / "store"), 1000)
        counts = artifact.summary["counts"]
        assert counts["read"] == len(rows) + 1
        assert counts["examples"] == len(read(artifact, "ratings"))
        assert counts["superseded"] == len(read(artifact, "superseded"))
        assert counts["quarantined"] == len(read(artifact, "quarantine"))
        assert counts["read"] == sum(
            counts[name] for name in ("examples", "superseded", "quarantined")
        )
        examples.append((artifact.path / "ratings.parquet").read_bytes())
    shutil.rmtree(folder)
    assert examples[0] == examples[1]


def write_many_ratings(folder):
    """Append enough ratings for a Parquet file of some hundred kB."""
    generator = random.Random(0)  # noqa: S311
    append(
        folder / "rates.csv",
        *(f"{user},10001,10,{generator.randrange(10**9)}" for user in range(100, 60_000)),
    )


@pytest.fixture
def tiny_disk(tmp_path):
    """Mount a disk of 300 kB and return its folder."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() or not mount or not umount:
        pytest.skip("only root can mount a tiny disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a tiny disk")
    yield folder
    subprocess.run([umount, folder], check=True)


def test_a_full_disk_leaves_the_store_as_it_was(kmrd, tiny_disk, now):
    store = ArtifactStore(tiny_disk / "store")
    earlier = ingest(kmrd, store, now)
    before = tree(store.root)
    write_many_ratings(kmrd)
    with pytest.raises(OSError, match="space"):
        ingest(kmrd, store, now)
    assert tree(store.root) == before
    assert Artifact.load(earlier.path) == earlier


LIMITED = """
import resource, sys
from pathlib import Path
from widedeep.data.dataset_file import kmrd_spec, parse_spec
from widedeep.data.ingest import ingest
from widedeep.store import ArtifactStore
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    ingest(
        Path(sys.argv[1]), kmrd_spec("kmrd"), ArtifactStore(Path(sys.argv[2])), int(sys.argv[3])
    )
except OSError:
    sys.exit(77)
"""


def test_a_write_that_fails_half_way_leaves_the_store_as_it_was(kmrd, store, now):
    ingest(kmrd, store, now)
    before = tree(store.root)
    write_many_ratings(kmrd)
    command = [sys.executable, "-c", LIMITED, kmrd, store.root, str(now)]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    assert process.returncode == 77, process.stderr
    assert tree(store.root) == before


def test_kmrd_small_is_what_its_description_says(kmrd_small, store):
    artifact = ingest(kmrd_small, store, 1_700_000_000)
    summary = artifact.summary
    assert summary["counts"] == {
        "read": 140_710,
        "examples": 134_331,
        "superseded": 6_379,
        "quarantined": 0,
    }
    assert (summary["users"], summary["items"]) == (52_028, 600)
    assert datetime.fromtimestamp(summary["first_time"], UTC).date().isoformat() == "2003-11-20"
    assert datetime.fromtimestamp(summary["last_time"], UTC).date().isoformat() == "2019-12-16"
    assert len(quarantined(artifact)) == 0
    items = read(artifact, "items").select(["item", "item_age"])
    rated = read(artifact, "ratings").join(items, "item")
    assert rated["item_age"].null_count == 921  # 0.7 %; 0.8 % without years that stand alone
    assert len(items) == 999
    assert len(read(artifact, "names")) == 7_172


def test_ratings_may_come_in_parts_that_are_named_where_they_matter(kmrd, store, now):
    header, first, *_ = (kmrd / "rates.csv").read_text().splitlines()
    whole = ingest(kmrd, store, now)
    (kmrd / "rates-2019.csv").write_text(f"{header}\n77,10001,10,1500009000\n{first}\n")
    (kmrd / "rates-2020.csv").write_text(f"{header}\n" + "77,10001,9,1500009060\n" * 20)
    append(kmrd / "rates-2020.csv", "77,10001,eleven,1500009060")
    artifact = ingest(kmrd, store, now)
    assert artifact.summary["counts"] == {
        "read": 63,
        "examples": 41,
        "superseded": 21,
        "quarantined": 1,
    }
    reasons = {(row["file"], row["reason"]) for row in read(artifact, "superseded").to_pylist()}
    assert ("rates-2019.csv", "exact duplicate of line 2 of rates.csv") in reasons
    conflict = "conflicts with line 2 of rates-2019.csv: value 10 then, 9 now"
    assert ("rates-2020.csv", conflict) in reasons
    assert [row["file"] for row in quarantined(artifact)] == ["rates-2020.csv"]
    assert IngestedData(artifact).counts(now).read == 63
    assert read(whole, "ratings").equals(read(artifact, "ratings").slice(0, 40))


def test_a_part_that_is_bad_stops_it_however_many_good_rows_the_others_have(kmrd, store, now):
    (kmrd / "rates-2020.csv").write_text("user,movie,rate,time\n1,10001,ten,7\n")
    with pytest.raises(InputError, match=r"rates-2020\.csv: more than 10% of its 1 rows are bad"):
        ingest(kmrd, store, now)


def test_parts_alone_are_enough(kmrd, store, now):
    (kmrd / "rates.csv").rename(kmrd / "rates-2m.csv")
    assert ingest(kmrd, store, now).summary["counts"]["examples"] == 40


TYPES = {
    "user": "int64",
    "item": "int64",
    "value": "float32",
    "time": "int64",
    "line": "int64",
    "part": "int16",
}


def ratings(*rows):
    """Return a table of (user, item, value, time) on the lines from 2 of one file."""
    columns = zip(*((*row, line, 0) for line, row in enumerate(rows, 2)), strict=True)
    return pa.table(
        {
            name: np.array(column, dtype)
            for (name, dtype), column in zip(TYPES.items(), columns, strict=True)
        }
    )


def reasons(*rows):
    _, superseded = split_repeats(ratings(*rows), ["rates.csv"], first_only=True)
    return list(zip(superseded["line"].to_pylist(), superseded["reason"].to_pylist(), strict=True))


def test_the_earliest_rating_is_the_example_wherever_it_stands():
    rows = (1, 7, 9, 300), (1, 7, 5, 100), (1, 7, 8, 200)
    examples, superseded = split_repeats(ratings(*rows), ["rates.csv"], first_only=True)
    assert examples.to_pylist() == [{"user": 1, "item": 7, "value": 5, "time": 100}]
    assert superseded["time"].to_pylist() == [200, 300]


def test_at_one_time_the_first_line_is_the_example():
    examples, _ = split_repeats(
        ratings((1, 7, 9, 100), (1, 7, 5, 100)), ["rates.csv"], first_only=True
    )
    assert examples["value"].to_pylist() == [9]


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ((1, 7, 10, 100), "exact duplicate of line 2"),
        ((1, 7, 10, 200), "repeats line 2"),
        ((1, 7, 7, 200), "conflicts with line 2: value 10 then, 7 now"),
        ((1, 7, 7, 100), "conflicts with line 2: value 10 then, 7 now"),
    ],
)
def test_a_later_rating_says_how_it_differs_from_the_first(later, reason):
    assert reasons((1, 7, 10, 100), (2, 7, 1, 50), later) == [(4, reason)]


def test_every_later_rating_is_compared_with_the_first():
    third = (6, "conflicts with line 4: value 3 then, 9 now")
    second = (2, "conflicts with line 4: value 3 then, 9 now")
    assert reasons((5, 1, 9, 20), (5, 2, 9, 1), (5, 1, 3, 10), (4, 1, 9, 2), (5, 1, 9, 30)) == [
        second,
        third,
    ]


def test_examples_are_sorted_by_time_user_and_item():
    rows = [(9, 1, 1, 5), (2, 8, 1, 5), (2, 3, 1, 5), (-4, 1, 1, 5), (7, 7, 1, 4)]
    examples, _ = split_repeats(ratings(*rows), ["rates.csv"], first_only=True)
    order = zip(*(examples[name].to_pylist() for name in ("time", "user", "item")), strict=True)
    assert list(order) == [(4, 7, 7), (5, -4, 1), (5, 2, 3), (5, 2, 8), (5, 9, 1)]


ROW = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 10), st.integers(0, 6))


@given(st.lists(ROW, min_size=1, max_size=40))
def test_examples_are_those_of_a_loop_over_the_ratings_in_time(rows):
    first = {}
    for line, (user, item, value, time) in sorted(enumerate(rows, 2), key=lambda r: r[1][3]):
        first.setdefault((user, item), (time, user, item, value, line))
    examples, superseded = split_repeats(ratings(*rows), ["rates.csv"], first_only=True)
    actual = examples.select(["time", "user", "item", "value"]).to_pylist()
    assert [tuple(row.values()) for row in actual] == sorted(row[:4] for row in first.values())
    others = set(range(2, len(rows) + 2)) - {row[4] for row in first.values()}
    assert set(superseded["line"].to_pylist()) == others


DECLARED = """
[interactions]
files = ["log.csv"]
user = "user"
item = "item"
time = "time"
label = { column = "stars", at_least = 4 }
value = { column = "stars", minimum = 0, maximum = 5 }
"""
LOG = [(str(k % 9), str(k % 14), str(k % 6), str(1_500_000_000 + k)) for k in range(126)]


@pytest.fixture(params=["", "integer_ids = true\n"], ids=["text", "integers"])
def ingest_log(tmp_path, store, now, request):
    """Return a function that ingests lines under a declared form, with either kind of ids."""

    def run(rows, header="user,item,stars,time"):
        text = "\n".join([header, *map(",".join, rows)])
        (tmp_path / "log.csv").write_text(text)
        artifact = ingest_declared(tmp_path, parse_spec(DECLARED + request.param, "d"), store, now)
        return artifact, IngestedData(artifact).interactions()

    return run


def changed(place, change):
    """Return LOG with a function applied to one column."""
    return [(*row[:place], change(row[place]), *row[place + 1 :]) for row in LOG]


def test_blanks_in_the_header_and_around_values_change_nothing(ingest_log):
    _, plain = ingest_log(LOG)
    _, blank = ingest_log(
        [(a, f" {b}", f" {c} ", f" {d}") for a, b, c, d in LOG], "user, item, stars , time"
    )
    assert blank.item.tolist() == plain.item.tolist()
    assert blank.value.tolist() == plain.value.tolist()


def test_integers_that_pandas_wrote_as_floats_are_the_integers(ingest_log):
    _, plain = ingest_log(LOG)
    floats = [(f"{a}.0", f"{b}.0", f"{c}.0", f"{d}.0") for a, b, c, d in LOG]
    _, read_ = ingest_log(floats)
    assert (read_.user.tolist(), read_.item.tolist()) == (plain.user.tolist(), plain.item.tolist())
    assert read_.time.tolist() == plain.time.tolist()


def test_ids_of_19_digits_are_told_apart_to_the_last_one(ingest_log):
    artifact, interactions = ingest_log(
        changed(0, lambda user: str(1234567890123456000 + int(user)))
    )
    assert len(np.unique(interactions.user)) == 9
    shown = IngestedData(artifact).side_tables().user_ids
    texts = {str(shown.text(key)) for key in interactions.user.tolist()}
    assert texts == {str(1234567890123456000 + k) for k in range(9)}


@given(st.lists(st.integers(0, 2**70), min_size=2, max_size=30, unique=True))
@settings(max_examples=50, deadline=None)
def test_different_integers_have_different_keys(numbers):
    keys = parse_integer_ids(pa.chunked_array([[str(number) for number in numbers]]))
    assert len({*keys.tolist()}) == len(numbers)
    for number, key in zip(numbers, keys.tolist(), strict=True):
        assert key == id_key(str(number))


@pytest.mark.parametrize("user", ["1.234567890123456e+18", "1234567890123456000.0"])
def test_an_id_that_was_rounded_to_a_float_is_set_aside_with_that_reason(ingest_log, user):
    artifact, _ = ingest_log([*LOG, (user, "1", "5", "1500000099")])
    (row,) = quarantined(artifact)
    assert "user was rounded" in row["reason"]
    assert user in row["reason"]


@pytest.mark.parametrize("word", ["NaN", "NULL", "None", r"\N", "<NA>"])
def test_a_word_for_a_missing_value_is_no_id(ingest_log, word):
    artifact, interactions = ingest_log([*LOG, (word, "1", "5", "1500000099")])
    assert len(quarantined(artifact)) == 1
    assert len(np.unique(interactions.user)) == 9


def test_half_stars_and_iso_times_are_read(ingest_log):
    _, interactions = ingest_log(
        [
            (a, b, "4.5", f"2018-01-01T00:{number:02}:00+09:00")
            for number, (a, b, *_) in enumerate(LOG[:40])
        ]
        + [("77", "9", "0.5", "2018-02-01T00:00:00Z")]
    )
    assert {*interactions.value.tolist()} == {0.5, 4.5}
    assert interactions.time[0] == 1514732400


def test_a_rule_that_no_row_fulfils_is_told_with_the_values(ingest_log):
    with pytest.raises(InputError, match=r"none of the .* stars >= 4, whose values go from 1 to 3"):
        ingest_log(changed(2, lambda stars: str(1 + int(stars) % 3)))


def test_lines_that_end_with_a_carriage_return_alone_are_refused(kmrd, store, now):
    path = kmrd / "rates.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    with pytest.raises(InputError, match="carriage return alone"):
        ingest(kmrd, store, now)

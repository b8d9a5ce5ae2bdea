"""What is new is counted once, and a past that changed is listed row by row."""

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.conftest import ingest
from widedeep.data.changes import UNEXPECTED_FILE, compare_data
from widedeep.inputs import InputError
from widedeep.store import ArtifactStore

NOTHING = {"new": 0, "changed": 0, "gone": 0}
LATER = 1_500_009_000


@pytest.fixture
def compare_after(kmrd, store, now):
    """Return a function that changes the folder by another one and compares."""

    def compare(change):
        before = ingest(kmrd, store, now)
        change()
        return compare_data(before, ingest(kmrd, store, now), store)

    return compare


def edit(path, change):
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def unexpected(artifact):
    rows = pq.read_table(artifact.path / UNEXPECTED_FILE).to_pylist()
    return [tuple(row.values()) for row in rows]


def test_the_same_files_bring_nothing(compare_after):
    changes = compare_after(lambda: None)
    assert changes.summary == {
        "interactions": {"new": 0, "late": 0, "changed": 0, "gone": 0},
        "items": NOTHING,
        "files": NOTHING,
    }
    assert not unexpected(changes)


def test_a_row_that_was_added_is_new_or_late_by_its_time(compare_after, kmrd):
    late = 1_500_000_030
    lines = [f"77,10001,10,{LATER}\n", f"77,10002,3,{late}\n"]
    changes = compare_after(lambda: edit(kmrd / "rates.csv", lambda rows: rows + lines))
    assert changes.summary["interactions"] == {"new": 1, "late": 1, "changed": 0, "gone": 0}
    assert changes.summary["files"] == NOTHING | {"changed": 1}
    assert unexpected(changes) == [("late", 77, 10002, late, None, 3)]


def test_a_file_that_was_added_keeps_what_was_there(compare_after, kmrd):
    part = kmrd / "rates-2020.csv"
    changes = compare_after(lambda: part.write_text(f"user,movie,rate,time\n77,10001,10,{LATER}\n"))
    assert changes.summary["interactions"] == {"new": 1, "late": 0, "changed": 0, "gone": 0}
    assert changes.summary["files"] == NOTHING | {"new": 1}


def test_an_old_row_that_changed_is_listed_with_both_values(compare_after, kmrd):
    first = "0,10001,1,1500000000\n"
    changes = compare_after(
        lambda: edit(
            kmrd / "rates.csv",
            lambda rows: [row.replace(first, "0,10001,9,1500000000\n") for row in rows],
        )
    )
    assert changes.summary["interactions"] == {"new": 0, "late": 0, "changed": 1, "gone": 0}
    assert unexpected(changes) == [("changed", 0, 10001, 1_500_000_000, 1, 9)]


def test_an_old_row_that_vanished_is_listed(compare_after, kmrd):
    changes = compare_after(lambda: edit(kmrd / "rates.csv", lambda rows: rows[:1] + rows[2:]))
    assert changes.summary["interactions"] == {"new": 0, "late": 0, "changed": 0, "gone": 1}
    assert unexpected(changes) == [("gone", 0, 10001, 1_500_000_000, 1, None)]


def test_items_are_compared_too(compare_after, kmrd):
    def change(rows):
        return [row.replace("12세 관람가", "15세 관람가") for row in rows] + [
            "10005\t새 영화\t\t\t\n"
        ]

    changes = compare_after(lambda: edit(kmrd / "movies.txt", change))
    assert changes.summary["items"] == {"new": 1, "changed": 1, "gone": 0}


def test_the_order_of_lines_is_no_change(compare_after, kmrd):
    changes = compare_after(lambda: edit(kmrd / "rates.csv", lambda rows: rows[:1] + rows[:0:-1]))
    assert changes.summary["interactions"] == {"new": 0, "late": 0, "changed": 0, "gone": 0}


def test_an_artefact_of_an_earlier_version_is_refused_with_what_to_do(kmrd, store, now):
    before = ingest(kmrd, store, now)
    (before.path / "dataset.json").unlink()
    edit(kmrd / "rates.csv", lambda rows: rows[:-1])
    with pytest.raises(InputError, match=rf"{before.path} .*earlier version.*--home.*events"):
        compare_data(before, ingest(kmrd, store, now), store)


EVENTS = st.dictionaries(
    st.tuples(st.integers(0, 2), st.integers(10_001, 10_004), st.integers(0, 5)),
    st.integers(1, 10),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30)
@given(then=EVENTS, now=EVENTS)
def test_any_two_states_of_a_file_differ_by_what_is_reported(tmp_path_factory, then, now):
    folder = tmp_path_factory.mktemp("kmrd")
    store = ArtifactStore(folder / "store")
    (folder / "movies.txt").write_text(
        "movie\ttitle\ttitle_eng\tyear\tgrade\n"
        + "".join(f"{item}\t\t\t\t\n" for item in range(10_001, 10_005))
    )

    def ingested(events):
        rows = [f"{u},{m},{value},{t}\n" for (u, m, t), value in events.items()]
        (folder / "rates.csv").write_text("user,movie,rate,time\n" + "".join(rows))
        return ingest(folder, store, LATER)

    changes = compare_data(ingested(then), ingested(now), store)
    last = max(time for *_, time in then)
    expected = {
        ("late", *event, None, value)
        for event, value in now.items()
        if event not in then and event[-1] <= last
    }
    expected |= {("gone", *event, then[event], None) for event in then.keys() - now.keys()}
    expected |= {
        ("changed", *event, then[event], now[event])
        for event in then.keys() & now.keys()
        if then[event] != now[event]
    }
    assert set(unexpected(changes)) == expected
    new = [event for event in now.keys() - then.keys() if event[-1] > last]
    assert changes.summary["interactions"]["new"] == len(new)

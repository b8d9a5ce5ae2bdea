"""A server's event log is one more rating file: read once, up to its last whole line."""

import threading

import pyarrow.parquet as pq
import pytest

from widedeep.data import events
from widedeep.data.ingest import ingest
from widedeep.data.ratings import Ratings
from widedeep.errors import InputError


@pytest.fixture
def log(tmp_path):
    """Two ratings of a new user, one repeat of a pair in rates.csv, and a line that was cut off."""
    path = tmp_path / "home" / events.NAME
    path.parent.mkdir()
    rows = ["77,10001,10,1550000000", "77,10002,3,1550000001", "0,10001,9,1550000002"]
    path.write_text(events.HEADER + "\n".join(rows) + "\n77,100")
    return path


def test_its_rows_are_counted_once_each_and_named_where_they_matter(kmrd, store, now, log):
    without, found = ingest(kmrd, store, now), ingest(kmrd, store, now, log)
    counts = found.summary["counts"]
    assert counts == {"read": 43, "examples": 42, "superseded": 1, "quarantined": 0}
    assert without.id != found.id
    assert found.key["files"].keys() - without.key["files"].keys() == {events.NAME}
    assert Ratings(found).last_time == 1550000002
    (repeat,) = pq.read_table(found.path / "superseded.parquet").to_pylist()
    assert (repeat["file"], repeat["line"]) == (events.NAME, 4)
    assert ingest(kmrd, store, now, log) == found, "the same events are not ingested twice"


@pytest.mark.parametrize("text", [None, "", "user,mo", events.HEADER, events.HEADER + "77,10"])
def test_without_a_whole_rating_nothing_changes(kmrd, store, now, tmp_path, text):
    path = tmp_path / events.NAME
    if text is not None:
        path.write_text(text)
    assert ingest(kmrd, store, now, path) == ingest(kmrd, store, now)


def test_events_are_set_aside_one_by_one_however_many_are_bad(kmrd, store, now, log):
    log.write_text(events.HEADER + "77,10001,10,1550000000\n77,99,10,1550000000\n")
    found = ingest(kmrd, store, now, log)
    assert found.summary["quarantined_by_reason"] == {"movie is not in movies.txt": 1}
    assert found.summary["counts"]["examples"] == 41


def test_a_folder_that_has_a_file_of_that_name_is_refused(kmrd, store, now, log):
    (kmrd / events.NAME).write_text((kmrd / "rates.csv").read_text())
    with pytest.raises(InputError, match=f"has a file {events.NAME}.*another name is wanted"):
        ingest(kmrd, store, now, log)


def test_a_log_that_grows_meanwhile_gives_a_prefix_of_whole_rows(kmrd, store, now, log):
    log.write_text(events.HEADER)
    done = threading.Event()

    def append():
        with log.open("a", buffering=1) as file:
            user = 100
            while not done.is_set():
                file.write(f"{user},100")
                file.flush()
                file.write("01,10,1550000000\n")
                user += 1

    writer = threading.Thread(target=append)
    writer.start()
    try:
        found = [ingest(kmrd, store, now, log) for _ in range(5)]
    finally:
        done.set()
        writer.join()
    for artifact in found:
        users = Ratings(artifact).load().user
        served = sorted(users[users >= 100].tolist())
        assert served == list(range(100, 100 + len(served)))
        assert artifact.summary["counts"]["read"] == 40 + len(served)
        assert artifact.summary["counts"]["quarantined"] == 0


def test_the_last_line_end_is_found_however_long_the_torn_line_is(tmp_path):
    path = tmp_path / "long"
    for whole in (b"", b"a\n", b"a\nb\n" * 40_000):
        path.write_bytes(whole + b"x" * 70_000)
        assert events.whole_lines(path) == len(whole)

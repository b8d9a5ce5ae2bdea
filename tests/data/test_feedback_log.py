"""A feedback log is one more file of interactions: read once, up to its last complete line.

What was acknowledged is on the disk, whatever happens to the process or the file.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tests.data.conftest import ingest
from tests.worlds import KMRD, event, log_line
from widedeep.data import feedback_log
from widedeep.data.dataset_file import load_spec
from widedeep.data.feedback_log import (
    FEEDBACK_FILE,
    FEEDBACK_HEADER,
    TORN_FOLDER,
    FeedbackEvent,
    FeedbackLog,
    complete_size,
    feedback_events,
    feedback_size,
    read_feedback,
    read_feedback_with_texts,
)
from widedeep.data.ids import id_key
from widedeep.data.ingest import ingest as ingest_with
from widedeep.data.tables import IngestedData
from widedeep.inputs import InputError
from widedeep.workspace import BusyError


@pytest.fixture
def log(tmp_path):
    """Return a log of two ratings of a new user, a repeat of rates.csv, and an incomplete line."""
    path = tmp_path / "home" / FEEDBACK_FILE
    path.parent.mkdir()
    rows = [(77, 10001, 10, 1550000000), (77, 10002, 3, 1550000001), (0, 10001, 9, 1550000002)]
    path.write_text(FEEDBACK_HEADER + "".join(log_line(*row) for row in rows) + "77\t100")
    return path


def test_its_rows_are_counted_once_each_and_named_where_they_matter(kmrd, store, now, log):
    without, artifact = ingest(kmrd, store, now), ingest(kmrd, store, now, log)
    counts = artifact.summary["counts"]
    assert counts == {"read": 43, "examples": 42, "superseded": 1, "quarantined": 0}
    assert without.id != artifact.id
    assert artifact.key["files"].keys() - without.key["files"].keys() == {FEEDBACK_FILE}
    assert IngestedData(artifact).last_time == 1550000002
    (repeat,) = pq.read_table(artifact.path / "superseded.parquet").to_pylist()
    assert (repeat["file"], repeat["line"]) == (FEEDBACK_FILE, 4)
    assert ingest(kmrd, store, now, log) == artifact, "the same events are not ingested twice"


@pytest.mark.parametrize(
    "text", [None, "", "user\tit", FEEDBACK_HEADER, FEEDBACK_HEADER + "77\t10"]
)
def test_without_a_complete_rating_nothing_changes(kmrd, store, now, tmp_path, text):
    path = tmp_path / FEEDBACK_FILE
    if text is not None:
        path.write_text(text)
    assert ingest(kmrd, store, now, path) == ingest(kmrd, store, now)


def test_ratings_of_the_log_are_quarantined_one_by_one_however_many_are_bad(kmrd, store, now, log):
    rows = [log_line(77, item, 10, 1550000000) for item in (10001, 99)]
    log.write_text(FEEDBACK_HEADER + "".join(rows))
    summary = ingest(kmrd, store, now, log).summary
    assert summary["quarantined_by_reason"] == {"item is not in movies.txt": 1}
    assert summary["counts"]["examples"] == 41


def test_a_folder_that_has_a_file_of_that_name_is_refused(kmrd, store, now, log):
    (kmrd / "rates.csv").rename(kmrd / FEEDBACK_FILE)
    spec = replace(KMRD, interactions=replace(KMRD.interactions, files=("feedback.*",)))
    with pytest.raises(InputError, match=f"has a file {FEEDBACK_FILE}.*another name"):
        ingest_with(kmrd, spec, store, now, log)


def test_a_log_that_grows_while_it_is_read_yields_its_first_complete_rows(kmrd, store, now, log):
    log.write_text(FEEDBACK_HEADER)
    done = threading.Event()

    def append():
        with log.open("a", buffering=1) as file:
            user = 100
            while not done.is_set():
                line = log_line(user, 10001, 10, 1550000000)
                file.write(line[:7])
                file.flush()
                file.write(line[7:])
                user += 1

    writer = threading.Thread(target=append)
    writer.start()
    try:
        artifacts = [ingest(kmrd, store, now, log) for _ in range(5)]
    finally:
        done.set()
        writer.join()
    for artifact in artifacts:
        users = IngestedData(artifact).interactions().user
        served = sorted(users[users >= 100].tolist())
        assert served == list(range(100, 100 + len(served)))
        assert artifact.summary["counts"]["read"] == 40 + len(served)
        assert artifact.summary["counts"]["quarantined"] == 0


def test_the_last_line_end_is_found_however_long_the_torn_line_is(tmp_path):
    path = tmp_path / "long"
    for complete in (b"", b"a\n", b"a\nb\n" * 40_000):
        path.write_bytes(complete + b"x" * 70_000)
        assert complete_size(path) == len(complete)


FIRST = event(7, 10001, 10, 1_600_000_000)


def all_news(flush):
    return [True] * len(flush.events)


def rows(path):
    return list(feedback_events(read_feedback(path, KMRD)))


def test_what_is_acknowledged_is_flushed_and_was_applied_before(tmp_path, monkeypatch):
    synced, applied, real = [], [], os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (real(file), synced.append(True)))

    def apply(flush):
        assert len(synced) == len(applied) + 1, "on the disk first"
        applied.append(flush)
        return [False]

    with FeedbackLog(tmp_path, apply) as log:
        assert log.append(FIRST).result(5) is False
    assert rows(tmp_path / FEEDBACK_FILE) == [FIRST] == list(applied[0].events)
    assert applied[0].end == (tmp_path / FEEDBACK_FILE).stat().st_size
    assert (
        tmp_path / FEEDBACK_FILE
    ).read_text() == FEEDBACK_HEADER + "7\t10001\t1600000000\t1\t10\t\n"


def test_ratings_that_wait_together_share_a_flush(tmp_path, monkeypatch):
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (time.sleep(0.02), real(file)))
    sizes = []

    def apply(flush):
        sizes.append(len(flush.events))
        return all_news(flush)

    events = [event(user, 10001, 1, 5) for user in range(500)]
    with FeedbackLog(tmp_path, apply) as log:
        done = [log.append(one) for one in events]
        assert not wait(done, 10).not_done
    assert len(sizes) < 10
    assert sum(sizes) == 500
    assert rows(tmp_path / FEEDBACK_FILE) == events, "in their order"


def test_a_log_goes_on_where_it_ended(tmp_path):
    for user in range(3):
        with FeedbackLog(tmp_path, all_news) as log:
            log.append(event(user, 1, 1, 1)).result(5)
    assert [event.user for event in rows(tmp_path / FEEDBACK_FILE)] == [0, 1, 2]


def test_an_incomplete_line_is_set_aside_and_its_bytes_are_counted(tmp_path):
    path = tmp_path / FEEDBACK_FILE
    path.write_text(FEEDBACK_HEADER + "7\t10001\t1600000000\t1\t10\t\n8\t100")
    with FeedbackLog(tmp_path, all_news) as log:
        assert log.torn_bytes == len("8\t100")
        log.append(event(9, 10001, 10, 1)).result(5)
    assert [event.user for event in rows(path)] == [7, 9]
    (torn_line,) = (tmp_path / TORN_FOLDER).iterdir()
    assert torn_line.read_text() == "8\t100"


@pytest.mark.parametrize("text", ["", "user\tit"])
def test_an_incomplete_header_is_written_again(tmp_path, text):
    (tmp_path / FEEDBACK_FILE).write_text(text)
    with FeedbackLog(tmp_path, all_news) as log:
        log.append(FIRST).result(5)
    assert rows(tmp_path / FEEDBACK_FILE) == [FIRST]


def test_another_file_is_never_written_to(tmp_path):
    (tmp_path / FEEDBACK_FILE).write_text("something else\n")
    with pytest.raises(InputError, match=r"not a feedback log: .*something else.*user.*context"):
        FeedbackLog(tmp_path, all_news)
    assert (tmp_path / FEEDBACK_FILE).read_text() == "something else\n"


def test_lines_that_are_not_ratings_are_skipped(tmp_path):
    path = tmp_path / FEEDBACK_FILE
    good = [log_line(1, 2, 3, 4), log_line(5, 6, 7, 8)]
    bad = ["\n", "1\t2\n", "x\t2\t4\t0\t3\t\n", "1\t2\t4\t0\t11\t\n", '"1\t2\t4\t0\t3\t\n']
    bad += [f"5\t6\t{'9' * 20}\t0\t7\t\n", "5\t6\t8\tperhaps\t7\t\n"]
    path.write_text(FEEDBACK_HEADER + good[0] + "".join(bad) + good[1])
    assert rows(path) == [event(1, 2, 3, 4), event(5, 6, 7, 8)]


def test_the_log_of_an_earlier_version_is_taken_over_once(kmrd, store, now, log):
    former = "user,movie,rate,time\n77,10001,10,1550000000\n77,10002,3,1550000001\n0,10001,9,15"
    log.with_name("rates-events.csv").write_text(former + "50000002\n7,1")
    with_log = ingest(kmrd, store, now, log)
    log.unlink()
    assert ingest(kmrd, store, now, log) == with_log
    with FeedbackLog(log.parent, all_news) as taken_over:
        taken_over.append(FIRST).result(5)
    assert rows(log)[-1] == FIRST
    assert len(rows(log)) == 4


def test_a_server_that_starts_while_ingest_takes_a_log_over_loses_nothing(tmp_path, monkeypatch):
    former = "user,movie,rate,time\n77,10001,10,1550000000\n"
    (tmp_path / "rates-events.csv").write_text(former)
    real = feedback_log.atomic_write

    def serve():
        with FeedbackLog(tmp_path, all_news) as log:
            log.append(FIRST).result(5)

    server = threading.Thread(target=serve)

    def start_the_server_first(path):
        monkeypatch.undo()
        server.start()
        server.join(0.3)
        return real(path)

    monkeypatch.setattr(feedback_log, "atomic_write", start_the_server_first)
    feedback_log.open_feedback(tmp_path / FEEDBACK_FILE, KMRD)
    server.join(5)
    assert rows(tmp_path / FEEDBACK_FILE) == [event(77, 10001, 10, 1550000000), FIRST]


CLICKS = """version = 1
name = "clicks"
[interactions]
files = ["log.csv"]
separator = ","
user = "user"
item = "item"
time = "time"
time_unit = "s"
label = { column = "clicked" }
repeats = "all"
"""
CLICK_FEATURES = """
[[features]]
name = "device"
from = "interactions.agent"
type = "category"
pattern = '^([^/]+)/'
[[features]]
name = "agent"
from = "interactions.agent"
type = "category"
[[features]]
name = "price"
from = "interactions.value"
type = "number"
[[features]]
name = "tags"
from = "interactions.tags"
type = "bag"
side = "user"
separator = "|"
"""


@pytest.fixture
def clicks(tmp_path):
    """Return a folder of one click, whose features are not called as their columns."""
    folder = tmp_path / "clicks"
    folder.mkdir()
    (folder / "dataset.toml").write_text(CLICKS + CLICK_FEATURES, encoding="utf-8")
    header = "user,item,time,clicked,agent,value,tags\n"
    (folder / "log.csv").write_text(header + "u,i,1500000000,0,web/1,2,old|new\n")
    return folder


def click(given):
    return FeedbackEvent(id_key("철수"), 2, 1.0, 1_600_000_000, True, given, "철수", "2")


def context_of(path, spec):
    context = read_feedback(path, spec).context
    texts = {name: context[name].to_texts().to_pylist() for name in ("device", "agent")}
    return texts | {"price": context["price"].tolist()}


def test_what_a_request_says_is_logged_under_the_names_of_features(tmp_path, clicks):
    given = {"device": "앱", "agent": 'a\t"b"\n', "price": 3.5}
    with FeedbackLog(tmp_path, all_news) as log:
        log.append(click(given)).result(5)
    path, spec = tmp_path / FEEDBACK_FILE, load_spec(clicks)
    assert path.read_text(encoding="utf-8").startswith(FEEDBACK_HEADER + "철수\t2\t1600000000\t1\t")
    assert read_feedback(path, spec).user.tolist() == [id_key("철수")]
    assert read_feedback_with_texts(path, spec)[1] == ["철수"], "and item 2 is no user"
    assert context_of(path, spec) == {"device": ["앱"], "agent": ['a\t"b"'], "price": [3.5]}


def test_only_what_stood_in_the_log_at_a_moment_is_read(tmp_path, clicks):
    path, spec = tmp_path / FEEDBACK_FILE, load_spec(clicks)
    assert feedback_size(path) == 0
    with FeedbackLog(tmp_path, all_news) as log:
        log.append(click({})).result(5)
        end = feedback_size(path)
        log.append(replace(click({}), user=id_key("영희"), user_id="영희")).result(5)
    for stop, users in ((0, []), (end, ["철수"]), (feedback_size(path), ["철수", "영희"])):
        assert read_feedback_with_texts(path, spec, end=stop)[1] == users
        assert read_feedback(path, spec, end=stop).user.tolist() == [*map(id_key, users)]


def test_what_a_request_leaves_out_is_missing(tmp_path, clicks):
    with FeedbackLog(tmp_path, all_news) as log:
        log.append(click({"device": None})).result(5)
    context = read_feedback(tmp_path / FEEDBACK_FILE, load_spec(clicks)).context
    assert context["device"].to_texts().to_pylist() == [""]
    assert str(context["price"].tolist()) == "[nan]"


def test_a_bag_that_a_request_gives_is_ingested_value_by_value(tmp_path, clicks, store, now):
    with FeedbackLog(tmp_path, all_news) as log:
        log.append(click({"tags": ["old", "a|b"]})).result(5)
    artifact = ingest_with(clicks, load_spec(clicks), store, now, tmp_path / FEEDBACK_FILE)
    users = IngestedData(artifact).side_tables().users
    tags = dict(zip(users["id"].to_pylist(), users["tags"].to_pylist(), strict=True))
    assert tags == {"u": ["old", "new"], "철수": ["old", "a|b"]}


def test_a_piece_of_the_log_is_read_by_its_bytes(tmp_path):
    ends = []
    with FeedbackLog(tmp_path, lambda flush: ends.append(flush.end) or [True]) as log:
        for user in range(3):
            log.append(event(user, 1, 1, 1)).result(5)
    path = tmp_path / FEEDBACK_FILE
    assert read_feedback(path, KMRD, ends[0], ends[1]).user.tolist() == [1]
    assert len(read_feedback(path, KMRD, ends[2])) == 0


def test_a_second_server_is_refused(tmp_path):
    with FeedbackLog(tmp_path, all_news), pytest.raises(BusyError, match="another server writes"):
        FeedbackLog(tmp_path, all_news)
    FeedbackLog(tmp_path, all_news).close()


@pytest.mark.parametrize("call", ["fdatasync", "write"])
def test_a_full_disk_is_reported_and_leaves_no_half_line(tmp_path, monkeypatch, call):
    real_write = os.write

    def full(file, *text):
        if text:
            real_write(file, text[0][:5])
        raise OSError(28, "No space left on device")

    with FeedbackLog(tmp_path, all_news) as log:
        log.append(FIRST).result(5)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(OSError, match="No space"):
                log.append(event(8, 1, 1, 1)).result(5)
        log.append(event(9, 1, 1, 1)).result(5)
    assert [event.user for event in rows(tmp_path / FEEDBACK_FILE)] == [7, 9]


def test_a_rating_whose_request_was_cancelled_is_not_written(tmp_path, monkeypatch):
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (time.sleep(0.1), real(file)))
    with FeedbackLog(tmp_path, all_news) as log:
        log.append(FIRST)
        time.sleep(0.05)
        assert log.append(event(8, 1, 1, 1)).cancel()
        log.append(event(9, 1, 1, 1)).result(5)
    assert [event.user for event in rows(tmp_path / FEEDBACK_FILE)] == [7, 9]


def test_an_error_in_one_flush_does_not_end_the_log(tmp_path):
    errors = iter([RuntimeError("a bug"), None])

    def apply(flush):
        error = next(errors)
        if error:
            raise error
        return all_news(flush)

    with FeedbackLog(tmp_path, apply) as log:
        with pytest.raises(RuntimeError, match="a bug"):
            log.append(FIRST).result(5)
        assert log.append(FIRST).result(5)


WRITER = """
import sys
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from widedeep.data.feedback_log import FeedbackEvent, FeedbackLog
log = FeedbackLog(Path(sys.argv[1]), lambda flush: [True] * len(flush.events))
lock = Lock()
def work(first):
    for user in count(first, 8):
        log.append(FeedbackEvent(user, 10001, 10.0, 1, True)).result()
        with lock:
            sys.stdout.write(f"{user}\\n")
            sys.stdout.flush()
for first in range(8):
    Thread(target=work, args=(first,), daemon=True).start()
sys.stdin.read()
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed_under_load(tmp_path):
    acknowledged = []
    for _ in range(3):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], text=True, **pipes) as run:
            lines = [run.stdout.readline()]
            time.sleep(0.3)
            os.kill(run.pid, signal.SIGKILL)
            lines += run.stdout.readlines()
        acknowledged += [int(line) for line in lines if line.endswith("\n")]
    with FeedbackLog(tmp_path, all_news):
        users = [event.user for event in rows(tmp_path / FEEDBACK_FILE)]
    assert len(acknowledged) > 20
    assert set(acknowledged) <= set(users)
    assert sum(map(users.count, set(acknowledged))) >= len(acknowledged)

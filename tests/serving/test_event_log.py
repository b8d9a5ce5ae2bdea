"""What was acknowledged is on the disk, whatever happens to the process or the file."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait

import pytest

from widedeep.data.events import HEADER, NAME
from widedeep.errors import InputError
from widedeep.home import BusyError
from widedeep.serving.event_log import TORN, Event, EventLog, read_events

FIRST = Event(7, 10001, 10, 1_600_000_000)


def all_news(flush):
    return [True] * len(flush.events)


def rows(path):
    return [Event(**row) for row in read_events(path).to_pylist()]


def test_what_is_acknowledged_is_flushed_and_was_applied_before(tmp_path, monkeypatch):
    synced, applied, real = [], [], os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (real(file), synced.append(True)))

    def apply(flush):
        assert len(synced) == len(applied) + 1, "on the disk first"
        applied.append(flush)
        return [False]

    with EventLog(tmp_path, apply) as log:
        assert log.append(FIRST).result(5) is False
    assert rows(tmp_path / NAME) == [FIRST] == list(applied[0].events)
    assert applied[0].end == (tmp_path / NAME).stat().st_size
    assert (tmp_path / NAME).read_text() == HEADER + "7,10001,10,1600000000\n"


def test_ratings_that_wait_together_share_a_flush(tmp_path, monkeypatch):
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (time.sleep(0.02), real(file)))
    sizes = []

    def apply(flush):
        sizes.append(len(flush.events))
        return all_news(flush)

    events = [Event(user, 10001, 1, 5) for user in range(500)]
    with EventLog(tmp_path, apply) as log:
        done = [log.append(event) for event in events]
        assert not wait(done, 10).not_done
    assert len(sizes) < 10
    assert sum(sizes) == 500
    assert rows(tmp_path / NAME) == events, "in their order"


def test_a_log_goes_on_where_it_ended(tmp_path):
    for user in range(3):
        with EventLog(tmp_path, all_news) as log:
            log.append(Event(user, 1, 1, 1)).result(5)
    assert [event.user for event in rows(tmp_path / NAME)] == [0, 1, 2]


def test_a_line_that_was_cut_off_is_set_aside_and_counted(tmp_path):
    path = tmp_path / NAME
    path.write_text(HEADER + "7,10001,10,1600000000\n8,100")
    with EventLog(tmp_path, all_news) as log:
        assert log.torn == len("8,100")
        log.append(Event(9, 10001, 10, 1)).result(5)
    assert [event.user for event in rows(path)] == [7, 9]
    (kept,) = (tmp_path / TORN).iterdir()
    assert kept.read_text() == "8,100"


@pytest.mark.parametrize("text", ["", "user,mo"])
def test_a_header_that_was_cut_off_is_written_again(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with EventLog(tmp_path, all_news) as log:
        log.append(FIRST).result(5)
    assert rows(tmp_path / NAME) == [FIRST]


def test_another_file_is_never_written_to(tmp_path):
    (tmp_path / NAME).write_text("something else\n")
    with pytest.raises(InputError, match=r"no event log: .*something else.* wanted"):
        EventLog(tmp_path, all_news)
    assert (tmp_path / NAME).read_text() == "something else\n"


def test_lines_that_are_no_ratings_are_passed_over(tmp_path):
    path = tmp_path / NAME
    lines = ["1,2,3,4", "", "x,2,3,4", "1,2", '"1,2,3', "5,6,7,99999999999999999999", "5,6,7,8"]
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    assert rows(path) == [Event(1, 2, 3, 4), Event(5, 6, 7, 8)]


def test_a_piece_of_the_log_is_read_by_its_bytes(tmp_path):
    ends = []
    with EventLog(tmp_path, lambda flush: ends.append(flush.end) or [True]) as log:
        for user in range(3):
            log.append(Event(user, 1, 1, 1)).result(5)
    found = read_events(tmp_path / NAME, ends[0], ends[1])["user"].to_pylist()
    assert found == [1]
    assert len(read_events(tmp_path / NAME, ends[2])) == 0


def test_a_second_server_is_refused(tmp_path):
    with EventLog(tmp_path, all_news), pytest.raises(BusyError, match="another server writes"):
        EventLog(tmp_path, all_news)
    EventLog(tmp_path, all_news).close()


@pytest.mark.parametrize("call", ["fdatasync", "write"])
def test_a_full_disk_is_told_and_leaves_no_half_line(tmp_path, monkeypatch, call):
    real_write = os.write

    def full(file, *text):
        if text:
            real_write(file, text[0][:5])
        raise OSError(28, "No space left on device")

    with EventLog(tmp_path, all_news) as log:
        log.append(FIRST).result(5)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(OSError, match="No space"):
                log.append(Event(8, 1, 1, 1)).result(5)
        log.append(Event(9, 1, 1, 1)).result(5)
    assert [event.user for event in rows(tmp_path / NAME)] == [7, 9]


def test_a_rating_that_nobody_waits_for_is_not_written(tmp_path, monkeypatch):
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (time.sleep(0.1), real(file)))
    with EventLog(tmp_path, all_news) as log:
        log.append(FIRST)
        time.sleep(0.05)
        assert log.append(Event(8, 1, 1, 1)).cancel()
        log.append(Event(9, 1, 1, 1)).result(5)
    assert [event.user for event in rows(tmp_path / NAME)] == [7, 9]


def test_trouble_with_one_flush_does_not_end_the_log(tmp_path):
    answers = iter([RuntimeError("a bug"), None])

    def apply(flush):
        trouble = next(answers)
        if trouble:
            raise trouble
        return all_news(flush)

    with EventLog(tmp_path, apply) as log:
        with pytest.raises(RuntimeError, match="a bug"):
            log.append(FIRST).result(5)
        assert log.append(FIRST).result(5)


WRITER = """
import sys
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from widedeep.serving.event_log import Event, EventLog
log = EventLog(Path(sys.argv[1]), lambda flush: [True] * len(flush.events))
lock = Lock()
def work(first):
    for user in count(first, 8):
        log.append(Event(user, 10001, 10, 1)).result()
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
            told = [run.stdout.readline()]
            time.sleep(0.3)
            os.kill(run.pid, signal.SIGKILL)
            told += run.stdout.readlines()
        acknowledged += [int(line) for line in told if line.endswith("\n")]
    with EventLog(tmp_path, all_news):
        found = [event.user for event in rows(tmp_path / NAME)]
    assert len(acknowledged) > 20
    assert set(acknowledged) <= set(found)
    assert sum(map(found.count, set(acknowledged))) >= len(acknowledged)

"""Whoever watches the registry tells each new champion once, and outlives every version."""

import json
import subprocess
import sys
import time

import pytest

from tasks.champion_watcher import ChampionWatcher
from tasks.champion_watcher_worker import RegistryWatch
from widedeep import decision_log
from widedeep.data.feedback_log import FeedbackLog
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry

MODEL = "widedeep-test"


def test_each_move_of_the_champion_is_seen_once(workspace, tracker, version):
    watch = RegistryWatch(workspace, None)
    assert watch.look() is None
    tracker.promote(MODEL, "1", replacing=None)
    assert watch.look() is None, "the database is left in peace until a decision stands in it"
    decision_log.record(workspace.decisions / MODEL, {"version": "1"})
    found = watch.look()
    assert (found.model, found.number) == (MODEL, "1")
    assert found.served == version("1").served.path
    assert watch.look() is None
    tracker.promote(MODEL, "2", replacing=version("1"))
    assert watch.look().number == "2"
    tracker.promote(MODEL, "1", replacing=version("2"))
    assert watch.look().number == "1", "back is a move, too"
    assert watch.look() is None


def test_of_several_models_none_is_guessed(workspace, tracker):
    tracker.promote(MODEL, "1", replacing=None)
    for model in (MODEL, "widedeep-other"):
        decision_log.record(workspace.decisions / model, {"version": "1"})
    assert RegistryWatch(workspace, None).look() is None
    assert RegistryWatch(workspace, MODEL).look().number == "1"
    assert RegistryWatch(workspace, MODEL, seen="1").look() is None


def saying(*told):
    """A program in the place of `scout.py` that says this and dies."""
    lines = [json.dumps(one) for one in told]
    return [sys.executable, "-c", f"print(*{lines!r}, sep=chr(10))\nraise SystemExit(9)"]


def until(reached, seconds=10):
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture
def service(workspace):
    service = RankingService(workspace, Telemetry())
    yield service
    service.close()


def test_a_version_that_ends_who_tries_it_is_refused_once(workspace, service, monkeypatch):
    monkeypatch.setattr("tasks.champion_watcher._BEGIN_AGAIN", 0.05)
    scout = ChampionWatcher(workspace, MODEL, service, lambda: None)
    scout._command = saying({"trying": "7"})
    with scout.working():
        until(lambda: service.refused)
        assert scout._seen == "7", "whoever begins again is told so"
    refused = service.refused[0]
    assert (refused.number, refused.reason) == ("7", "it ended the process that tried it (9)")


@pytest.fixture
def sighted(tmp_path):
    """A sighting of which everything is missing but an (empty) groundwork."""
    (tmp_path / "groundwork").touch()
    folders = dict.fromkeys(("served", "history"), "/nothing")
    groundwork = str(tmp_path / "groundwork")
    return {"model": MODEL, "number": "7", **folders, "groundwork": groundwork, "fault": None}


def test_a_version_that_cannot_be_loaded_is_refused_and_the_next_is_heard(
    workspace, service, sighted
):
    faulty = {**sighted, "number": "8", "fault": "answers differ"}
    scout = ChampionWatcher(workspace, MODEL, service, lambda: None)
    scout._command = saying(sighted, faulty, {"trouble": "locked"})
    with scout.working():
        until(lambda: len(service.refused) == 2)
    assert [one.number for one in service.refused] == ["7", "8"]
    assert "cannot mmap an empty file" in service.refused[0].reason
    assert scout.fatal is None


@pytest.fixture
def begun(monkeypatch):
    """What each process of a scout was told to have been seen, as it began."""
    monkeypatch.setattr("tasks.champion_watcher._BEGIN_AGAIN", 0.05)
    begun, popen = [], subprocess.Popen

    def counted(command, **pipes):
        begun.append(command[-1])
        return popen(command, **pipes)

    monkeypatch.setattr(subprocess, "Popen", counted)
    return begun


def test_a_version_whose_groundwork_went_with_its_process_is_tried_again(
    workspace, service, sighted, begun
):
    scout = ChampionWatcher(workspace, MODEL, service, lambda: None)
    gone = {**sighted, "groundwork": "/nothing"}
    scout._command = saying({"trying": "7"}, gone)
    with scout.working():
        until(lambda: len(begun) > 1)
    assert begun[:2] == ["", ""], "7 is not among what is not to be tried again"
    assert not service.refused


def test_who_dies_before_the_answer_is_followed_by_another(workspace, service, begun):
    scout = ChampionWatcher(workspace, MODEL, service, lambda: None)
    python, option, code = saying({"wanting": MODEL})
    scout._command = [python, option, f"import os\nos.close(0)\n{code}"]
    with scout.working():
        until(lambda: len(begun) > 1)


def test_a_log_that_another_server_has_stops_this_one(workspace, service):
    stopped = []
    with FeedbackLog(workspace.events / MODEL, lambda _: []):
        scout = ChampionWatcher(workspace, MODEL, service, lambda: stopped.append(True))
        scout._command = saying({"wanting": MODEL})
        with scout.working():
            until(lambda: stopped)
    assert "another server writes" in str(scout.fatal)

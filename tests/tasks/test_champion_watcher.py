"""Each new champion is reported once, and no version can end the watch over the registry."""

import json
import subprocess
import sys
import time

import pytest

from tasks.champion_watcher import ChampionWatcher
from tasks.champion_watcher_worker import RegistryPoller
from widedeep.data.feedback_log import FeedbackLog
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry

MODEL = "widedeep-test"


def test_each_move_of_the_champion_is_reported_once(workspace, store, version):
    poller = RegistryPoller(workspace, None)
    assert poller.poll() is None
    store.promote(MODEL, "1", replacing=None)
    assert poller.poll() is None, "MLflow's database is not read before a decision is logged"
    workspace.decision_log(MODEL).record({"version": "1"})
    champion = poller.poll()
    assert (champion.model, champion.number) == (MODEL, "1")
    assert champion.served == version("1").served.path
    assert poller.poll() is None
    store.promote(MODEL, "2", replacing=version("1"))
    assert poller.poll().number == "2"
    store.promote(MODEL, "1", replacing=version("2"))
    assert poller.poll().number == "1", "a rollback is a move, too"
    assert poller.poll() is None


def test_with_several_models_one_must_be_named(workspace, store):
    store.promote(MODEL, "1", replacing=None)
    for model in (MODEL, "widedeep-other"):
        workspace.decision_log(model).record({"version": "1"})
    assert RegistryPoller(workspace, None).poll() is None
    assert RegistryPoller(workspace, MODEL).poll().number == "1"
    assert RegistryPoller(workspace, MODEL, last_seen="1").poll() is None


def worker_sending(*messages):
    """Return a command in place of the worker's: it sends these messages and exits with 9."""
    lines = [json.dumps(message) for message in messages]
    return [sys.executable, "-c", f"print(*{lines!r}, sep=chr(10))\nraise SystemExit(9)"]


def wait_until(reached, seconds=10):
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture
def service(workspace):
    service = RankingService(workspace, Telemetry())
    yield service
    service.close()


def test_a_version_that_ends_the_process_that_checks_it_is_refused_once(
    workspace, service, monkeypatch
):
    monkeypatch.setattr("tasks.champion_watcher._RESTART_SECONDS", 0.05)
    watcher = ChampionWatcher(workspace, MODEL, service, lambda: None)
    watcher._command = worker_sending({"checking": "7"})
    with watcher.running():
        wait_until(lambda: service.refused)
        assert watcher._last_seen == "7", "the next worker does not check it again"
    (refused,) = service.refused
    assert refused.version == "7"
    assert "exited with status 9" in refused.reason


@pytest.fixture
def candidate(tmp_path):
    """The message of a checked version whose folders are missing and whose warm state is empty."""
    warm_state = tmp_path / "warm_state"
    warm_state.touch()
    folders = dict.fromkeys(("served", "history"), "/nothing")
    warm_state = str(warm_state)
    return {"model": MODEL, "number": "7", **folders, "warm_state": warm_state, "fault": None}


def test_a_version_that_cannot_be_loaded_is_refused_and_the_next_message_is_read(
    workspace, service, candidate
):
    faulty = {**candidate, "number": "8", "fault": "answers differ"}
    watcher = ChampionWatcher(workspace, MODEL, service, lambda: None)
    watcher._command = worker_sending(candidate, faulty, {"error": "locked"})
    with watcher.running():
        wait_until(lambda: len(service.refused) == 2)
    assert [refused.version for refused in service.refused] == ["7", "8"]
    assert "cannot mmap an empty file" in service.refused[0].reason
    assert watcher.fatal is None


@pytest.fixture
def started(monkeypatch):
    """The last argument of each worker that was started: the version not to be checked again."""
    monkeypatch.setattr("tasks.champion_watcher._RESTART_SECONDS", 0.05)
    started, popen = [], subprocess.Popen

    def counted(command, **pipes):
        started.append(command[-1])
        return popen(command, **pipes)

    monkeypatch.setattr(subprocess, "Popen", counted)
    return started


def test_a_version_whose_warm_state_went_with_its_process_is_checked_again(
    workspace, service, candidate, started
):
    watcher = ChampionWatcher(workspace, MODEL, service, lambda: None)
    gone = {**candidate, "warm_state": "/nothing"}
    watcher._command = worker_sending({"checking": "7"}, gone)
    with watcher.running():
        wait_until(lambda: len(started) > 1)
    assert started[:2] == ["", ""], "the next worker may check 7 again"
    assert not service.refused


def test_a_worker_that_ends_before_its_answer_is_restarted(workspace, service, started):
    watcher = ChampionWatcher(workspace, MODEL, service, lambda: None)
    python, option, code = worker_sending({"needs_feedback": MODEL})
    watcher._command = [python, option, f"import os\nos.close(0)\n{code}"]
    with watcher.running():
        wait_until(lambda: len(started) > 1)


def test_a_feedback_log_that_another_server_holds_stops_this_one(workspace, service):
    stopped = []
    with FeedbackLog(workspace.events / MODEL, lambda _: []):
        watcher = ChampionWatcher(workspace, MODEL, service, lambda: stopped.append(True))
        watcher._command = worker_sending({"needs_feedback": MODEL})
        with watcher.running():
            wait_until(lambda: stopped)
    assert "another server writes" in str(watcher.fatal)

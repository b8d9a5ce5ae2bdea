"""Two runs at once, and `kill -9` in the middle of each stage, with real processes."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time

import psutil
import pytest
from filelock import FileLock

from tests.flows.site import COMMAND, SPRUNG, write_traps

# What is printed when the stage (or the step after it) has begun.
STAGES = ("train: epoch 1", "evaluate:")
PATIENCE = 120


@pytest.fixture
def command(simulated, tmp_path, monkeypatch):
    """Return the command; it runs in a folder from which nothing may be imported."""
    traps = tmp_path / "traps"
    traps.mkdir()
    monkeypatch.chdir(write_traps(traps))
    return [
        *COMMAND,
        "retrain",
        "--json",
        "--home",
        str(tmp_path / "home"),
        "--data",
        str(simulated),
    ]


def kill_when(command, line):
    """Start the command, and kill it as soon as it prints `line`."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as run:
        limit = time.monotonic() + PATIENCE
        for printed in run.stdout:
            if line in printed or time.monotonic() > limit:
                break
        os.kill(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL


def states(workspace):
    """Every run's state in Prefect's and in MLflow's own database."""
    with sqlite3.connect(workspace / "prefect" / "prefect.db") as prefect:
        flows = [state for (state,) in prefect.execute("select state_type from flow_run")]
        tasks = [state for (state,) in prefect.execute("select state_type from task_run")]
    with sqlite3.connect(workspace / "mlflow.db") as mlflow:
        runs = [status for (status,) in mlflow.execute("select status from runs")]
    return flows, tasks, runs


def servers_of(workspace):
    """Return the Prefect servers that work on this workspace."""
    servers = []
    for process in psutil.process_iter(["cmdline"]):
        if "prefect.server.api.server:create_app" in (process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                servers += [process] * (
                    process.environ().get("PREFECT_HOME") == str(workspace / "prefect")
                )
    return servers


def test_a_run_killed_in_any_stage_is_finished_by_the_same_command(command, tmp_path):
    for line in STAGES:
        kill_when(command, line)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["champion_version"] == "1"
    assert "train: epoch" not in done.stdout, "a model that was finished is not trained again"
    flows, tasks, runs = states(tmp_path / "home")
    assert flows.count("COMPLETED") == 1
    assert flows.count("CRASHED") == len(STAGES)
    assert set(tasks) <= {"COMPLETED", "CRASHED"}
    assert runs.count("FINISHED") == 1
    assert "RUNNING" not in runs
    assert not list((tmp_path / "home" / "stages" / "drafts").glob("*"))
    assert not servers_of(tmp_path / "home"), "temporary servers of killed runs are ended"
    assert not (tmp_path / "traps" / SPRUNG).exists(), "a file of the current folder was imported"


def test_a_second_run_while_one_works_is_refused_at_once(command, tmp_path):
    (tmp_path / "home").mkdir()
    with FileLock(tmp_path / "home" / "retrain.lock"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "another run is using" in done.stderr.splitlines()[0]
    assert not (tmp_path / "home" / "stages").exists()

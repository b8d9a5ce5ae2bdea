"""A cluster that cannot be used is named; one that was started here ends with whoever did."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.cli import main

PROJECT = Path(__file__).resolve().parents[2]
OURS = """
import sys, time
from pathlib import Path
import flows
from tasks.engine import Engine
from widedeep.inputs import EngineName
from widedeep.workspace import Workspace
with Engine(engine=EngineName.RAY, workers=1).running(Workspace(Path(sys.argv[1]))):
    print("running", flush=True)
    sys.stdin.read(1)
"""


def test_a_cluster_that_does_not_answer_is_said_so(tmp_path, monkeypatch, capsys, tiny):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    arguments = ["retrain", "--data", str(tiny), "--home", str(tmp_path), "--engine", "ray"]
    assert main(arguments) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert "RAY_ADDRESS is 127.0.0.1:9, and no cluster can be reached there" in first


@pytest.mark.parametrize("end", ["well", "kill -9"])
def test_nothing_of_a_local_ray_is_left(tmp_path, end):
    process = subprocess.Popen(
        [sys.executable, "-c", OURS, str(tmp_path)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n"
    started = psutil.Process(process.pid).children(recursive=True)
    assert any("raylet" in child.name() for child in started)
    if end == "well":
        process.stdin.write("x")
        process.stdin.close()
        assert process.wait(60) == 0
    else:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        process.stdin.close()
    process.stdout.close()
    _, alive = psutil.wait_procs(started, timeout=180)  # agents first try to tell a dead head node
    assert not alive

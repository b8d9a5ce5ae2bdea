"""The whole loop with a real server: rate, kill the server, retrain, swap versions, roll back."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from mlflow import MlflowClient

from tasks.registry import open_registry
from tests.flows.site import undocumented
from widedeep.workspace import Workspace

PATIENCE = 60
NEW_USER = 7_000_000


@contextmanager
def server(workspace):
    """Start a server in a process; kill it without warning when the block ends."""
    command = [sys.executable, "-m", "flows.cli", "serve", "--home", str(workspace), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()
            process.stdout.read()


def client_of(process):
    """Wait until the server listens; return a client of it."""
    line = process.stdout.readline()
    assert "serves" in line, line + process.stdout.read()
    url = next(word for word in line.split() if word.startswith("http"))
    return httpx.Client(base_url=url, trust_env=False, timeout=30)


def wait_for(ask, expected, seconds=PATIENCE):
    """Ask again until the answer is the expected one; return the seconds that it took."""
    start = time.monotonic()
    while (answer := ask()) != expected:
        assert time.monotonic() - start < seconds, answer
        time.sleep(0.02)
    return time.monotonic() - start


def version_of(client):
    return client.get("/health").json().get("model", {}).get("version")


def items_for(client):
    items = client.get(f"/recommend/{NEW_USER}", params={"k": 20}).json()["items"]
    return [item["item"] for item in items]


def rate(client, item):
    answer = client.post("/feedback", json={"user": NEW_USER, "item": item, "value": 10})
    assert answer.status_code == 201, answer.text
    return answer.json()


def rated(client):
    return [rating["item"] for rating in client.get(f"/users/{NEW_USER}").json()["ratings"]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("loop")


def promote(workspace, run):
    """Promote by hand, without the dry run of the command: the gate lacks data in a tiny world."""
    registry = open_registry(Workspace(workspace), run["model"])
    reason = "to see it swapped"
    registry.promote(registry.candidate(run["version"], reason), reason)


def break_files_of(workspace, model, version):
    """Truncate the weights of a version and make it champion by MLflow, without a dry run."""
    client = MlflowClient(Workspace(workspace).tracking_uri)
    (weights,) = (
        file
        for file in (workspace / "artifacts").rglob("weights.safetensors")
        if file.parent.name == client.get_model_version(model, version).tags["widedeep.served_id"]
    )
    weights.write_bytes(weights.read_bytes()[:-100])
    client.set_registered_model_alias(model, "champion", version)


def test_feedback_counts_at_once_survives_a_crash_and_is_learned_by_the_next_version(
    workspace, tiny, run_command
):
    # The server starts while a model is trained, which takes about as long.
    with server(workspace) as process:
        first, _ = run_command("retrain", "--data", tiny, "--home", workspace)
        with client_of(process) as client:
            assert client.get("/health").status_code == 503
            assert "no champion yet" in client.get("/health").text
            promote(workspace, first)
            wait_for(lambda: version_of(client), "1")
            before = items_for(client)
            item = before[0]
            assert rate(client, item)["superseded"] is False
            assert rate(client, item)["superseded"] is True
            assert items_for(client) != before
            assert item not in items_for(client)
            os.kill(process.pid, signal.SIGKILL)
    with server(workspace) as process:
        second, _ = run_command("retrain", "--data", tiny, "--home", workspace)
        assert second["version"] == "2"
        assert second["rows"]["read"] == first["rows"]["read"] + 2
        assert second["rows"]["examples"] == first["rows"]["examples"] + 1
        assert second["rows"]["superseded"] == first["rows"]["superseded"] + 1
        with client_of(process) as client:
            wait_for(lambda: version_of(client), "1")
            assert rated(client) == [item]
            promote(workspace, second)
            took = wait_for(lambda: version_of(client), "2")
            assert client.get("/model").json()["promoted"]["version"] == "2"
            assert rated(client) == [item]
            run_command("rollback", "--reason", "to see it come back", "--home", workspace)
            took = max(took, wait_for(lambda: version_of(client), "1"))
            assert took < 10, "an idle machine takes less than 2 s"
            assert client.get("/model").json()["promoted"]["action"] == "rollback"
            break_files_of(workspace, second["model"], "2")
            wait_for(lambda: bool(client.get("/health").json()["refused"]), expected=True)
            assert "cannot be loaded" in client.get("/model").json()["refused"][0]["reason"]
            assert version_of(client) == "1"
            assert rate(client, items_for(client)[0])["superseded"] is False
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
    assert undocumented(workspace) == set()

"""A running `widedeep up`, and questions to its servers."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

import flows
from flows.environment import UP_FILE

PATIENCE = 240
TEAM = "team"
_GIVE_UP = stop_after_delay(PATIENCE)
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


COMMAND = (sys.executable, "-P", "-m", "flows.cli")
"""The console script `widedeep`, which does not import from the current folder either."""
_TRAPS = ("mlflow", "prefect", "torch", "numpy", "pandas", "uvicorn", "flows", "tasks", "widedeep")
_TRAPS += ("multiprocessing", "asyncio", "sitecustomize", "usercustomize")
SPRUNG = "sprung"


def write_traps(folder):
    """Fill a folder with modules that leave a file SPRUNG when they are imported, and fail."""
    text = f"open({str(folder / SPRUNG)!r}, 'a').write(__name__)\nraise SystemExit('a trap')\n"
    for name in _TRAPS:
        (folder / f"{name}.py").write_text(text)
    return folder


def undocumented(workspace):
    """Return what lies in a workspace and is not named in the README of all state."""
    readme = Path(flows.__file__).parents[1] / "mlruns" / "README.md"
    named = re.findall(r"`([a-z.]+)/?`", readme.read_text(encoding="utf-8"))
    return {path.name for path in workspace.iterdir()} - {*named}


class Site:
    """Both servers and the deployments of one workspace."""

    def __init__(self, workspace, data, block=None, folder=None, **variables):
        self.workspace, self.data = workspace, data
        ports = [free_port(), free_port()]
        self.prefect, self.mlflow = (f"http://127.0.0.1:{port}" for port in ports)
        command = [*COMMAND, "up", "--home", str(workspace)]
        command += ["--data", str(data), "--prefect-port", str(ports[0])]
        command += ["--mlflow-port", str(ports[1])]
        if block is not None:
            command += ["--notify", f"{block.get_block_type_slug()}/{TEAM}"]
        self.process = subprocess.Popen(command, env=os.environ | variables, cwd=folder)
        if block is not None:
            self.keep(block)
        wait(lambda: (workspace / UP_FILE).exists() and self.deployment("retrain/on-new-data"))

    def keep(self, block):
        """Save a block on the server, as people do in its UI."""
        wait(lambda: self.deployment("any/any") is None)
        with temporary_settings({PREFECT_API_URL: f"{self.prefect}/api"}):
            block.save(TEAM)

    @retry(retry=retry_if_exception_type(httpx.HTTPError), wait=wait_fixed(1), stop=_GIVE_UP)
    def deployment(self, name):
        answer = httpx.get(f"{self.prefect}/api/deployments/name/{name}")
        return answer.json()["id"] if answer.is_success else None

    @retry(retry=retry_if_exception_type(httpx.HTTPError), wait=wait_fixed(1), stop=_GIVE_UP)
    def ask(self, path, **body):
        """Return the server's answer; a busy server answers 503 and is asked again."""
        return httpx.post(f"{self.prefect}/api/{path}", json=body).raise_for_status().json()

    def runs(self):
        """Return all runs but the planned ones, the newest first."""
        runs = self.ask("flow_runs/filter", sort="START_TIME_DESC")
        return [run for run in runs if run["state_type"] != "SCHEDULED"]

    def emit(self, event, payload):
        """Send an event to the server, as any program may."""
        sent = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": event,
            "resource": {"prefect.resource.id": "widedeep.test"},
            "payload": payload,
        }
        httpx.post(f"{self.prefect}/api/events", json=[sent]).raise_for_status()

    def emitted(self, event):
        """Return the events of a name, the newest first."""
        return self.ask("events/filter", filter={"event": {"name": [event]}})["events"]

    def state(self, run):
        return self.ask("flow_runs/filter", flow_runs={"id": {"any_": [run]}})[0]["state"]

    def end(self, run):
        """Wait for the end of a run, and return its state."""
        wait(lambda: self.state(run)["type"] in FINAL)
        return self.state(run)

    def said(self, run, words):
        logs = self.ask("logs/filter", logs={"flow_run_id": {"any_": [run]}})
        return any(words in line["message"] for line in logs)

    def scheduled(self, name, late):
        """A run that a schedule should have begun some seconds ago, as the server makes it."""
        deployment = self.deployment(name)
        due = datetime.now(UTC) - timedelta(seconds=late)
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        run = self.ask(f"deployments/{deployment}/create_flow_run", state=state)["id"]
        with sqlite3.connect(self.workspace / "prefect" / "prefect.db", timeout=60) as database:
            database.execute("update flow_run set auto_scheduled = 1 where id = ?", (run,))
        return run


def wait(reached):
    limit = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.3)


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]

"""Everything that people look at, by one command: Prefect's server, MLflow's UI, the deployments.

Each is a process of its own with a log in the home; one that dies is started again.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx
from filelock import FileLock, Timeout

from flows.environment import PID_VARIABLE, UP_FILE
from flows.exclusive_run import stop_orphans
from tasks.tracking import TRAINING_VIEW
from widedeep.workspace import UI_VARIABLE, BusyError, Workspace

HOST = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 30.0
RESTART_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the two servers listen, on this machine alone."""

    prefect: int = 4200
    mlflow: int = 5000

    @property
    def prefect_url(self) -> str:
        """Of Prefect's UI."""
        return f"http://{HOST}:{self.prefect}"

    @property
    def mlflow_url(self) -> str:
        """Of MLflow's UI."""
        return f"http://{HOST}:{self.mlflow}"


class ServerProcess:
    """A process with a log, and where to ask whether it is there."""

    def __init__(self, name: str, command: Sequence[str], health: str | None, log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._health = health
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dead(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it (again), out of reach of the terminal's Ctrl-C.

        What a server leaves behind would hold its port; what the deployments leave is a run.
        """
        if self._process is not None and self._health is not None:
            self._end_group(self._process)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own commands
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it answers.

        Raises:
            OSError: It ended, or did not answer in time.
        """
        limit = time.monotonic() + START_SECONDS
        while self._health is not None and not _answers(self._health):
            if self.dead or time.monotonic() > limit:
                raise OSError(f"{self.name} did not start; see {self._log}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Ask it to end, and end it with all its children if it does not."""
        if self._process is None or self.dead:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._end_group(self._process)

    @staticmethod
    def _end_group(process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def up(workspace: Workspace, ports: Ports, deployments: Sequence[str]) -> NoReturn:
    """Start everything and keep it running until Ctrl-C or SIGTERM.

    Args:
        home: Where all state lies.
        ports: Of the servers.
        deployments: Options of `flows.deployments`.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's background job ignores the latter
        signal.signal(number, _stop)
    with _alone(workspace):
        stop_orphans()
        services = _services(workspace, ports, deployments)
        environment = {
            **os.environ,
            PID_VARIABLE: str(os.getpid()),
            "PREFECT_API_URL": f"{ports.prefect_url}/api",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            UI_VARIABLE: ports.mlflow_url,
        }
        try:
            _run(workspace, ports, services, environment)
        finally:
            (workspace.root / UP_FILE).unlink(missing_ok=True)
            for service in reversed(services):
                _say(f"stopping {service.name}")
                service.stop()


def _run(
    workspace: Workspace,
    ports: Ports,
    services: Sequence[ServerProcess],
    environment: Mapping[str, str],
) -> NoReturn:
    _start(workspace, services, environment)
    where = {"pid": os.getpid(), "prefect": ports.prefect_url, "mlflow": ports.mlflow_url}
    (workspace.root / UP_FILE).write_text(json.dumps(where), encoding="utf-8")
    _say(f"Prefect  {ports.prefect_url}   press Run at Deployments")
    _say(f"MLflow   {ports.mlflow_url}/#/experiments?{TRAINING_VIEW}")
    _say(f"logs     {workspace.logs}   (Ctrl-C stops everything)")
    while True:
        time.sleep(RESTART_SECONDS)
        for service in services:
            if service.dead:
                _say(f"{service.name} ended; starting it again")
                service.start(environment)


def _start(
    workspace: Workspace, services: Sequence[ServerProcess], environment: Mapping[str, str]
) -> None:
    """The servers side by side; what needs both of them once they answer."""
    for service in services:
        if service.name == "MLflow":
            _create_store(workspace)
        if service.name == "deployments":
            for server in services:
                server.wait()
        _say(f"starting {service.name}")
        service.start(environment)


def _services(
    workspace: Workspace, ports: Ports, deployments: Sequence[str]
) -> list[ServerProcess]:
    workspace.logs.mkdir(parents=True, exist_ok=True)
    where = ["--host", HOST, "--port"]
    prefect = ["flows.prefect_server", "server", "start", *where, str(ports.prefect)]
    mlflow = ["mlflow", "server", *where, str(ports.mlflow), "--workers", "1"]
    mlflow += ["--backend-store-uri", workspace.tracking_uri]
    mlflow += (
        ["--default-artifact-root", workspace.artifacts_uri] if workspace.artifacts_uri else []
    )
    health = {"Prefect": f"{ports.prefect_url}/api/health", "MLflow": f"{ports.mlflow_url}/health"}
    commands = {
        "Prefect": prefect,
        "MLflow": mlflow,
        "deployments": ["flows.deployments", *deployments],
    }
    if workspace.tracking_uri.startswith("http"):
        del commands["MLflow"]
    return [
        ServerProcess(name, command, health.get(name), workspace.logs / f"{name.lower()}.log")
        for name, command in commands.items()
    ]


def _create_store(workspace: Workspace) -> None:
    """MLflow's, before two processes could begin it at once."""
    if not workspace.tracked:
        from tasks.tracking import Tracker

        with workspace.exclusive():
            Tracker(workspace).models()


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    workspace.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(workspace.root / "up.lock", blocking=False):
            yield
    except Timeout as error:
        raise BusyError(
            f"{workspace.root} is up already; see {workspace.root / UP_FILE}"
        ) from error


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

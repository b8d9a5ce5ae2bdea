"""Prefect's server, MLflow's UI and the deployments, started and kept running by one command.

Each is a process of its own with a log in the workspace. A process that dies is started again.
"""

import json
import os
import signal
import socket
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
import psutil
from filelock import FileLock, Timeout

from flows.environment import HOST, PID_VARIABLE, UP_FILE, stop_orphans
from tasks.model_store import TRAINING_VIEW, ModelStore
from widedeep import Workspace
from widedeep.workspace import UI_VARIABLE, BusyError

START_SECONDS = 180.0
STOP_SECONDS = 30.0
RESTART_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of this machine on which the two servers listen."""

    prefect: int
    mlflow: int

    @property
    def prefect_url(self) -> str:
        """The address of Prefect's UI, on this machine."""
        return f"http://{HOST}:{self.prefect}"

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow's UI, on this machine."""
        return f"http://{HOST}:{self.mlflow}"


class ServerProcess:
    """A child process with a log and, if it is a server, an address that tells its health."""

    def __init__(
        self, name: str, command: Sequence[str], health_url: str | None, log: Path
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._health_url = health_url
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dead(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process, or start it again, in a session that Ctrl-C does not reach.

        Children that a dead server left behind are killed first, because they would hold its port.
        A child of the deployments is left alone: it is a run.
        """
        if self._process is not None and self._health_url is not None:
            self._end_group(self._process)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own commands
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                # uvicorn and Prefect's runs import from the current folder; here lie only logs.
                cwd=self._log.parent,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            OSError: It ended, or did not answer within START_SECONDS.
        """
        limit = time.monotonic() + START_SECONDS
        while self._health_url is not None and not _answers(self._health_url):
            if self.dead or time.monotonic() > limit:
                raise OSError(f"{self.name} did not start; see {self._log}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the process, and kill it with all its children if it has not ended in time."""
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
        workspace: Where all state lies.
        ports: The ports of the servers.
        deployments: Options of `flows.deployments`, as on its command line.

    Raises:
        BusyError: Another `widedeep up` works on the workspace.
        OSError: A server did not start, or another program holds its port.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's background job ignores SIGINT
        signal.signal(number, _interrupt)
    with _only_one(workspace):
        stop_orphans()
        processes = _processes(workspace, ports, deployments)
        _check_port(ports.prefect, "Prefect")
        if any(process.name == "MLflow" for process in processes):
            _check_port(ports.mlflow, "MLflow")
        environment = {
            **os.environ,
            PID_VARIABLE: str(os.getpid()),
            "PREFECT_API_URL": f"{ports.prefect_url}/api",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            UI_VARIABLE: ports.mlflow_url,
        }
        try:
            _run(workspace, ports, processes, environment)
        finally:
            (workspace.root / UP_FILE).unlink(missing_ok=True)
            for process in reversed(processes):
                _print(f"stopping {process.name}")
                process.stop()


def _run(
    workspace: Workspace,
    ports: Ports,
    processes: Sequence[ServerProcess],
    environment: Mapping[str, str],
) -> NoReturn:
    _start(workspace, processes, environment)
    up = {"pid": os.getpid(), "prefect": ports.prefect_url, "mlflow": ports.mlflow_url}
    (workspace.root / UP_FILE).write_text(json.dumps(up), encoding="utf-8")
    _print(f"Prefect  {ports.prefect_url}/deployments   press Run")
    _print(f"MLflow   {ports.mlflow_url}/#/experiments?{TRAINING_VIEW}")
    _print(f"logs     {workspace.logs}   (Ctrl-C stops everything)")
    while True:
        time.sleep(RESTART_SECONDS)
        for process in processes:
            if process.dead:
                _print(f"{process.name} ended; starting it again")
                process.start(environment)


def _start(
    workspace: Workspace, processes: Sequence[ServerProcess], environment: Mapping[str, str]
) -> None:
    """Start the servers side by side, and the deployments once both servers answer."""
    for process in processes:
        if process.name == "MLflow":
            _create_store(workspace)
        if process.name == "deployments":
            for other in processes:
                other.wait()
        _print(f"starting {process.name}")
        process.start(environment)


def _processes(
    workspace: Workspace, ports: Ports, deployments: Sequence[str]
) -> list[ServerProcess]:
    workspace.logs.mkdir(parents=True, exist_ok=True)
    address = ["--host", HOST, "--port"]
    prefect = ["flows.prefect_server", "server", "start", *address, str(ports.prefect)]
    mlflow = ["mlflow", "server", *address, str(ports.mlflow), "--workers", "1"]
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


def _check_port(port: int, name: str) -> None:
    """Raise OSError if a server cannot listen on a port; the message names who holds it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            option = f"--{name.lower()}-port"
            raise OSError(
                f"{name} cannot listen on port {port}: {error.strerror}{_holder_of(port)}; "
                f"choose another port by {option}"
            ) from error


def _holder_of(port: int) -> str:
    """Return which process listens on a port, as far as the system tells."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            holds = connection.status == psutil.CONN_LISTEN and address and address.port == port
            if holds and connection.pid is not None:
                return f", held by {psutil.Process(connection.pid).name()} ({connection.pid})"
    return ""


def _create_store(workspace: Workspace) -> None:
    """Create MLflow's store, which two processes must not do at once."""
    if not workspace.has_tracking_store:
        with workspace.exclusive():
            ModelStore(workspace).models()


@contextmanager
def _only_one(workspace: Workspace) -> Iterator[None]:
    """Raise BusyError if another `widedeep up` works on the workspace."""
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


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

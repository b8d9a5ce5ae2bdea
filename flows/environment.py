"""The environment of this process and of the processes it starts.

Prefect, MLflow and torch read their settings from the environment when they are imported. The
workspace decides where their state lies, so `configure` has to be called before that; importing the
package `flows` does so for the default workspace.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from widedeep import InputError, Workspace
from widedeep.workspace import TRACKING_VARIABLE, UI_VARIABLE

HOST = "127.0.0.1"
"""Where the UIs of Prefect and MLflow are served."""
PREFECT_PORT = 4200
MLFLOW_PORT = 5000
HOME_VARIABLE = "WIDEDEEP_HOME"
PID_VARIABLE = "WIDEDEEP_PID"
"""Holds the process that started a server, which has no use without it."""
UP_FILE = "up.json"
"""A file in the workspace of a running `widedeep up`: its pid and the addresses of its servers."""
_PROJECT = Path(__file__).resolve().parent.parent
_CONFIGURED_VARIABLE = "WIDEDEEP_SETTINGS"
"""Holds the names of the variables that `configure` set in a parent process, not the user."""

_SERVERS = ("http", "https")
_DATABASES = ("postgresql", "mysql", "mssql")
_ANSWER_SECONDS = 10.0
_commands: list[float] = []
"""When the command was called that this process prepares a run for; empty otherwise."""

_SET_BY_USER = frozenset(os.environ) - set(os.environ.get(_CONFIGURED_VARIABLE, "").split())
if "MLFLOW_TRACKING_URI" in _SET_BY_USER:
    os.environ.setdefault(TRACKING_VARIABLE, os.environ["MLFLOW_TRACKING_URI"])


def default_workspace() -> Workspace:
    """Return the workspace of this process.

    It is the folder WIDEDEEP_HOME, else `mlruns/` in the checkout that this code runs from, else
    `mlruns/` in the current folder.
    """
    if HOME_VARIABLE in os.environ:
        return Workspace(Path(os.environ[HOME_VARIABLE]).expanduser().resolve())
    checkout = (_PROJECT / "pyproject.toml").exists()
    return Workspace((_PROJECT if checkout else Path.cwd()) / "mlruns")


def configure(workspace: Workspace) -> None:
    """Point Prefect and MLflow at `workspace`; variables that the user set stay as they are."""
    forced = {
        HOME_VARIABLE: str(workspace.root),
        # No process that is started from here imports a file of the current folder.
        "PYTHONSAFEPATH": "1",
    }
    settings = {
        "PREFECT_HOME": str(workspace.prefect),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The temporary server takes 3 s to start, 11 in a new home, longer on a busy machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "MLFLOW_TRACKING_URI": workspace.tracking_uri,
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "DO_NOT_TRACK": "true",
        # Without heartbeats the server would not notice that a run's process and runner are dead.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # Prefect's default is 10 s, during which a user who pressed Run sees nothing happen.
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        # By default torch's threads wait for each other by spinning: beside one other busy process
        # on two cores training became 10 to 20 times slower. Passive waiting costs 5 % when alone.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    settings |= _server_addresses(workspace)
    settings = {k: v for k, v in settings.items() if k not in _SET_BY_USER} | forced
    os.environ.update(settings)
    os.environ[_CONFIGURED_VARIABLE] = " ".join(settings)


def check_tracking(workspace: Workspace) -> None:
    """Check that MLflow can keep runs and models at the address that the environment names.

    Raises:
        InputError: MLflow has no registry at such an address.
        OSError: It is the address of a server that does not answer as MLflow does.
    """
    uri = workspace.tracking_uri
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in _SERVERS:
        _ask_mlflow(uri)
    elif scheme == "sqlite":
        folder = Path(uri.removeprefix("sqlite:///")).parent
        if folder != workspace.root and not folder.is_dir():
            raise InputError(f"MLflow is to keep its runs in {uri}, but {folder} is no folder")
    elif scheme not in _DATABASES:
        raise InputError(
            f"MLflow is to keep its runs in {uri}, where it has no registry of models; expected a "
            "database (sqlite:///FILE, postgresql://…) or a server (http://…) in "
            f"{TRACKING_VARIABLE} or MLFLOW_TRACKING_URI"
        )


def _ask_mlflow(uri: str) -> None:
    import httpx  # noqa: PLC0415  commands that look something up need none

    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        problem = f"does not answer ({error})"
    else:
        if answer.is_success:
            return
        problem = f"answers {answer.status_code} to /health, which MLflow does not"
    raise OSError(
        f"MLflow's server {uri} {problem}; start it, or unset {TRACKING_VARIABLE} and "
        "MLFLOW_TRACKING_URI to keep runs and models in the workspace"
    )


def command_started() -> float | None:
    """Return when the command of this process was called, `time.perf_counter`, and forget it.

    None in a process that runs no command, and for all but the first run of a command.
    """
    return _commands.pop() if _commands else None


def prepare_command() -> None:
    """Set what a run in this process needs, with Prefect's temporary server.

    The server learns which process started it, so that the next command can end it if that process
    was killed. The terminal is left to `flows.console`; Prefect's own lines go to its log, which
    its UI shows.
    """
    _commands[:] = [time.perf_counter()]
    os.environ[PID_VARIABLE] = str(os.getpid())
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def stop_orphans() -> None:
    """End the processes whose starter, named by PID_VARIABLE in their environment, is dead."""
    for process, starter in processes_with(PID_VARIABLE):
        if not psutil.pid_exists(int(starter)):
            with suppress(psutil.Error):
                process.terminate()


def processes_with(variable: str) -> Iterator[tuple[psutil.Process, str]]:
    """Yield the processes of this machine that were started with a variable, and its value.

    Processes that have just ended, or whose environment may not be read, are left out.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            value = process.environ().get(variable)
            if value is not None:
                yield process, value


def running_servers(workspace: Workspace) -> dict[str, str]:
    """Return the addresses of the UIs, by `prefect` and `mlflow`, that are served already.

    They are those of a running `widedeep up`, or of servers that the user's settings name.
    """
    try:
        up = json.loads((workspace.root / UP_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        up = {}
    servers = {}
    if up and psutil.pid_exists(up["pid"]):
        servers = {name: up[name] for name in ("prefect", "mlflow")}
    if "PREFECT_API_URL" in _SET_BY_USER:
        servers["prefect"] = os.environ["PREFECT_API_URL"].rstrip("/").removesuffix("/api")
    if workspace.tracking_uri.startswith("http"):
        servers["mlflow"] = workspace.tracking_uri.rstrip("/")
    return servers


def _server_addresses(workspace: Workspace) -> dict[str, str]:
    """Return settings that make commands use the servers that run already, if any."""
    servers = running_servers(workspace)
    settings = {}
    if "prefect" in servers:
        settings["PREFECT_API_URL"] = f"{servers['prefect']}/api"
    if "mlflow" in servers:
        settings[UI_VARIABLE] = servers["mlflow"]
    return settings

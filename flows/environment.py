"""Settings of Prefect, MLflow and torch, which read them from the environment at import.

The home decides where their state lies, so it must be known before they are imported.
"""

import json
import os
from pathlib import Path

import psutil

from widedeep.workspace import TRACKING_VARIABLE, UI_VARIABLE, Workspace

HOME_VARIABLE = "WIDEDEEP_HOME"
PID_VARIABLE = "WIDEDEEP_PID"
UP_FILE = "up.json"
"""In the home of a `widedeep up` that works: its pid and the addresses of its servers."""
_PROJECT = Path(__file__).resolve().parent.parent
_OURS_VARIABLE = "WIDEDEEP_SETTINGS"
"""Names the variables that a parent process set by `configure`, so that no user set them."""

_GIVEN = frozenset(os.environ) - set(os.environ.get(_OURS_VARIABLE, "").split())
if "MLFLOW_TRACKING_URI" in _GIVEN:
    os.environ.setdefault(TRACKING_VARIABLE, os.environ["MLFLOW_TRACKING_URI"])


def default_workspace() -> Workspace:
    """WIDEDEEP_HOME, else `mlruns/` of the checkout this code runs from, else of this folder."""
    if HOME_VARIABLE in os.environ:
        return Workspace(Path(os.environ[HOME_VARIABLE]).expanduser().resolve())
    checkout = (_PROJECT / "pyproject.toml").exists()
    return Workspace((_PROJECT if checkout else Path.cwd()) / "mlruns")


def configure(workspace: Workspace) -> None:
    """Point both tools at `workspace`; what the user set in the environment stays."""
    settings = {
        HOME_VARIABLE: str(workspace.root),
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
        # By its heartbeat a server notices a run whose process and runner are both dead.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # Who presses Run waits for a new process anyway, not for 10 s before it.
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        # torch's threads wait for one another by spinning: with one other busy process on two
        # cores training became 10 to 20 times slower. Waiting passively costs 5 % when alone.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    settings |= _addresses(workspace)
    ours = {k: v for k, v in settings.items() if k not in _GIVEN or k == HOME_VARIABLE}
    os.environ.update(ours)
    os.environ[_OURS_VARIABLE] = " ".join(ours)


def _addresses(workspace: Workspace) -> dict[str, str]:
    """Of the servers of a `widedeep up` on this home: its UIs show what commands do, too."""
    try:
        found = json.loads((workspace.root / UP_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not psutil.pid_exists(found["pid"]):
        return {}
    return {"PREFECT_API_URL": f"{found['prefect']}/api", UI_VARIABLE: found["mlflow"]}


def prepare_command() -> None:
    """Settings of a run in this process, with Prefect's temporary server.

    The server is told whose it is, and the terminal is left to `console`; the lines of Prefect
    itself go to its own log, which its UI shows.
    """
    os.environ[PID_VARIABLE] = str(os.getpid())
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")

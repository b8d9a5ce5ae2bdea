"""Where state lies is settled before Prefect and MLflow are imported, whatever the folder."""

import os
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import flows
from flows.cli import main
from flows.environment import check_tracking
from flows.temporary_server import starting
from tests.flows.site import free_port
from widedeep.inputs import InputError
from widedeep.workspace import TRACKING_VARIABLE, Workspace

PROJECT = Path(flows.__file__).resolve().parent.parent
CODE = (
    "import flows, prefect, os; from prefect.settings import PREFECT_HOME; "
    "from flows.environment import default_workspace; print(PREFECT_HOME.value()); "
    "print(os.environ['MLFLOW_TRACKING_URI']); print(default_workspace().tracking_uri)"
)


def settings(cwd, **variables):
    configured = ("PREFECT_HOME", "MLFLOW_TRACKING_URI", "WIDEDEEP_HOME", "WIDEDEEP_SETTINGS")
    environment = {k: v for k, v in os.environ.items() if k not in configured} | variables
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=environment,
    )
    prefect, mlflow, store = done.stdout.split()
    assert mlflow == store
    return [prefect, mlflow]


@pytest.mark.parametrize("folder", [PROJECT, PROJECT / "flows", Path("/")])
def test_state_lies_in_the_projects_mlruns_from_any_folder(folder):
    workspace = PROJECT / "mlruns"
    assert settings(folder) == [str(workspace / "prefect"), f"sqlite:///{workspace}/mlflow.db"]


def test_another_home_can_be_named(tmp_path):
    where = settings(tmp_path, WIDEDEEP_HOME=str(tmp_path))
    assert where == [str(tmp_path / "prefect"), f"sqlite:///{tmp_path}/mlflow.db"]


def test_what_the_user_set_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    where = settings(tmp_path, PREFECT_HOME=str(tmp_path / "mine"), MLFLOW_TRACKING_URI="http://x")
    assert where == [str(tmp_path / "mine"), "http://x"]


def test_a_child_process_may_use_another_home_than_its_parent(tmp_path):
    code = (
        "import flows, subprocess, sys, os; "
        f"os.environ['WIDEDEEP_HOME'] = {str(tmp_path)!r}; "
        f"subprocess.run([sys.executable, '-c', {CODE!r}], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == str(tmp_path / "prefect")


@pytest.fixture
def other_server():
    """The address of a server that is neither Prefect's nor MLflow's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("file:/tmp/runs", InputError, "no registry"),
        ("runs", InputError, "sqlite:///"),
        ("sqlite:////no/such/folder/runs.db", InputError, "/no/such/folder is no folder"),
        ("http://127.0.0.1:1", OSError, "does not answer"),
        ("http://127.0.0.1:1:1", OSError, "does not answer"),
    ],
)
def test_a_tracking_store_that_cannot_be_used_is_named(tmp_path, monkeypatch, uri, error, words):
    monkeypatch.setenv(TRACKING_VARIABLE, uri)
    with pytest.raises(error) as raised:
        check_tracking(Workspace(tmp_path))
    assert uri in str(raised.value)
    assert words in str(raised.value)


def test_a_server_of_another_program_is_not_taken_for_mlflow(tmp_path, monkeypatch, other_server):
    monkeypatch.setenv(TRACKING_VARIABLE, other_server)
    with pytest.raises(OSError, match="501 to /health"):
        check_tracking(Workspace(tmp_path))


def test_the_workspaces_own_store_needs_no_check(tmp_path, monkeypatch):
    monkeypatch.delenv(TRACKING_VARIABLE, raising=False)
    check_tracking(Workspace(tmp_path / "new"))


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/api", "nonsense", "other"])
def test_a_prefect_server_that_does_not_answer_is_named(address, other_server):
    address = f"{other_server}/api" if address == "other" else address
    with (
        temporary_settings({PREFECT_API_URL: address}),
        pytest.raises(OSError, match="unset PREFECT_API_URL") as raised,
        starting(),
    ):
        pass
    assert address in str(raised.value)


def test_a_port_that_is_held_is_told_with_its_holder(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(TRACKING_VARIABLE, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        command = ["up", "--home", str(tmp_path), "--data", "sim", "--mlflow-port", port]
        assert main([*command, "--prefect-port", str(free_port())]) == 1
    error = capsys.readouterr().err
    assert f"({os.getpid()})" in error
    assert "--mlflow-port" in error
    assert "Traceback" not in error


def test_a_file_is_no_workspace(tmp_path, capsys):
    (tmp_path / "home").write_text("")
    assert main(["status", "--home", str(tmp_path / "home")]) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err

"""Where state lies is settled before Prefect and MLflow are imported, whatever the folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import flows

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

"""Real Prefect and real MLflow, in a workspace of the test's own."""

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.cli import main


@pytest.fixture(scope="session")
def prefect_server():
    """One temporary Prefect server for all flows run in this process."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def run_command(prefect_server):
    """Return a function that runs a command with --json, expects status 0, and returns its JSON
    object and all of stdout.

    It serves fixtures of a module, which pytest's own capture cannot.
    """
    del prefect_server

    def run(*arguments):
        out = StringIO()
        with redirect_stdout(out):
            assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(out.getvalue().splitlines()[-1]), out.getvalue()

    return run


@pytest.fixture
def world(simulated, tmp_path):
    """A copy of the simulated files that a test may spoil."""
    return shutil.copytree(simulated, tmp_path / "sim-small")


@pytest.fixture(scope="session")
def registered_workspace(tiny, make_workspace, tmp_path_factory):
    """A workspace whose champion, version 1, has fitted features and random weights."""
    from tests.flows.random_model import register_random_model
    from widedeep.workspace import Workspace

    workspace = Workspace(make_workspace(tmp_path_factory.mktemp("registered")))
    register_random_model(workspace, tiny)
    return workspace

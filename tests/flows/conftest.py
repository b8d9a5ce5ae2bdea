"""Real Prefect and real MLflow, in a home of the test's own."""

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
    """Run a command that ends well with --json; gives its JSON object and all of stdout.

    For fixtures of a module, which pytest's own capture cannot serve.
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

"""Real Prefect and real MLflow, in a home of the test's own."""

import shutil

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def prefect_server():
    """One temporary Prefect server for all flows run in this process."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def world(simulated, tmp_path):
    """A copy of the simulated files that a test may spoil."""
    return shutil.copytree(simulated, tmp_path / "sim-small")

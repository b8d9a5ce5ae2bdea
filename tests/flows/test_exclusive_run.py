"""A run whose process is dead is ended; one that a process works on is left alone."""

import os
import subprocess
import sys

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Pending, Running

from flows.exclusive_run import end_dead_runs

pytestmark = pytest.mark.usefixtures("prefect_server")

TAG = "widedeep-test"


@pytest.fixture
def client():
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def begin(client):
    """Return a function that makes a run of a deployment in a state, and returns its id."""
    flow = client.create_flow_from_name("stale")
    deployment = client.create_deployment(flow, "stale")

    def make(state, tag=TAG):
        made = client.create_flow_run_from_deployment(deployment, tags=[tag])
        client.set_flow_run_state(made.id, state, force=True)
        return made.id

    return make


def test_runs_that_no_process_works_on_are_ended(client, begin):
    runs = [begin(Pending()), begin(Running()), begin(Running(), "other")]
    end_dead_runs(TAG)
    states = [client.read_flow_run(run).state.type.value for run in runs]
    assert states == ["CRASHED", "CRASHED", "RUNNING"]


def test_a_run_that_outlived_its_runner_is_left_alone_until_it_is_dead_too(client, begin):
    run = begin(Running())
    code = "import time; print(flush=True); time.sleep(60)"
    environment = os.environ | {"PREFECT__FLOW_RUN_ID": str(run)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=pipe) as worker:
        worker.stdout.readline()
        end_dead_runs(TAG)
        assert client.read_flow_run(run).state.type.value == "RUNNING"
        worker.kill()
    end_dead_runs(TAG)
    assert client.read_flow_run(run).state.type.value == "CRASHED"

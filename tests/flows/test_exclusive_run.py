"""A run whose process is dead is ended, a living one is left alone; a given name is kept."""

import os
import subprocess
import sys

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import Pending, Running
from prefect.utilities.names import generate_slug

from flows.exclusive_run import _is_made_up, end_dead_runs, keep_given_name

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


@pytest.fixture(scope="module")
def named():
    """A flow whose runs are named as those of ours."""

    @flow(name="named", flow_run_name=lambda: keep_given_name("retrain sim-tiny"))
    def named():
        return None

    return named


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("before the launch", "before the launch"),
        ("first-try", "first-try"),
        ("retrain sim-tiny as of 2018-10-01", "retrain sim-tiny as of 2018-10-01"),
        ("pi97-nigala-z", "retrain sim-tiny (pi97-nigala-z)"),
        ("theta-canis-majoris", "retrain sim-tiny (theta-canis-majoris)"),
        (None, "retrain sim-tiny"),
    ],
)
def test_a_run_keeps_the_name_that_a_person_gave_it(client, named, given, name):
    made = client.create_flow_run(named, name=given)
    run_flow(named, flow_run=client.read_flow_run(made.id))
    assert client.read_flow_run(made.id).name == name


def test_every_name_that_prefect_makes_up_is_recognised():
    assert all(_is_made_up(generate_slug(2)) for _ in range(500))
    assert not any(_is_made_up(name) for name in ("nightly-test", "wise", "wise-panda-2", ""))

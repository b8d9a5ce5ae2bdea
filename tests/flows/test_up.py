"""`widedeep up` as people use it: a real server, a real browser, Ctrl-C."""

import json
import shutil
import signal
import subprocess
import sys
import time
from uuid import uuid4

import httpx
import psutil
import pytest
from mlflow import MlflowClient

from flows.environment import UP_FILE
from tests.flows.site import PATIENCE, Site, wait


@pytest.fixture(scope="module")
def site(tmp_path_factory, tiny):
    home = tmp_path_factory.mktemp("up")
    found = Site(home, shutil.copytree(tiny, home / "data" / "sim-tiny"))
    yield found
    found.process.send_signal(signal.SIGINT)
    found.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def page():
    """A page of the browser that is installed."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        options = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        browser = tool.chromium.launch(executable_path=executable, args=options)
        yield browser.new_page(viewport={"width": 1280, "height": 1600})
        browser.close()


def test_a_run_from_the_form_completes_and_appears_in_mlflow(site, page):
    page.goto(f"{site.prefect}/deployments/deployment/{site.deployment('retrain/on-new-data')}/run")
    page.get_by_text("Of initial weights and order of rows").wait_for()
    assert page.get_by_text("Or a folder").is_visible()
    seed = page.locator("input[type=number]").first
    seed.fill("3")
    page.get_by_role("button", name="Submit").click()
    wait(site.runs)
    (run,) = site.runs()
    assert site.end(run["id"])["type"] == "COMPLETED"
    page.goto(f"{site.prefect}/runs/flow-run/{run['id']}")
    page.get_by_text("retrain sim-tiny").first.wait_for()
    page.get_by_text("Artifacts").first.click()
    page.get_by_text("challenger against champion").first.wait_for()
    page.get_by_text("widedeep-sim-tiny-decision").first.wait_for()
    page.goto(f"{site.mlflow}/#/experiments/{experiment(site)}/runs?workflowType=machine_learning")
    page.get_by_text("sim-tiny as of", exact=False).first.wait_for()
    (tracked,) = MlflowClient(site.mlflow).search_runs([experiment(site)])
    assert tracked.data.params["seed"] == "3"
    assert tracked.data.tags["prefect.flow_run_id"] == run["id"]
    shown = site.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    link = next(one["data"] for one in shown if one["key"] == "widedeep-sim-tiny-mlflow")
    assert tracked.info.run_id in link
    assert link.startswith(f"[this run in MLflow]({site.mlflow}")


def experiment(site):
    found = MlflowClient(site.mlflow).get_experiment_by_name("widedeep-sim-tiny")
    return found.experiment_id


def test_new_data_start_a_run_on_their_folder(site):
    before = {run["id"] for run in site.runs()}
    event = {
        "id": str(uuid4()),
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "widedeep.data.arrived",
        "resource": {"prefect.resource.id": "widedeep.data.test"},
        "payload": {"folder": str(site.data)},
    }
    httpx.post(f"{site.prefect}/api/events", json=[event]).raise_for_status()
    wait(lambda: {run["id"] for run in site.runs()} - before)
    (run,) = {run["id"] for run in site.runs()} - before
    assert site.end(run)["type"] == "COMPLETED"
    assert site.ask("flow_runs/filter", flow_runs={"id": {"any_": [run]}})[0]["parameters"] == {
        "data": {"folder": str(site.data)}
    }


def test_of_a_late_schedule_the_newest_run_works(site):
    name = site.deployment("retrain/on-new-data")
    busy = site.ask(f"deployments/{name}/create_flow_run", parameters={})["id"]
    late = [site.scheduled(name, seconds) for seconds in (30, 20, 10)]
    assert [site.end(run)["name"] for run in (busy, *late)] == [
        "Completed",
        "Skipped",
        "Skipped",
        "Completed",
    ]


def test_a_cancelled_run_stops_in_seconds_and_leaves_everything_as_before(site, simulated):
    before = (site.home / "decisions").glob("**/*")
    given = {"data": {"folder": str(simulated)}, "training": {"preset": "paper"}}
    name = site.deployment("retrain/on-new-data")
    run = site.ask(f"deployments/{name}/create_flow_run", parameters=given)["id"]
    wait(lambda: site.said(run, "train: epoch 1"))
    begun = time.monotonic()
    site.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    assert site.end(run)["type"] == "CANCELLED"
    assert time.monotonic() - begun < 30
    client = MlflowClient(site.mlflow)
    stopped = client.get_experiment_by_name("widedeep-sim-small").experiment_id
    assert [found.info.status for found in client.search_runs([stopped])] == ["KILLED"]
    assert list((site.home / "decisions").glob("**/*")) == list(before)
    assert not list((site.home / "running").iterdir())


def test_a_command_shows_in_the_same_server(site):
    command = [sys.executable, "-m", "flows.cli", "retrain", "--home", str(site.home), "--json"]
    done = subprocess.run(
        [*command, "--data", str(site.data)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1])["model"] == "widedeep-sim-tiny"
    newest = site.runs()[0]
    assert (newest["name"], newest["deployment_id"]) == ("retrain sim-tiny", None)


def test_ctrl_c_stops_everything_and_no_log_has_an_error(site):
    started = psutil.Process(site.process.pid).children(recursive=True)
    assert len(started) >= 3
    site.process.send_signal(signal.SIGINT)
    assert site.process.wait(PATIENCE) == 0
    assert not [process for process in started if process.is_running()]
    assert not (site.home / UP_FILE).exists()
    for name in ("deployments", "mlflow"):  # into Prefect's database a test above has written
        lines = (site.home / "logs" / f"{name}.log").read_text(encoding="utf-8").splitlines()
        found = [line for line in lines if "Traceback" in line or "| ERROR" in line]
        assert [line for line in found if "termination signal" not in line] == []

"""`widedeep up` as people use it: a real server, a real browser, Ctrl-C."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psutil
import pytest
from mlflow import MlflowClient
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from flows.environment import UP_FILE
from tests.flows.site import PATIENCE, SPRUNG, Site, undocumented, wait, write_traps


class Receiver(ThreadingHTTPServer):
    """What a team has a webhook for: `texts` are those that arrived."""

    def __init__(self):
        texts = self.texts = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                texts.append(json.loads(body)["text"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"


@pytest.fixture(scope="module")
def team():
    with Receiver() as receiver:
        Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory, tiny, team):
    workspace = tmp_path_factory.mktemp("up")
    body = {"text": "{{subject}}: {{body}}"}
    block = CustomWebhookNotificationBlock(name="team", url=team.url, json_data=body)
    data = shutil.copytree(tiny, workspace / "data" / "sim-tiny")
    traps = write_traps(tmp_path_factory.mktemp("traps"))
    site = Site(workspace, data, block, traps)
    yield site
    site.process.send_signal(signal.SIGINT)
    site.process.wait(PATIENCE)
    assert not (traps / SPRUNG).exists(), "a file of the current folder was imported"


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
    page.get_by_text("Seed of the initial weights and of the order of the rows").wait_for()
    assert page.get_by_text("Or a folder").is_visible()
    seed = page.locator("input[type=number]").first
    seed.fill("3")
    page.get_by_role("button", name="Submit").click()
    wait(site.runs)
    (run,) = site.runs()
    assert site.end(run["id"])["type"] == "COMPLETED"
    page.goto(f"{site.prefect}/runs/flow-run/{run['id']}")
    (run,) = site.runs()
    assert re.fullmatch(r"retrain sim-tiny \([a-z]+\d*(-[a-z]+)*\)", run["name"]), "as proposed"
    page.get_by_text(run["name"]).first.wait_for()
    page.get_by_text("Artifacts").first.click()
    page.get_by_text("challenger against champion").first.wait_for()
    page.get_by_text("widedeep-sim-tiny-decision").first.wait_for()
    page.goto(f"{site.mlflow}/#/experiments/{experiment(site)}/runs?workflowType=machine_learning")
    page.get_by_text("v1 insufficient evidence, holdout", exact=False).first.wait_for()
    page.goto("about:blank")
    view = "viewStateShareKey=decisions&workflowType=machine_learning"
    page.goto(f"{site.mlflow}/#/experiments/{experiment(site)}/runs?{view}")
    page.get_by_text("auc_difference", exact=True).first.wait_for()
    (tracked,) = MlflowClient(site.mlflow).search_runs([experiment(site)])
    assert tracked.data.params["seed"] == "3"
    assert tracked.data.tags["prefect.flow_run_id"] == run["id"]
    shown = site.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    link = next(one["data"] for one in shown if one["key"] == "widedeep-sim-tiny-mlflow")
    assert tracked.info.run_id in link
    assert link.startswith(f"[this run in MLflow]({site.mlflow}")


def experiment(site):
    return MlflowClient(site.mlflow).get_experiment_by_name("widedeep-sim-tiny").experiment_id


def test_new_data_start_a_run_and_of_a_schedule_that_is_late_then_the_newest_works(site):
    before = {run["id"] for run in site.runs()}
    site.emit("widedeep.data.arrived", {"folder": str(site.data)})
    wait(lambda: {run["id"] for run in site.runs()} - before)
    (run,) = {run["id"] for run in site.runs()} - before
    late = [site.scheduled("retrain/on-new-data", seconds) for seconds in (20, 10)]
    ends = [site.end(one)["name"] for one in (run, *late)]
    assert ends == ["Completed", "Skipped", "Completed"]
    assert site.ask("flow_runs/filter", flow_runs={"id": {"any_": [run]}})[0]["parameters"] == {
        "data": {"folder": str(site.data)}
    }


def test_a_decision_and_a_failure_are_reported_through_a_block(site, team):
    made = site.emitted("widedeep.decision.insufficient_evidence")[0]["payload"]
    assert (made["model"], made["champion"]) == ("widedeep-sim-tiny", None)
    assert "at least 500" in made["reasons"]
    assert team.texts == [], "insufficient evidence is not reported"
    site.emit("widedeep.decision.hold", made | {"decision": "hold"})
    name = site.deployment("retrain/on-new-data")
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    run = site.ask(f"deployments/{name}/create_flow_run", state=later)
    failed = {"type": "FAILED", "name": "Failed", "message": "rates.csv is empty"}
    site.ask(f"flow_runs/{run['id']}/set_state", state=failed, force=True)
    wait(lambda: len(team.texts) == 2)
    decision, failure = sorted(team.texts, key=lambda text: "Failed" in text)
    expected = f"widedeep: widedeep-sim-tiny: hold version {made['version']}; nothing serves yet."
    assert decision.startswith(expected)
    assert f"{run['name']}: Failed: rates.csv is empty" in failure


def decided(site):
    """Every decision there is, with what it says."""
    files = (site.workspace / "decisions").glob("*/*.json")
    return {path.relative_to(site.workspace): path.read_bytes() for path in files}


def test_a_cancelled_run_stops_in_seconds_and_leaves_everything_as_before(site, simulated):
    before = decided(site)
    assert before
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
    assert [run.info.status for run in client.search_runs([stopped])] == ["KILLED"]
    assert decided(site) == before
    assert not list((site.workspace / "running").iterdir())


def test_a_command_shows_in_the_same_server(site):
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "retrain",
        "--home",
        str(site.workspace),
        "--json",
    ]
    done = subprocess.run(
        [*command, "--data", str(site.data)], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["model"] == "widedeep-sim-tiny"
    newest = site.runs()[0]
    assert f"{site.mlflow}/#/experiments/{experiment(site)}/runs/{result['run_id']}" in done.stdout
    assert f"{site.prefect}/runs/flow-run/{newest['id']}" in done.stdout
    assert "mlflow ui" not in done.stdout, "it runs already"
    assert (newest["name"], newest["deployment_id"]) == ("retrain sim-tiny", None)


def test_ctrl_c_stops_everything_and_no_log_has_an_error(site):
    started = psutil.Process(site.process.pid).children(recursive=True)
    assert len(started) >= 3
    site.process.send_signal(signal.SIGINT)
    assert site.process.wait(PATIENCE) == 0
    assert not [process for process in started if process.is_running()]
    assert not (site.workspace / UP_FILE).exists()
    assert undocumented(site.workspace) == set()
    for name in ("deployments", "mlflow", "prefect"):
        lines = (site.workspace / "logs" / f"{name}.log").read_text(encoding="utf-8").splitlines()
        errors = [line for line in lines if "Traceback" in line or "| ERROR" in line]
        assert [line for line in errors if "termination signal" not in line] == []

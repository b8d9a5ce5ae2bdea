"""A replay through the command line, with real Prefect and real MLflow."""

import csv
from pathlib import Path

import mlflow
import pytest

from flows.cli import main
from widedeep.studies.replay import Policy

pytestmark = pytest.mark.usefixtures("prefect_server")

KEYS = {"data", "model", "run_id", "every_days", "steps", "policies", "gate", "seconds"} | {
    "table",
    "numbers",
    "plot",
}
MOMENTS = ("--from", "2014-01-01", "--to", "2018-12-31", "--every", "900d")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, make_workspace):
    return make_workspace(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def first(workspace, tiny, run_command):
    return run_command("replay", "--home", workspace, "--data", tiny, *MOMENTS)


def test_it_reports_all_policies_and_where_the_files_are(first):
    result, out = first
    assert set(result) == KEYS
    assert [policy["policy"] for policy in result["policies"]] == list(Policy)
    assert [len(policy["steps"]) for policy in result["policies"]] == [3] * len(Policy)
    assert len(result["gate"]) == 2
    for name in ("table", "numbers", "plot"):
        assert result[name] in out
    assert Path(result["plot"]).read_bytes().startswith(b"\x89PNG")
    with Path(result["numbers"]).open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 3 * len(Policy)


def test_mlflow_has_a_run_below_the_replays_for_each_policy(first, workspace):
    result, _ = first
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("widedeep-sim-tiny-replay")
    runs = client.search_runs([experiment.experiment_id])
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == result["run_id"]]
    assert {run.info.run_name for run in below} == set(Policy)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in below:
        policy = next(p for p in result["policies"] if p["policy"] == run.info.run_name)
        history = client.get_metric_history(run.info.run_id, "next_auc")
        assert [point.timestamp // 1000 for point in history] == result["steps"]
        expected = [step["score"]["auc"] for step in policy["steps"]]
        assert [point.value for point in history] == pytest.approx(expected)
    files = {file.path for file in client.list_artifacts(result["run_id"])}
    assert files == {"replay.md", "replay.csv", "replay.png"}


def test_nothing_is_registered(first, workspace):
    del first
    assert not mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db").search_registered_models()


def test_again_everything_finished_is_reused(first, workspace, tiny, run_command):
    result, _ = first
    again, _ = run_command("replay", "--home", workspace, "--data", tiny, *MOMENTS)
    same = ("steps", "policies", "gate", "table", "plot")
    assert {name: again[name] for name in same} == {name: result[name] for name in same}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "0"], "--every is '0'"),
        (["--from", "2030-01-01"], "the replay begins 2030-01-01"),
        (["--from", "soon"], "--from is 'soon'"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments, message, capsys, tmp_path, tiny):
    assert main(["replay", "--home", str(tmp_path), "--data", str(tiny), *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[0]

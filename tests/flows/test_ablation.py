"""An ablation through the command line, with real Prefect and real MLflow."""

import csv
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from flows.cli import main
from widedeep.metrics import auc, gauc, log_loss

pytestmark = pytest.mark.usefixtures("prefect_server")

VARIANTS = ("wide only", "no returning users")
KEYS = {
    "data",
    "as_of",
    "run_id",
    "split",
    "model",
    "seeds",
    "variants",
    "table",
    "numbers",
    "slices",
    "plot",
    "seconds",
}
OPTIONS = ("--seeds", "1", "--variants", *VARIANTS)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, make_workspace):
    return make_workspace(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def first(workspace, tiny, run_command):
    return run_command("ablation", "--home", workspace, "--data", tiny, *OPTIONS)


def by_name(result):
    return {variant["name"]: variant for variant in result["variants"]}


def test_it_reports_all_variants_and_where_the_files_are(first):
    result, out = first
    assert set(result) == KEYS
    assert list(by_name(result)) == ["wide & deep", *VARIANTS]
    assert result["seeds"] == [0]
    for name in ("table", "numbers", "slices", "plot"):
        assert Path(result[name]).is_file()
        assert result[name] in out
    assert Path(result["plot"]).read_bytes().startswith(b"\x89PNG")


def test_every_number_equals_that_of_the_saved_predictions(first):
    result, _ = first
    with Path(result["numbers"]).open(encoding="utf-8") as file:
        table = {row["name"]: row for row in csv.DictReader(file)}
    rows = {n: pd.read_parquet(v["predictions"][0]) for n, v in by_name(result).items()}
    assert all(len(frame) == result["split"]["holdout"] for frame in rows.values())
    for name, frame in rows.items():
        label, user, numbers = frame.label.to_numpy(), frame.user.to_numpy(), table[name]
        for protocol in ("streaming", "frozen"):
            predicted = frame[protocol].to_numpy()
            assert float(numbers[f"{protocol}_auc"]) == pytest.approx(auc(label, predicted))
            loss = log_loss(label, predicted)
            assert float(numbers[f"{protocol}_log_loss"]) == pytest.approx(loss)
        assert float(numbers["frozen_gauc"]) == pytest.approx(gauc(label, predicted, user))
    full = auc(label, rows["wide & deep"].streaming.to_numpy())
    for name in VARIANTS:
        difference = auc(label, rows[name].streaming.to_numpy()) - full
        low, reported, high = (
            float(table[name][f"streaming_auc_difference{end}"]) for end in ("_low", "", "_high")
        )
        assert reported == pytest.approx(difference, abs=1e-9)
        assert low <= reported <= high
    assert table["wide & deep"]["streaming_auc_difference"] == ""


def test_the_tables_are_readable_and_say_the_same_everywhere(first):
    result, out = first
    text = Path(result["table"]).read_text(encoding="utf-8")
    measured = by_name(result)["wide only"]["measured"]["frozen"]["auc"]["mean"]
    for shown in (out, text):
        assert f"{measured:.4f}".removeprefix("0") in shown
        assert "planted exceptions" in shown
        assert "no embeddings and no layers" in shown
    assert "interval" in text


def test_mlflow_has_a_run_below_the_ablations_for_each_trial(first, workspace):
    result, _ = first
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("widedeep-sim-tiny-ablation")
    runs = client.search_runs([experiment.experiment_id])
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == result["run_id"]]
    assert {run.info.run_name for run in below} == {
        "wide & deep, seed 0",
        "wide only, seed 0",
        "no returning users, seed 0",
    }
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.params["network_deep"] for run in below} == {"True", "False"}
    for run in below:
        measured = by_name(result)[run.data.params["variant"]]["measured"]
        for protocol, metric in (("streaming", "auc"), ("frozen", "gauc")):
            logged = run.data.metrics[f"holdout_{protocol}_{metric}"]
            assert logged == pytest.approx(measured[protocol][metric]["mean"])
        assert client.get_metric_history(run.info.run_id, "validation_auc")
    files = {file.path for file in client.list_artifacts(result["run_id"])}
    assert files == {Path(result[name]).name for name in ("table", "numbers", "slices", "plot")}


def test_nothing_is_registered(first, workspace):
    del first
    assert not mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db").search_registered_models()


def test_costs_and_slices_are_reported(first):
    result, _ = first
    variants = by_name(result)
    assert all(variant["wide_nonzero"]["mean"] > 0 for variant in variants.values())
    assert all(variant["seconds"]["mean"] > 0 for variant in variants.values())
    parts = variants["wide only"]["slices"]
    rows = [parts[name]["streaming"]["rows"] for name in ("new users", "returning users")]
    assert sum(rows) == result["split"]["holdout"]


def test_again_everything_finished_is_reused(first, workspace, tiny, run_command):
    result, _ = first
    again, out = run_command("ablation", "--home", workspace, "--data", tiny, *OPTIONS)
    assert "train: epoch" not in out
    same = ("variants", "table", "plot")
    assert {name: again[name] for name in same} == {name: result[name] for name in same}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--variants", "deep"], "no variant 'deep'"), (["--seeds", "0"], "--seeds is '0'")],
)
def test_what_cannot_be_run_is_refused_before_anything_is_learned(
    arguments, message, capsys, tmp_path, tiny
):
    assert main(["ablation", "--home", str(tmp_path), "--data", str(tiny), *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[0]
    assert {path.name for path in tmp_path.glob("stages/*")} <= {"drafts", "ratings"}

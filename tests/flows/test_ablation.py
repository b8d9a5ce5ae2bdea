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


def test_it_tells_all_variants_and_where_the_rest_stands(first):
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
    assert all(len(one) == result["split"]["holdout"] for one in rows.values())
    for name, one in rows.items():
        label, user = one.label.to_numpy(), one.user.to_numpy()
        for protocol in ("streaming", "frozen"):
            found = one[protocol].to_numpy()
            told = table[name]
            assert float(told[f"{protocol}_auc"]) == pytest.approx(auc(label, found))
            assert float(told[f"{protocol}_log_loss"]) == pytest.approx(log_loss(label, found))
        assert float(told["frozen_gauc"]) == pytest.approx(gauc(label, found, user))
    full = auc(label, rows["wide & deep"].streaming.to_numpy())
    for name in VARIANTS:
        difference = auc(label, rows[name].streaming.to_numpy()) - full
        low, told, high = (
            float(table[name][f"streaming_auc_difference{end}"]) for end in ("_low", "", "_high")
        )
        assert told == pytest.approx(difference, abs=1e-9)
        assert low <= told <= high
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
    below = [one for one in runs if one.data.tags.get("mlflow.parentRunId") == result["run_id"]]
    assert {one.info.run_name for one in below} == {
        "wide & deep, seed 0",
        "wide only, seed 0",
        "no returning users, seed 0",
    }
    assert {one.info.status for one in runs} == {"FINISHED"}
    assert {one.data.params["network_deep"] for one in below} == {"True", "False"}
    for one in below:
        measured = by_name(result)[one.data.params["variant"]]["measured"]
        for protocol, metric in (("streaming", "auc"), ("frozen", "gauc")):
            found = one.data.metrics[f"holdout_{protocol}_{metric}"]
            assert found == pytest.approx(measured[protocol][metric]["mean"])
        assert client.get_metric_history(one.info.run_id, "validation_auc")
    kept = {file.path for file in client.list_artifacts(result["run_id"])}
    assert kept == {Path(result[name]).name for name in ("table", "numbers", "slices", "plot")}


def test_nothing_is_registered(first, workspace):
    del first
    assert not mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db").search_registered_models()


def test_costs_and_slices_are_told(first):
    result, _ = first
    found = by_name(result)
    assert all(variant["wide_nonzero"]["mean"] > 0 for variant in found.values())
    assert all(variant["seconds"]["mean"] > 0 for variant in found.values())
    parts = found["wide only"]["slices"]
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
    [(["--variants", "deep"], "no variant 'deep'"), (["--seeds", "0"], "seeds is 0")],
)
def test_what_cannot_be_run_is_refused_before_anything_is_done(
    arguments, message, capsys, tmp_path, tiny
):
    assert main(["ablation", "--home", str(tmp_path), "--data", str(tiny), *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[0]
    assert not (tmp_path / "stages").exists()

"""The chain through the command line, with real Prefect and real MLflow."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from math import fsum
from pathlib import Path
from urllib.parse import unquote

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from flows.cli import main
from tasks.dry_run import DryRunProcess
from tasks.model_store import ModelStore
from tasks.run import git_commit
from widedeep.inputs import to_iso
from widedeep.metrics import auc
from widedeep.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")

KEYS = {
    "data",
    "as_of",
    "run_id",
    "mode",
    "warm_started_from",
    "rows",
    "split",
    "challenger",
    "champion",
    "decision",
    "reasons",
    "model",
    "version",
    "champion_version",
    "predictions",
    "seconds",
}
POINTWISE = {"auc", "log_loss", "pr_auc", "ece"}


def retrain(capsys, workspace, *arguments):
    """Run the command; returns the JSON object and all of stdout."""
    assert main(["retrain", "--home", str(workspace), "--json", *map(str, arguments)]) == 0
    out = capsys.readouterr().out
    return json.loads(out.splitlines()[-1]), out


def run_of(workspace, result):
    """Return the run in MLflow that a command's JSON object names."""
    return MlflowClient(f"sqlite:///{workspace}/mlflow.db").get_run(result["run_id"])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first(workspace, simulated, run_command):
    """The first run of a workspace; later tests of this module build on it."""
    return run_command("retrain", "--home", workspace, "--data", simulated)


def test_a_first_run_fulfils_the_contract(first):
    result, _ = first
    assert set(result) == KEYS
    rows, split = result["rows"], result["split"]
    assert rows["read"] == rows["examples"] + rows["superseded"] + rows["quarantined"] == 8_000
    assert split["train"] + split["validation"] + split["holdout"] == rows["examples"]
    assert set(result["challenger"]["streaming"]) == POINTWISE
    assert set(result["challenger"]["frozen"]) == POINTWISE | {"gauc", "ndcg_at_10"}
    assert set(result["seconds"]) == {"ingest", "features", "train", "evaluate", "promote", "total"}
    assert (result["mode"], result["warm_started_from"], result["champion"]) == ("cold", None, None)
    assert result["model"] == "widedeep-sim-small"


def test_a_first_model_better_than_the_means_is_promoted(first):
    result, out = first
    assert result["decision"] == "promote"
    assert result["champion_version"] == result["version"] == "1"
    assert "user + item mean" in out


def test_predictions_are_those_that_were_measured(first):
    result, _ = first
    rows = pd.read_parquet(result["predictions"])
    assert list(rows) == ["user", "item", "time", "label", "streaming", "frozen"]
    assert len(rows) == result["split"]["holdout"]
    assert rows.time.between(result["split"]["holdout_from"], result["as_of"] - 1).all()
    for protocol in ("streaming", "frozen"):
        measured = auc(rows.label.to_numpy(), rows[protocol].to_numpy())
        assert measured == pytest.approx(result["challenger"][protocol]["auc"], abs=1e-12)


def test_the_summary_says_where_to_look(first, workspace):
    result, out = first
    run = MlflowClient(f"sqlite:///{workspace}/mlflow.db").get_run(result["run_id"])
    runs = f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs"
    prefect_run = run.data.tags["prefect.flow_run_id"]
    assert f"mlflow ui --backend-store-uri sqlite:///{workspace}/mlflow.db --port 5000" in out
    assert f"{runs}/{result['run_id']}?workflowType=machine_learning" in out
    assert f"{runs}?viewStateShareKey=decisions&" in out
    assert f"PREFECT_HOME={workspace}/prefect" in out
    assert f"http://127.0.0.1:4200/runs/flow-run/{prefect_run}" in out
    assert "compare-runs" not in out, "a first run has nothing to be compared with"
    for program in re.findall(r"\S+/bin/\w+", out):
        assert Path(program).is_file()


def test_the_champion_is_served_by_mlflow_outside_our_code(first, workspace):
    result, _ = first
    rows = pd.read_parquet(result["predictions"]).tail(50)
    frame = rows[["user", "item"]].assign(time=result["as_of"])
    frame.loc[len(frame)] = [-1, -1, result["as_of"]]
    frame.to_json(workspace / "request.json", orient="split", index=False)
    code = (
        "import mlflow, pandas as pd, sys; "
        f"frame = pd.read_json({str(workspace / 'request.json')!r}, orient='split'); "
        f"model = mlflow.pyfunc.load_model('models:/{result['model']}@champion'); "
        "print(model.predict(frame).probability.between(0, 1).sum())"
    )
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{workspace}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONPATH": "",
    }
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=workspace,
    )
    assert process.stdout.split() == ["51"]


def test_mlflow_has_the_metrics_under_their_stable_names(first, workspace):
    result, _ = first
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    for protocol, measured in result["challenger"].items():
        for metric, value in measured.items():
            assert run.data.metrics[f"holdout_{protocol}_{metric}"] == pytest.approx(value)
    assert 0 < run.data.metrics["lists_overlap"] <= 1
    assert run.data.metrics["lists_coverage"] == run.data.metrics["lists_items"] / 60
    curve = client.get_metric_history(result["run_id"], "validation_auc")
    assert [point.step for point in curve] == list(range(1, len(curve) + 1))
    losses = client.get_metric_history(result["run_id"], "train_loss")
    assert [point.step for point in losses] == list(range(1, len(curve) + 5))


def test_mlflow_says_on_which_rows_a_metric_was_measured(first, workspace):
    result, _ = first
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    run = client.get_run(result["run_id"])
    tags, metrics, note = run.data.tags, run.data.metrics, run.data.tags["mlflow.note.content"]
    period, rows, digest = tags["holdout"].rsplit(", ", 2)
    assert rows == f"{result['split']['holdout']:,} rows"
    assert period.split(" to ") == [
        to_iso(result["split"][name])[:10] for name in ("holdout_from", "as_of")
    ]
    assert (tags["decision"], tags["version"]) == ("promote", "1")
    assert run.info.run_name == f"v1 promote, holdout {period}, cold"
    assert f"tags.holdout = '{tags['holdout']}'" in note
    assert "baseline" in tags["auc_difference"]
    assert "auc_minus_champion" not in metrics, "there was no champion"
    low, high = (metrics[f"auc_minus_user_item_mean_{end}"] for end in ("low", "high"))
    assert low < metrics["auc_minus_user_item_mean"] < high
    assert (
        f"**holdout**: {tags['holdout']}"
        in client.get_model_version(result["model"], "1").description
    )
    assert digest in note


def test_the_list_of_runs_has_a_view_whose_columns_every_run_fills(first, workspace):
    result, _ = first
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    run = client.get_run(result["run_id"])
    experiment = client.get_experiment(run.info.experiment_id)
    view = json.loads(experiment.tags["mlflow.sharedViewState.decisions"])
    columns = json.loads(view["state"])["selectedColumns"]
    kinds = {"tags": run.data.tags, "metrics": run.data.metrics}
    wanted = [re.fullmatch(r"(\w+)\.`(\w+)`", column).groups() for column in columns]
    assert [name for kind, name in wanted if name not in kinds[kind]] == ["auc_minus_champion"]
    assert {"decision", "version", "auc_difference", "holdout_streaming_auc"} <= {
        name for _, name in wanted
    }
    assert "same rows" in experiment.tags["mlflow.note.content"]


def test_mlflow_keeps_what_the_wide_part_remembers_with_the_run(first, workspace):
    result, _ = first
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    files = {file.path for file in client.list_artifacts(result["run_id"])}
    assert {"predictions.parquet", "memorisation.parquet", "memorisation.md"} <= files
    figures = {file.path for file in client.list_artifacts(result["run_id"], "figures")}
    assert "figures/calibration.png" in figures


def test_mlflow_shows_data_processor_and_a_model_card(first, workspace):
    result, _ = first
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    run = client.get_run(result["run_id"])
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == (
        "sim-small",
        run.data.tags["widedeep.ratings"],
    )
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert run.data.tags.get("mlflow.source.git.commit") == git_commit()
    assert run.data.tags["precision"] in {"float32", "bfloat16"}  # as the processor has it
    assert run.data.tags["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    card = client.get_model_version(result["model"], "1").description
    assert card.startswith("# widedeep-sim-small version 1")
    assert f"{result['challenger']['streaming']['auc']:.4f}" in card
    assert f"overlap of two users | {run.data.metrics['lists_overlap']:.4f} | - |" in card


def test_explain_takes_apart_what_the_served_model_answers(capsys, first, workspace):
    result, _ = first
    row = pd.read_parquet(result["predictions"]).iloc[-1]
    pair = ["--user", str(row.user), "--item", str(row["item"])]
    arguments = ["explain", "--home", str(workspace), *pair, "--at", str(result["as_of"])]
    assert main([*arguments, "--version", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["version"]) == (result["model"], "1")
    parts = [
        *(report[name] for name in ("bias", "offset", "deep")),
        *(fired["weight"] for fired in report["wide"]),
    ]
    assert fsum(parts) == report["logit"]
    served = mlflow.pyfunc.load_model(f"models:/{result['model']}/1")
    request = pd.DataFrame({"user": [row.user], "item": [row["item"]], "time": [result["as_of"]]})
    assert report["probability"] == served.predict(request).probability[0]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert report["korean"] in out
    assert f"{report['logit']:+.4f}" in out


def test_explain_accepts_unknown_ids_and_refuses_what_is_no_moment(capsys, first, workspace):
    del first
    arguments = ["explain", "--home", str(workspace), "--user", "-1", "--item", "-1"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["korean"] == "-1"
    assert main([*arguments, "--at", "yesterday"]) == 2
    assert main([*arguments, "--version", "99"]) == 2
    assert main([*arguments, "--model", "widedeep-other"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [word in line for word, line in zip(("--at", "'99'", "other"), errors, strict=True)]


def test_memorisation_prints_the_report_of_the_run(capsys, first, workspace):
    del first
    assert main(["memorisation", "--home", str(workspace), "--version", "1"]) == 0
    report = capsys.readouterr().out
    assert "## Strongest of liked x item" in report
    assert "There is no previous model." in report
    assert main(["memorisation", "--home", str(workspace), "--version", "1", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"block", "korean", "english", "weight", "support", "lift"} <= set(rows[0])
    assert all(row["weight"] for row in rows)


def test_a_second_run_on_the_same_ratings_leaves_everything_as_it_is(
    capsys, first, workspace, simulated
):
    before, _ = first
    result, out = retrain(capsys, workspace, "--data", simulated)
    assert (result["mode"], result["warm_started_from"]) == ("warm", "1")
    assert "decision  nothing is new since version 1 learned" in out
    assert "+0.0000" not in out
    assert (result["version"], result["champion_version"]) == ("1", "1")
    assert result["champion"] == result["challenger"] == before["challenger"]
    assert result["decision"] == "insufficient_evidence"
    one, other = (run_of(workspace, each) for each in (before, result))
    assert other.data.tags["holdout"] == one.data.tags["holdout"]
    assert one.info.run_name in other.data.tags["mlflow.note.content"]


def test_a_warm_run_learns_what_is_new_and_is_compared_on_the_same_rows(
    capsys, first, workspace, simulated
):
    before, _ = first
    rows = pd.read_parquet(before["predictions"])
    later = int(rows.time.iloc[len(rows) // 2])
    result, out = retrain(capsys, workspace, "--data", simulated, "--holdout-from", later)
    assert (result["mode"], result["warm_started_from"]) == ("warm", "1")
    assert result["version"] != "1"
    assert "epoch 0: validation loss" in out
    assert "epoch 2: train loss" in out
    assert re.search(r"rows of wide: [\d,]+ carried, [\d,]+ added, [\d,]+ dropped", out)
    assert result["decision"] in {"promote", "hold", "insufficient_evidence"}
    report = Path(result["predictions"]).with_name("memorisation.md").read_text(encoding="utf-8")
    assert "### Learned" in report
    run, earlier = run_of(workspace, result), run_of(workspace, before)
    metrics, champion = run.data.metrics, result["champion"]["streaming"]["auc"]
    assert metrics["holdout_champion_streaming_auc"] == pytest.approx(champion)
    difference = metrics["holdout_streaming_auc"] - champion
    assert metrics["auc_minus_champion"] == pytest.approx(difference)
    assert min(metrics) == "auc_minus_champion", "MLflow shows metrics in the order of their names"
    assert "v1, the champion" in run.data.tags["auc_difference"]
    assert run.data.tags["holdout"] != earlier.data.tags["holdout"]
    assert "no other run" in run.data.tags["mlflow.note.content"]
    (compared,) = re.findall(r"/#/compare-runs\?runs=([^&]+)&", out)
    assert json.loads(unquote(compared)) == [result["run_id"], before["run_id"]]


def test_the_same_run_again_reuses_every_artefact(capsys, first, workspace, simulated):
    del first
    arguments = ("--data", simulated, "--mode", "cold")
    one, _ = retrain(capsys, workspace, *arguments)
    other, _ = retrain(capsys, workspace, *arguments)
    assert other["predictions"] == one["predictions"]
    assert other["version"] == one["version"]


def test_a_champion_that_saw_the_holdout_is_not_compared_quietly(
    capsys, first, workspace, simulated
):
    before, _ = first
    earlier = before["split"]["holdout_from"]
    result, _ = retrain(capsys, workspace, "--data", simulated, "--as-of", earlier)
    assert (result["mode"], result["champion"], result["decision"]) == ("cold", None, "hold")
    assert "not comparable" in " ".join(result["reasons"])
    assert result["as_of"] == earlier
    rows = result["rows"]
    assert rows["read"] == rows["examples"] + rows["superseded"] + rows["quarantined"] < 8_000


def test_a_warm_start_that_is_impossible_is_refused(capsys, workspace, first, simulated):
    earlier = str(first[0]["split"]["holdout_from"])
    arguments = ["--data", str(simulated), "--mode", "warm", "--as-of", earlier]
    assert main(["retrain", "--home", str(workspace), *arguments]) == 2
    assert "no warm start is possible" in capsys.readouterr().err.splitlines()[0]


def test_status_shows_champion_and_history(capsys, first, workspace):
    del first
    assert main(["status", "--home", str(workspace), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert set(status) == {"model", "champion_version", "previous_version", "history"}
    assert status["model"] == "widedeep-sim-small"
    assert status["history"][0]["action"] == "promote"
    assert set(status["history"][0]) == {"at", "version", "action", "reason"}
    conclusion, measured = status["history"][0]["reason"].split("; ")[:2]
    for options, shows in (((), False), (("--reasons",), True)):
        assert main(["status", "--home", str(workspace), *options]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert conclusion[:20] in out
        assert (measured[:20] in out) is shows


def dry_run(folder, budget):
    with DryRunProcess() as dry_run_process:
        return dry_run_process.try_model(folder, budget)


def test_a_model_that_answers_otherwise_than_in_training_or_too_late_fails_its_dry_run(
    first, workspace, tmp_path
):
    result, _ = first
    folder = shutil.copytree(
        ModelStore(Workspace(workspace)).find(result["model"], "1").folder, tmp_path / "m"
    )
    golden = folder / "artifacts" / "history" / "golden.parquet"
    frame = pd.read_parquet(golden)
    assert (frame.user == -1).sum() == 20
    frame.assign(probability=frame.probability + 0.01).to_parquet(golden)
    outcome = dry_run(folder, budget=1e-9)
    assert [fault.split(" by")[0] for fault in outcome.faults[:1]] == ["answers differ"]
    assert "expected at most 1e-09 s" in outcome.faults[1]
    assert all(sentence.startswith("dry run: ") for sentence in outcome.reasons())


def test_a_model_whose_weights_are_gone_fails_its_dry_run(first, workspace, tmp_path):
    result, _ = first
    folder = shutil.copytree(
        ModelStore(Workspace(workspace)).find(result["model"], "1").folder, tmp_path / "m"
    )
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    (fault,) = dry_run(folder, budget=5.0).faults
    assert fault.startswith("the model cannot be loaded and asked:")
    assert "safetensors" in fault


def status_of(capsys, workspace, *arguments):
    assert main(["status", "--home", str(workspace), "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_champion_is_moved_by_hand_and_back_and_the_past_is_shown(capsys, first, workspace):
    del first
    arguments = ["--home", str(workspace), "--json", "--reason", "a second look"]
    assert main(["promote", "2", *arguments]) == 0
    moved = json.loads(capsys.readouterr().out)
    assert (moved["champion_version"], moved["previous_version"]) == ("2", "1")
    assert moved["history"][-1]["reason"] == "a second look"
    time.sleep(1.1)
    assert main(["rollback", *arguments]) == 0
    back = json.loads(capsys.readouterr().out)
    assert (back["champion_version"], back["previous_version"]) == ("1", "2")
    then = status_of(capsys, workspace, "--at", moved["history"][-1]["at"])
    assert (then["champion_version"], then["previous_version"]) == ("2", "1")
    assert then["history"] == moved["history"]
    before = status_of(capsys, workspace, "--at", "2001-01-01")
    assert (before["champion_version"], before["history"]) == (None, [])


def test_what_cannot_be_moved_is_refused(capsys, first, workspace):
    del first
    arguments = ["--home", str(workspace), "--reason", "why"]
    assert main(["promote", "1", *arguments]) == 2
    assert main(["promote", "77", *arguments]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert ["champion already" in errors[0], "no version '77'" in errors[1]] == [True, True]


def test_kmrd_small_is_learned(capsys, kmrd_small, tmp_path):
    """Its first years, to be quick; benchmarks measure the whole."""
    arguments = ("--data", kmrd_small, "--as-of", "2007-01-01")
    result, _ = retrain(capsys, tmp_path, *arguments)
    rows, split = result["rows"], result["split"]
    assert (rows["read"], rows["quarantined"]) == (28_505, 0)
    assert split["train"] + split["validation"] + split["holdout"] == rows["examples"]
    assert result["challenger"]["streaming"]["auc"] >= 0.74
    assert result["challenger"]["frozen"]["auc"] >= 0.68
    assert result["decision"] == "promote"
    assert np.isfinite(list(result["challenger"]["frozen"].values())).all()

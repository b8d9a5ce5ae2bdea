"""A search goes on where it stopped, looks at validation only, and its result is used."""

import json

import mlflow
import optuna
import pytest

from flows.cli import main
from widedeep.model.presets import SEARCH_SPACE

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, make_workspace):
    return make_workspace(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def searched(workspace, tiny, run_command):
    """Two trials, a third begun and cut off, then two more."""
    first, _ = run_command("tune", "--home", workspace, "--data", tiny, "--trials", 2)
    (name,) = optuna.get_all_study_names(f"sqlite:///{workspace}/tune.db")
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{workspace}/tune.db")
    study.ask()
    second, out = run_command("tune", "--home", workspace, "--data", tiny, "--trials", 4)
    return (
        first,
        second,
        out,
        optuna.load_study(study_name=name, storage=f"sqlite:///{workspace}/tune.db"),
    )


def test_the_first_trial_is_the_preset_itself(searched):
    first, _, _, study = searched
    assert first["preset_validation_loss"] == study.trials[0].value
    assert first["best_validation_loss"] <= first["preset_validation_loss"]


def test_a_search_goes_on_where_it_stopped(searched):
    first, second, out, study = searched
    assert (first["trials"], second["trials"]) == (2, 4)
    assert second["best_validation_loss"] <= first["best_validation_loss"]
    assert "trial 3:" in out
    assert "trial 2:" not in out
    states = [trial.state.name for trial in study.trials]
    assert states.count("FAIL") == 1
    assert "RUNNING" not in states


def test_a_search_cut_off_in_its_first_trial_begins_with_the_preset_again(
    searched, tiny, tmp_path, make_workspace, run_command
):
    _, _, _, study = searched
    again = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/tune.db", study_name=study.study_name
    )
    again.enqueue_trial(study.trials[0].params)
    again.ask()
    result, _ = run_command(
        "tune", "--home", make_workspace(tmp_path), "--data", tiny, "--trials", 1
    )
    assert result["preset_validation_loss"] == study.trials[0].value


def test_every_trial_is_a_run_below_the_search(searched, workspace):
    _, second, _, _ = searched
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    parent = client.get_run(second["run_id"])
    below = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{second['run_id']}'"
    )
    assert len(below) == 2
    assert {"best_validation_loss", "validation_auc"} <= set(below[0].data.metrics)
    assert {path.replace("/", "_") for path in SEARCH_SPACE} <= set(below[0].data.params)
    assert not [name for run in below for name in run.data.metrics if "holdout" in name]


def test_the_best_settings_are_used_by_name(searched, workspace, tiny, capsys):
    _, second, _, _ = searched
    arguments = ["retrain", "--home", str(workspace), "--data", str(tiny), "--json"]
    assert main([*arguments, "--preset", "tuned"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    parameters = client.get_run(result["run_id"]).data.params
    assert parameters["preset"] == "tuned"
    assert float(parameters["training_learning_rate"]) == pytest.approx(
        second["settings"]["training/learning_rate"]
    )


def test_without_a_search_there_is_nothing_tuned(tiny, tmp_path, make_workspace, capsys):
    arguments = ["--home", str(make_workspace(tmp_path)), "--data", str(tiny), "--preset", "tuned"]
    assert main(["retrain", *arguments]) == 2
    assert "begin with: widedeep tune" in capsys.readouterr().err.splitlines()[0]

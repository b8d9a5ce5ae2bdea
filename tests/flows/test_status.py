"""`widedeep status` answers from MLflow's file alone, says what MLflow says, and loads little."""

import json

import pytest
from mlflow import MlflowClient

from flows import status
from flows.cli import main
from flows.status import model_status, statuses
from tasks.model_store import ModelStore
from tasks.registry import OUTSIDE, Registry
from widedeep.inputs import parse_time
from widedeep.workspace import Workspace

MODEL = "widedeep-test"


@pytest.fixture
def workspace(tmp_path, make_workspace):
    return Workspace(make_workspace(tmp_path))


@pytest.fixture
def store(workspace):
    return ModelStore(workspace)


@pytest.fixture
def client(workspace, store):
    del store  # creates the tables
    return MlflowClient(workspace.tracking_uri, workspace.tracking_uri)


@pytest.fixture
def registry(workspace, store, client):
    """A model with three versions, of which 1 and then 2 were promoted."""
    client.create_registered_model(MODEL)
    registry = Registry(workspace, store, MODEL)
    for number in ("1", "2", "3"):
        folder = workspace.root / "models" / number
        (folder / "artifacts" / "id").mkdir(parents=True)
        (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        tags = {"widedeep.gated_id": "id", "widedeep.served_id": "id"}
        client.create_model_version(MODEL, folder.as_uri(), tags=tags)
    for number in ("1", "2"):
        registry.promote(registry.candidate(number, "a test"), "a test")
    return registry


def serving(workspace):
    """Champion and previous version of the model, by its status."""
    found = model_status(workspace, MODEL)
    return found["champion_version"], found["previous_version"]


def actions(workspace):
    return [(d["action"], d["version"]) for d in model_status(workspace, MODEL)["history"]]


def interrupt_promotion(registry, monkeypatch, version):
    """Record a promotion, and be killed before the alias is moved."""

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._store._client, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(registry.candidate(version, "better"), "better")


@pytest.mark.usefixtures("registry")
def test_the_file_and_mlflow_say_the_same(workspace, monkeypatch):
    from_file = statuses(workspace)
    monkeypatch.setattr(status, "_SQLITE", "no such scheme")
    assert statuses(workspace) == from_file
    assert serving(workspace) == ("2", "1")
    assert actions(workspace) == [("promote", "1"), ("promote", "2")]


@pytest.mark.usefixtures("registry")
def test_a_file_that_is_not_as_expected_is_left_to_mlflow(workspace, monkeypatch):
    monkeypatch.setattr(status, "_QUERY", "select nothing from nowhere")
    assert serving(workspace) == ("2", "1")


def test_models_without_a_champion_are_listed_by_name(workspace, client):
    for name in ("widedeep-b", "widedeep-a"):
        client.create_registered_model(name)
    nothing = {"champion_version": None, "previous_version": None, "history": []}
    assert statuses(workspace) == [
        {"model": "widedeep-a", **nothing},
        {"model": "widedeep-b", **nothing},
    ]


@pytest.mark.usefixtures("registry")
def test_a_champion_moved_in_mlflow_is_shown_and_recorded(workspace, client):
    client.set_registered_model_alias(MODEL, "champion", "3")
    assert serving(workspace) == ("3", "1")
    assert actions(workspace)[2:] == [(OUTSIDE, "3")]


def test_an_interrupted_move_is_finished(workspace, registry, monkeypatch):
    interrupt_promotion(registry, monkeypatch, "3")
    assert serving(workspace) == ("3", "2")
    assert actions(workspace)[2:] == [("promote", "3")]


def test_while_a_run_holds_the_workspace_nothing_is_moved(workspace, registry, monkeypatch):
    interrupt_promotion(registry, monkeypatch, "3")
    monkeypatch.setattr(status, "_settle", lambda workspace, models: False)  # noqa: ARG005
    assert serving(workspace) == ("2", "1")
    assert len(actions(workspace)) == 2


def test_the_past_is_read_from_the_records(workspace, registry):
    first, _ = workspace.decision_log(MODEL).history()
    del registry
    (found,) = statuses(workspace, parse_time(first["at"], "at") - 1)
    assert (found["champion_version"], found["history"]) == (None, [])
    (found,) = statuses(workspace, parse_time(first["at"], "at") + 3600)
    assert (found["champion_version"], found["previous_version"]) == ("2", "1")


@pytest.mark.usefixtures("registry")
def test_the_command_prints_a_line_for_each_model_or_a_table(workspace, capsys):
    assert main(["status", "--home", str(workspace.root), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == model_status(workspace, MODEL)
    assert main(["status", "--home", str(workspace.root)]) == 0
    out = capsys.readouterr().out
    assert f"{MODEL}  champion: version 2" in out
    assert out.count("promote") == 2


def test_an_empty_workspace_has_nothing_yet_and_stays_empty(capsys, tmp_path):
    assert main(["status", "--home", str(tmp_path)]) == 0
    assert "no model yet" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())

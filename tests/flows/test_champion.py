"""Which model a command means is never guessed."""

import pytest
from mlflow import MlflowClient

from flows.champion import choose_version
from flows.cli import main
from tasks.tracking import Tracker
from widedeep.inputs import InputError
from widedeep.workspace import Workspace


def register(workspace, model):
    """One version, without a run, that is the champion."""
    tracker = Tracker(workspace)
    folder = workspace.root / "models" / model
    (folder / "artifacts" / "id").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    client = MlflowClient(workspace.tracking_uri)
    client.create_registered_model(model)
    tags = {"widedeep.gated_id": "id", "widedeep.served_id": "id"}
    client.create_model_version(model, folder.as_uri(), tags=tags)
    tracker.promote(model, "1", replacing=None)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, make_workspace):
    """A home with one model."""
    workspace = Workspace(make_workspace(tmp_path_factory.mktemp("home")))
    register(workspace, "widedeep-one")
    return workspace


def test_the_only_model_need_not_be_named(workspace):
    for version in ("champion", "1"):
        found = choose_version(workspace, None, version)
        assert (found.model, found.version.number) == ("widedeep-one", "1")
        assert found.title == "widedeep-one version 1"


def test_an_unknown_model_or_version_is_refused(workspace):
    with pytest.raises(InputError, match="no model 'widedeep-two'; there are: widedeep-one"):
        choose_version(workspace, "widedeep-two", "champion")
    for version in ("2", "previous", "best"):
        with pytest.raises(InputError, match=f"has no version '{version}'"):
            choose_version(workspace, None, version)


@pytest.mark.parametrize("command", [["explain", "--user", "1", "--movie", "2"], ["memorisation"]])
def test_an_empty_home_is_left_empty(capsys, tmp_path, command):
    assert main([*command, "--home", str(tmp_path)]) == 2
    assert "no model yet" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_report_is_told_so(capsys, workspace):
    assert main(["memorisation", "--home", str(workspace.root)]) == 2
    assert "has no memorisation.md" in capsys.readouterr().err


def test_a_token_is_a_whole_number_of_64_bits(capsys, tmp_path):
    for bad in ("x", "1.5", str(2**63)):
        with pytest.raises(SystemExit) as raised:
            main(["explain", "--home", str(tmp_path), "--user", bad, "--movie", "1"])
        assert raised.value.code == 2
    assert "--user" in capsys.readouterr().err


def test_of_several_models_one_must_be_named(workspace):
    """Last, since the shared home has two models from here on."""
    register(workspace, "widedeep-two")
    with pytest.raises(InputError, match="name one by --model: widedeep-one, widedeep-two"):
        choose_version(workspace, None, "champion")
    assert choose_version(workspace, "widedeep-two", "champion").model == "widedeep-two"

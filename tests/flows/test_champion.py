"""The champion is moved by hand through Prefect, too, and the move is announced."""

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client

from flows.champion import promote_by_hand, rollback
from tasks.model_store import ModelStore
from tasks.registry import open_registry
from widedeep.inputs import InputError
from widedeep.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")

MODEL = "widedeep-by-hand"


@pytest.fixture
def workspace(tmp_path, make_workspace, monkeypatch):
    """The default workspace, with versions 1 and 2 of one model, of which 2 serves."""
    workspace = Workspace(make_workspace(tmp_path))
    monkeypatch.setenv("WIDEDEEP_HOME", str(workspace.root))
    client = MlflowClient(workspace.tracking_uri, workspace.tracking_uri)
    client.create_registered_model(MODEL)
    registry = open_registry(workspace, MODEL)
    for number in ("1", "2"):
        folder = workspace.root / "models" / number
        (folder / "artifacts" / "id").mkdir(parents=True)
        (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        tags = {"widedeep.gated_id": "id", "widedeep.served_id": "id"}
        client.create_model_version(MODEL, folder.as_uri(), tags=tags)
        registry.promote(registry.candidate(number, "a test"), "a test")
    return workspace


def test_a_rollback_is_announced(workspace):
    assert rollback(reason="to see it") == "1"
    assert ModelStore(workspace).champion(MODEL).number == "1"
    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_latest_artifacts()}
    assert f"{MODEL}-decision" in keys


def test_a_version_that_fails_the_dry_run_is_not_promoted(workspace):
    with pytest.raises(InputError, match="version 1 was not promoted: dry run"):
        promote_by_hand(version="1", reason="to see it fail")
    assert ModelStore(workspace).champion(MODEL).number == "2"

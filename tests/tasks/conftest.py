"""A registry on MLflow's real store."""

import pytest
from mlflow import MlflowClient

from tasks.model_store import ModelStore
from widedeep.store import ModelVersion, StoredModel
from widedeep.workspace import Workspace

MODEL = "widedeep-test"


@pytest.fixture
def workspace(tmp_path, make_workspace):
    return Workspace(make_workspace(tmp_path))


@pytest.fixture
def store(workspace):
    """A registry with three versions of one model, each with files."""
    store = ModelStore(workspace)
    client = MlflowClient(workspace.tracking_uri)
    client.create_registered_model(MODEL)
    for number in ("1", "2", "3"):
        folder = workspace.root / "models" / number
        (folder / "artifacts" / f"id{number}").mkdir(parents=True)
        (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        tags = {"widedeep.gated_id": f"id{number}", "widedeep.served_id": f"id{number}"}
        client.create_model_version(MODEL, folder.as_uri(), tags=tags)
    return store


@pytest.fixture
def version(workspace):
    """A version of that model as the store gives it."""

    def of(number):
        path = workspace.root / "models" / number / "artifacts" / f"id{number}"
        stored = StoredModel(f"id{number}", path)
        return ModelVersion(number, stored, stored)

    return of

"""The registered models in MLflow: their versions, aliases and files.

Commands that only look something up import this file and neither Prefect nor torch.
"""

import tempfile
from collections.abc import Callable
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, TypeVar

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from pandas.api.types import is_float_dtype, is_integer_dtype
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential_jitter

import widedeep
from widedeep import Artifact, Workspace
from widedeep.store import ModelVersion, StoredModel

TRAINING_VIEW = "workflowType=machine_learning"
"""The query that makes MLflow's UI show training runs; without it the UI shows conversations."""

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"

Answer = TypeVar("Answer")

_GATED_ID = "widedeep.gated_id"
_SERVED_ID = "widedeep.served_id"
_SERVED_PACKAGES = (
    "lazy-loader",
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "torch",
)
"""What the served model imports."""


def _is_busy(error: BaseException) -> bool:
    """Return whether MLflow could not write for a passing reason, such as a locked database."""
    return isinstance(error, MlflowException) and error.error_code in {
        "TEMPORARILY_UNAVAILABLE",
        "REQUEST_LIMIT_EXCEEDED",
    }


retry_while_busy = retry(
    retry=retry_if_exception(_is_busy),
    wait=wait_exponential_jitter(multiplier=0.5, max=10),
    stop=stop_after_delay(120),
    reraise=True,
)
"""Retry a call to MLflow while its database is locked; only for calls that may be repeated."""


def mlflow_client(workspace: Workspace) -> MlflowClient:
    """Return a client of the workspace's MLflow, which also becomes MLflow's default.

    Creating the database is not safe between processes: hold the workspace's lock.
    """
    mlflow.set_tracking_uri(workspace.tracking_uri)
    mlflow.set_registry_uri(workspace.tracking_uri)
    return MlflowClient(workspace.tracking_uri, workspace.tracking_uri)


class ChampionChangedError(RuntimeError):
    """The champion was moved by someone else while this run worked; nothing was promoted."""


class ModelStore:
    """The registered models, versions and aliases of one workspace in MLflow.

    For the process that holds the workspace's lock, because the champion is moved by comparing and
    setting.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._client = mlflow_client(workspace)

    def models(self) -> list[str]:
        """Return the names of all registered models."""
        return sorted(model.name for model in self._client.search_registered_models())

    def aliases(self, model: str) -> dict[str, str]:
        """Return the version number by alias of a model; empty if there is no such model."""
        entry = _or_none(lambda: self._client.get_registered_model(model))
        return {} if entry is None else {k: str(v) for k, v in entry.aliases.items()}

    @retry_while_busy
    def champion(self, model: str) -> ModelVersion | None:
        """Return the version that serves, or None if there is none; any other trouble raises."""
        return self._aliased(model, CHAMPION)

    @retry_while_busy
    def previous(self, model: str) -> ModelVersion | None:
        """Return the version that served before the champion, or None."""
        return self._aliased(model, PREVIOUS)

    @retry_while_busy
    def find(self, model: str, version: str) -> ModelVersion | None:
        """Return a version by its number or alias, or None if there is no such version."""
        if not version.isdecimal():
            return self._aliased(model, version)
        entry = _or_none(lambda: self._client.get_model_version(model, version))
        return self._version(entry) if entry else None

    def run_file(self, model: str, version: ModelVersion, name: str) -> Path | None:
        """Return a file kept by the run that registered `version`, or None if it kept none."""
        run_id = self._client.get_model_version(model, version.number).run_id
        files = self._client.list_artifacts(run_id) if run_id else []
        if name not in {file.path for file in files}:
            return None
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name))

    @retry_while_busy
    def register(
        self,
        model: str,
        run_id: str,
        models: tuple[Artifact, Artifact],
        write_history: Callable[[Path], None],
        example: pd.DataFrame,
    ) -> ModelVersion:
        """Register a version that MLflow can load and serve, with the alias `challenger`.

        Models that are registered already keep their version.

        Args:
            model: Name of the registered model.
            run_id: The MLflow run that made the version.
            models: The model that passed through the gate, and the one to serve.
            write_history: Writes what the version carries beside its weights into a new folder.
            example: A request, as the signature describes it.
        """
        gated, served = models
        version = self._registered(model, gated, served)
        if version is None:
            with tempfile.TemporaryDirectory() as folder:
                history = Path(folder) / "history"
                write_history(history)
                uri, model_id = _log_model(run_id, gated, served, history, example)
            tags = {_GATED_ID: gated.id, _SERVED_ID: served.id}
            if model not in self.models():
                self._client.create_registered_model(model)
            entry = self._client.create_model_version(
                model, uri, run_id, tags=tags, model_id=model_id
            )
            version = self._version(entry)
        self._client.set_registered_model_alias(model, CHALLENGER, version.number)
        return version

    @retry_while_busy
    def promote(self, model: str, version: str, replacing: ModelVersion | None) -> None:
        """Move the alias `champion` to `version` if it still stands at `replacing`.

        The alias `previous` moves first: a process killed in between leaves the old champion.
        """
        self.expect_champion(model, replacing)
        if replacing is not None:
            self._client.set_registered_model_alias(model, PREVIOUS, replacing.number)
        self._client.set_registered_model_alias(model, CHAMPION, version)

    def expect_champion(self, model: str, expected: ModelVersion | None) -> None:
        """Raise ChampionChangedError if another version than `expected` serves."""
        champion = self.champion(model)
        if champion != expected:
            number, expected_number = (v.number if v else "none" for v in (champion, expected))
            raise ChampionChangedError(
                f"{model}: the champion is version {number}, expected version {expected_number}; "
                "nothing was promoted"
            )

    def _aliased(self, model: str, alias: str) -> ModelVersion | None:
        number = self.aliases(model).get(alias)
        if number is None:
            return None
        return self._version(self._client.get_model_version(model, number))

    def _registered(self, model: str, gated: Artifact, served: Artifact) -> ModelVersion | None:
        """Return the newest version of these models; if both are one, any with this gated model."""
        newest_first = ["version_number DESC"]
        for entry in self._client.search_model_versions(f"name = '{model}'", order_by=newest_first):
            if entry.tags.get(_GATED_ID) != gated.id:
                continue
            if gated.id == served.id or entry.tags[_SERVED_ID] == served.id:
                return self._version(entry)
        return None

    def _version(self, entry: Any) -> ModelVersion:  # noqa: ANN401  an entity of MLflow
        folder = self._folder(entry.name, str(entry.version))
        # MLflow keeps an artefact under the name of its folder, which is the id.
        gated, served = (
            StoredModel(entry.tags[tag], folder / "artifacts" / entry.tags[tag])
            for tag in (_GATED_ID, _SERVED_ID)
        )
        return ModelVersion(str(entry.version), gated, served)

    def _folder(self, model: str, version: str) -> Path:
        """Return the version's folder: MLflow's own if it is on this machine, otherwise a copy."""
        uri = f"models:/{model}/{version}"
        stored = self._client.get_model_version_download_uri(model, version)
        if stored.startswith(("file:", "/")):
            return Path(mlflow.artifacts.download_artifacts(uri))
        copy = self._workspace.registered_models / model / version
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._workspace.root) as folder:
                draft = Path(folder) / "files"
                draft.mkdir()
                mlflow.artifacts.download_artifacts(uri, dst_path=str(draft))
                draft.rename(copy)
        return copy


def _log_model(
    run_id: str, gated: Artifact, served: Artifact, history: Path, example: pd.DataFrame
) -> tuple[str, str]:
    """Log a model with its files to the run; return its address and its id in MLflow."""
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={
                "model": str(served.path),
                "gated": str(gated.path),
                "history": str(history),
            },
            code_paths=[str(Path(widedeep.__file__).parent)],
            pip_requirements=_pip_requirements(),
            signature=_signature(example),
            input_example=example,
        )
    return logged.model_uri, logged.model_id


def _signature(example: pd.DataFrame) -> ModelSignature:
    """Return the signature of requests like the example; only user and item are required."""
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(_column_type(example[name]), str(name), required=name in {"user", "item"})
        for name in example
    ]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, "probability")]
    return ModelSignature(Schema(columns), Schema(outputs))


def _column_type(column: "pd.Series[Any]") -> DataType:
    if is_integer_dtype(column):
        return DataType.long
    return DataType.double if is_float_dtype(column) else DataType.string


def _or_none(ask: Callable[[], Answer]) -> Answer | None:
    """Return MLflow's answer, or None where it has no such model or version."""
    try:
        return ask()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _pip_requirements() -> list[str]:
    """Pin what the served model imports at the versions it was made with."""
    return [f"{name}=={installed_version(name).split('+')[0]}" for name in _SERVED_PACKAGES]

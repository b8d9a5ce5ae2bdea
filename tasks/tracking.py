"""Runs, models and aliases in MLflow.

With `served_model.py` and `dry_run_process.py`, which are executed by MLflow and in a process of their
own, the only file that imports mlflow.

What a registered model carries beside its weights: the ratings known when it was made.

What an address of MLflow's UI has to say.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.types import ColSpec, DataType, Schema
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential_jitter

import widedeep
from tasks.run import RunContext, flatten, run_inputs, run_origin, run_parameters, split_moments
from widedeep.evaluation import MEMORISATION_REPORT, MEMORISATION_TABLE
from widedeep.inputs import to_iso
from widedeep.store import Artifact, ModelVersion, StoredModel
from widedeep.workspace import UI_VARIABLE, Workspace

# Commands that only look something up load neither Prefect nor torch: what needs them is imported
# where a run is logged.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tasks.ingest import Ingested
    from widedeep.evaluation.gate import Decision
    from widedeep.model.trainer import EpochResult


def save_companion(ingested: Ingested, served: Artifact, folder: Path) -> None:
    """Write ratings, items and people into a new folder, and requests with their answers."""
    from widedeep.evaluation.scoring import model_scorer
    from widedeep.evaluation.snapshot import GOLDEN, DataSnapshot, GoldenRequests
    from widedeep.model.trained_model import TrainedModel

    folder.mkdir()
    known = DataSnapshot.from_tables(ingested.known(), ingested.items(), ingested.people())
    known.save(folder)
    scorer = model_scorer(TrainedModel.load(served.path), known.interactions, known.item_table)
    GoldenRequests.compute(known.interactions, scorer).save(folder / GOLDEN)


TRAINING_VIEW = "workflowType=machine_learning"
"""Without it runs are shown as if they were conversations."""


CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"

Found = TypeVar("Found")

_GATED_ID = "widedeep.gated_id"
_SERVED_ID = "widedeep.served_id"
_SAMPLED_SECONDS = 5
_SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.long, "user"),
            ColSpec(DataType.long, "item"),
            ColSpec(DataType.long, "time", required=False),
        ]
    ),
    outputs=Schema([ColSpec(DataType.double, "probability")]),
)


def _is_busy(error: BaseException) -> bool:
    """Whether MLflow could not write for a reason that passes: its database was locked."""
    return isinstance(error, MlflowException) and error.error_code in {
        "TEMPORARILY_UNAVAILABLE",
        "REQUEST_LIMIT_EXCEEDED",
    }


_patiently = retry(
    retry=retry_if_exception(_is_busy),
    wait=wait_exponential_jitter(multiplier=0.5, max=10),
    stop=stop_after_delay(120),
    reraise=True,
)
"""For what may be done twice."""


class ChampionChangedError(RuntimeError):
    """Somebody moved the champion while this run worked; nothing was promoted."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A tracked run of one registered model."""

    run_id: str
    model: str


class Tracker:
    """MLflow for one home.

    Only for the holder of the home's lock: creating the database is not safe between processes,
    and the champion is moved by comparing and setting.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._home = workspace
        mlflow.set_tracking_uri(workspace.tracking_uri)
        mlflow.set_registry_uri(workspace.tracking_uri)
        self._client = MlflowClient(workspace.tracking_uri, workspace.tracking_uri)

    def start(self, context: RunContext, prefect_run: str | None) -> TrackedRun:
        """Begin a run in the model's experiment, after closing those a killed process left."""
        ingested = context.ingested
        tags = run_origin(ingested, prefect_run)
        how = context.start.reason.split(",")[0]
        name = f"{ingested.source.name} as of {to_iso(ingested.split.as_of)[:10]}, {how}"
        experiment = self._experiment(ingested.model)
        self._close_stale()
        run = self._begin(experiment, ingested.model, name, run_parameters(context), tags)
        self._client.log_inputs(run.run_id, [_data_set(ingested)])
        return run

    def page(self, run: TrackedRun) -> str | None:
        """Where a person sees the run, if it is known where MLflow's UI is."""
        uri = self._home.tracking_uri
        ui = uri if uri.startswith("http") else os.environ.get(UI_VARIABLE)
        if ui is None:
            return None
        experiment = self._client.get_run(run.run_id).info.experiment_id
        return f"{ui.rstrip('/')}/#/experiments/{experiment}/runs/{run.run_id}?{TRAINING_VIEW}"

    def start_ablation(self, ingested: Ingested, seeds: int, prefect_run: str | None) -> TrackedRun:
        """Begin the run that holds an ablation's trials, in an experiment of its own."""
        parameters = {"data": ingested.source.name, "seeds": seeds, **split_moments(ingested)}
        return self._begin_above(ingested, "ablation", "as of", parameters, prefect_run)

    def start_trial(self, ablation: TrackedRun, context: RunContext, variant: str) -> TrackedRun:
        """Begin a run below an ablation's."""
        parameters = {"variant": variant, **run_parameters(context)}
        tags = {"widedeep.variant": variant}
        return self._begin_below(ablation, f"{variant}, seed {context.seed}", parameters, tags)

    def start_search(self, context: RunContext, trials: int, prefect_run: str | None) -> TrackedRun:
        """Begin the run that holds a search's trials, in an experiment of its own."""
        parameters = {"trials": trials, **run_parameters(context)}
        return self._begin_above(context.ingested, "tune", "as of", parameters, prefect_run)

    def log_settings(
        self,
        search: TrackedRun,
        settings: Mapping[str, Any],
        epochs: Sequence[EpochResult],
        loss: float,
        *,
        pruned: bool,
    ) -> None:
        """A trial of a search as a run below it, with its validation curve and best `loss`."""
        parameters = {path.replace("/", "_"): value for path, value in settings.items()}
        name = f"validation loss {loss:.4f}{', stopped early' if pruned else ''}"
        run = self._begin_below(search, name, parameters, {"widedeep.pruned": str(pruned)})
        with self.closing(run):
            for result in epochs:
                self._log(run, _judged(result), result.epoch)
            self._log(run, {"best_validation_loss": loss})

    def start_replay(
        self, ingested: Ingested, parameters: Mapping[str, Any], prefect_run: str | None
    ) -> TrackedRun:
        """Begin the run that holds a replay's policies, in an experiment of its own."""
        return self._begin_above(ingested, "replay", "to", parameters, prefect_run)

    def start_policy(self, replay: TrackedRun, policy: str) -> TrackedRun:
        """Begin a run below a replay's."""
        tags = {"widedeep.policy": policy}
        return self._begin_below(replay, policy, {"policy": policy}, tags)

    @_patiently
    def log_period(
        self, run: TrackedRun, step: int, values: Mapping[str, float | None], at: int
    ) -> None:
        """What a policy did at a step, and what its users got, at its own moment of time."""
        self._log(run, values, step, at)

    @contextmanager
    def all_closing(self, runs: Iterable[TrackedRun]) -> Iterator[None]:
        """End all runs when the block ends, see `closing`."""
        with ExitStack() as stack:
            for run in runs:
                stack.enter_context(self.closing(run))
            yield

    @contextmanager
    def closing(self, run: TrackedRun) -> Iterator[None]:
        """End the run when the block ends: finished, failed, or killed on an interruption."""
        status = "KILLED"
        try:
            yield
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            self._client.set_terminated(run.run_id, status)

    @contextmanager
    def observing(self, run: TrackedRun) -> Iterator[None]:
        """Log processor, memory and disk while the block runs."""
        uri = self._home.tracking_uri
        monitor = SystemMetricsMonitor(run.run_id, _SAMPLED_SECONDS, tracking_uri=uri)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    @_patiently
    def log_training(self, run: TrackedRun, model: Artifact) -> None:
        """The learning curve by epoch, the model's size, how its layers multiplied, and where."""
        from widedeep.model.trainer import EpochResult

        for result in model.summary["curve"]:
            self._log(run, _judged(EpochResult(**result)), result["epoch"])
        sizes = ("best_epoch", "wide_weights", "wide_nonzero")
        self._log(run, {name: model.summary[name] for name in sizes})
        for name in ("precision", "device"):
            self._client.set_tag(run.run_id, name, model.summary[name])

    @_patiently
    def log_evaluation(self, run: TrackedRun, evaluation: Artifact) -> None:
        """`holdout_streaming_auc` … of the challenger, its advantage, predictions and pictures."""
        from widedeep.evaluation.figures import FIGURES
        from widedeep.evaluation.scoring import PREDICTIONS

        measured = flatten("holdout", evaluation.summary["challenger"])
        difference = evaluation.summary["difference"]
        if difference is not None:
            for metric in ("auc", "log_loss", "ece"):
                measured |= flatten(f"difference_{metric}", difference[metric])
        self._log(run, measured)
        for name in (PREDICTIONS, MEMORISATION_TABLE, MEMORISATION_REPORT):
            self._client.log_artifact(run.run_id, str(evaluation.path / name))
        for name in FIGURES:
            self._client.log_artifact(run.run_id, str(evaluation.path / name), "figures")

    @_patiently
    def log_decision(self, run: TrackedRun, decision: Decision, version: str) -> None:
        """Tag the run with what was decided."""
        tags = {
            "decision": str(decision.verdict),
            "version": version,
            "mlflow.note.content": "\n\n".join(decision.reasons),
        }
        self._client.log_batch(run.run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    @_patiently
    def log_card(self, run: TrackedRun, version: str, card: str) -> None:
        """Show a model card (Markdown) on the version's page, and keep it with the run."""
        self._client.update_model_version(run.model, version, card)
        self._client.log_text(run.run_id, card, "model_card.md")

    @_patiently
    def log_scores(self, run: TrackedRun, measured: Mapping[str, Any]) -> None:
        """`holdout_streaming_auc` … of a trial."""
        self._log(run, flatten("holdout", measured))

    @_patiently
    def log_files(self, run: TrackedRun, files: Iterable[Path], note: str) -> None:
        """Keep files with the run, and show `note` (Markdown) on its page."""
        for file in files:
            self._client.log_artifact(run.run_id, str(file))
        self._client.set_tag(run.run_id, "mlflow.note.content", note)

    @_patiently
    def log_seconds(self, run: TrackedRun, seconds: Mapping[str, float]) -> None:
        """How long each stage took."""
        self._log(run, {f"seconds_{stage}": value for stage, value in seconds.items()})

    @_patiently
    def champion(self, model: str) -> ModelVersion | None:
        """The version that serves. Only its plain absence is None; any other trouble raises."""
        return self._aliased(model, CHAMPION)

    @_patiently
    def previous(self, model: str) -> ModelVersion | None:
        """The version that served before the champion."""
        return self._aliased(model, PREVIOUS)

    @_patiently
    def find(self, model: str, version: str) -> ModelVersion | None:
        """A version by its number or by an alias, if there is such a one."""
        if not version.isdecimal():
            return self._aliased(model, version)
        found = _if_there(lambda: self._client.get_model_version(model, version))
        return self._version(found) if found else None

    def file(self, model: str, version: ModelVersion, name: str) -> Path | None:
        """A file that the run which registered a version kept, if it did."""
        run_id = self._client.get_model_version(model, version.number).run_id
        kept = self._client.list_artifacts(run_id) if run_id else []
        if name not in {found.path for found in kept}:
            return None
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name))

    @_patiently
    def register(
        self, run: TrackedRun, gated: Artifact, served: Artifact, ingested: Ingested
    ) -> ModelVersion:
        """Make a version that MLflow can load and serve, and give it the alias `challenger`.

        Models that are registered already keep their version.
        """
        version = self._registered(run.model, gated, served)
        if version is None:
            version = self._log_models(run, gated, served, ingested)
        self._client.set_registered_model_alias(run.model, CHALLENGER, version.number)
        return version

    @_patiently
    def promote(self, model: str, version: str, replacing: ModelVersion | None) -> None:
        """Make `version` the champion if the champion still is `replacing`.

        `previous` moves first: killed in between, the champion is still the old one.
        """
        self.expect_champion(model, replacing)
        if replacing is not None:
            self._client.set_registered_model_alias(model, PREVIOUS, replacing.number)
        self._client.set_registered_model_alias(model, CHAMPION, version)

    def expect_champion(self, model: str, expected: ModelVersion | None) -> None:
        """Raise ChampionChangedError if another version serves."""
        champion = self.champion(model)
        if champion != expected:
            found, wanted = (one.number if one else "none" for one in (champion, expected))
            raise ChampionChangedError(
                f"{model}: the champion is version {found}, expected was {wanted}; nothing was "
                "promoted"
            )

    def aliases(self, model: str) -> dict[str, str]:
        """Return the version number by alias of a model; none if there is no such model."""
        registered = _if_there(lambda: self._client.get_registered_model(model))
        return {} if registered is None else {k: str(v) for k, v in registered.aliases.items()}

    def models(self) -> list[str]:
        """Names of all registered models."""
        return sorted(model.name for model in self._client.search_registered_models())

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, self._home.artifacts_uri))

    def _begin(
        self,
        experiment: str,
        model: str,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> TrackedRun:
        run_id = self._client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id
        params = [Param(key, str(value)) for key, value in parameters.items()]
        self._client.log_batch(run_id, params=params)
        return TrackedRun(run_id, model)

    def _begin_above(
        self,
        ingested: Ingested,
        what: str,
        until: str,
        parameters: Mapping[str, Any],
        prefect_run: str | None,
    ) -> TrackedRun:
        """Begin a run that holds others, in the experiment `<model>-<what>`."""
        name = f"{ingested.source.name} {what} {until} {to_iso(ingested.split.as_of)[:10]}"
        experiment = self._experiment(f"{ingested.model}-{what}")
        self._close_stale()
        tags = run_origin(ingested, prefect_run)
        return self._begin(experiment, ingested.model, name, parameters, tags)

    def _begin_below(
        self, above: TrackedRun, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> TrackedRun:
        """Begin a run that MLflow shows below another one."""
        experiment = self._client.get_run(above.run_id).info.experiment_id
        tags = {MLFLOW_PARENT_RUN_ID: above.run_id, **tags}
        return self._begin(experiment, above.model, name, parameters, tags)

    def _aliased(self, model: str, alias: str) -> ModelVersion | None:
        number = self.aliases(model).get(alias)
        if number is None:
            return None
        return self._version(self._client.get_model_version(model, number))

    def _registered(self, model: str, gated: Artifact, served: Artifact) -> ModelVersion | None:
        """The newest version with these models; where both are one, with that gated one."""
        for found in self._newest_first(model):
            if found.tags.get(_GATED_ID) != gated.id:
                continue
            if gated.id == served.id or found.tags[_SERVED_ID] == served.id:
                return self._version(found)
        return None

    def _newest_first(self, model: str) -> list[Any]:
        order = ["version_number DESC"]
        return list(self._client.search_model_versions(f"name = '{model}'", order_by=order))

    def _version(self, found: Any) -> ModelVersion:  # noqa: ANN401
        folder = self._folder(found.name, str(found.version))
        # MLflow keeps an artefact under the name of its folder, which is the id.
        gated, served = (
            StoredModel(found.tags[tag], folder / "artifacts" / found.tags[tag])
            for tag in (_GATED_ID, _SERVED_ID)
        )
        return ModelVersion(str(found.version), gated, served)

    def _folder(self, model: str, version: str) -> Path:
        """Where its files are: in MLflow's store if that is on this machine, else in a copy."""
        uri = f"models:/{model}/{version}"
        stored = self._client.get_model_version_download_uri(model, version)
        if stored.startswith(("file:", "/")):
            return Path(mlflow.artifacts.download_artifacts(uri))
        kept = self._home.registered_models / model / version
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._home.root) as folder:
                draft = Path(folder) / "files"
                draft.mkdir()
                mlflow.artifacts.download_artifacts(uri, dst_path=str(draft))
                draft.rename(kept)
        return kept

    def _log_models(
        self, run: TrackedRun, gated: Artifact, served: Artifact, ingested: Ingested
    ) -> ModelVersion:
        with tempfile.TemporaryDirectory() as folder:
            history = Path(folder) / "history"
            save_companion(ingested, served, history)
            with mlflow.start_run(run_id=run.run_id):
                logged = mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(Path(__file__).with_name("served_model.py")),
                    artifacts={
                        "model": str(served.path),
                        "gated": str(gated.path),
                        "history": str(history),
                    },
                    code_paths=[str(Path(widedeep.__file__).parent)],
                    pip_requirements=_requirements(),
                    signature=_SIGNATURE,
                    input_example=_example(ingested),
                )
        if run.model not in self.models():
            self._client.create_registered_model(run.model)
        tags = {_GATED_ID: gated.id, _SERVED_ID: served.id}
        created = self._client.create_model_version(
            run.model, logged.model_uri, run.run_id, tags=tags, model_id=logged.model_id
        )
        return self._version(created)

    def _close_stale(self) -> None:
        """Whoever holds the home's lock knows that no other run of it is alive."""
        experiments = [found.experiment_id for found in self._client.search_experiments()]
        running = self._client.search_runs(experiments, "attributes.status = 'RUNNING'")
        for run in running:
            self._client.set_terminated(run.info.run_id, "KILLED")

    def _log(
        self,
        run: TrackedRun,
        values: Mapping[str, float | None],
        step: int = 0,
        at: float | None = None,
    ) -> None:
        now = int((time.time() if at is None else at) * 1000)
        known = {name: float(value) for name, value in values.items() if value is not None}
        metrics = [Metric(name, value, now, step) for name, value in known.items()]
        self._client.log_batch(run.run_id, metrics=metrics)


def _judged(result: EpochResult) -> dict[str, float | None]:
    names = ("train_loss", "validation_loss", "validation_auc")
    return {name: getattr(result, name) for name in names}


def _data_set(ingested: Ingested) -> DatasetInput:
    """The ratings of a run, as MLflow shows data sets: by name and digest."""
    facts = run_inputs(ingested)
    found = Dataset(
        facts.name,
        facts.digest,
        source_type="local",
        source=json.dumps({"uri": facts.folder}),
        profile=json.dumps(facts.profile),
    )
    return DatasetInput(found, [InputTag("mlflow.data.context", "training and holdout")])


def _if_there(look: Callable[[], Found]) -> Found | None:
    """What MLflow finds; None where it has no such thing."""
    try:
        return look()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _example(ingested: Ingested) -> pd.DataFrame:
    """A request: the last rated pairs and a user and a item that nobody knows."""
    interactions = ingested.known()
    user, item = np.append(interactions.user[-2:], -1), np.append(interactions.item[-2:], -1)
    return pd.DataFrame({"user": user, "item": item, "time": ingested.split.as_of})


def _requirements() -> list[str]:
    """What the served model imports, at the versions it was made with."""
    names = (
        "mlflow",
        "numba",
        "numpy",
        "pandas",
        "pyarrow",
        "safetensors",
        "scikit-learn",
        "torch",
    )
    return [f"{name}=={installed_version(name).split('+')[0]}" for name in names]

"""Runs in MLflow: what a run was made from, what it measured and what it left behind.

Only this file, `model_store.py`, and the two files that MLflow or a process of its own executes
(`served_model.py`, `dry_run_worker.py`) import mlflow.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from tasks.ingest import Ingested
from tasks.mlflow_page import NOTE, RETRAIN_VIEW, RunDecision, RunPages, comparison_metrics
from tasks.model_store import mlflow_client, retry_while_busy
from tasks.run import (
    PREFECT_RUN,
    RunContext,
    flatten,
    run_inputs,
    run_origin,
    run_parameters,
    split_moments,
)
from widedeep import Artifact, Workspace
from widedeep.evaluation import MEMORISATION_REPORT, MEMORISATION_TABLE
from widedeep.evaluation.figures import FIGURES
from widedeep.evaluation.scoring import PREDICTIONS
from widedeep.inputs import to_iso
from widedeep.model.trainer import EpochResult
from widedeep.workspace import UI_VARIABLE

_SAMPLING_SECONDS = 5


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run in MLflow: its id, and the name of the registered model that it works for."""

    run_id: str
    model: str


class Tracker:
    """The runs of one workspace in MLflow; for the process that holds the workspace's lock."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._client = mlflow_client(workspace)

    def start(self, context: RunContext, prefect_run: str | None) -> TrackedRun:
        """Start a run in the model's experiment, after ending those of killed processes."""
        ingested = context.ingested
        tags = run_origin(ingested, prefect_run)
        start = context.start.reason.split(",")[0]
        name = f"{ingested.source.name} as of {to_iso(ingested.split.as_of)[:10]}, {start}"
        experiment = self._experiment(ingested.model, RETRAIN_VIEW)
        self._end_stale_runs()
        run = self._create(experiment, ingested.model, name, run_parameters(context), tags)
        self._client.log_inputs(run.run_id, [_dataset_input(ingested)])
        return run

    def start_ablation(self, ingested: Ingested, seeds: int, prefect_run: str | None) -> TrackedRun:
        """Start the parent run of an ablation's trials, in an experiment of its own."""
        parameters = {"data": ingested.source.name, "seeds": seeds, **split_moments(ingested)}
        return self._create_parent(ingested, "ablation", "as of", parameters, prefect_run)

    def start_trial(self, ablation: TrackedRun, context: RunContext, variant: str) -> TrackedRun:
        """Start the run of one trial, as a child of its ablation's run."""
        parameters = {"variant": variant, **run_parameters(context)}
        tags = {"widedeep.variant": variant}
        return self._create_child(ablation, f"{variant}, seed {context.seed}", parameters, tags)

    def start_search(self, context: RunContext, trials: int, prefect_run: str | None) -> TrackedRun:
        """Start the parent run of a search's trials, in an experiment of its own."""
        parameters = {"trials": trials, **run_parameters(context)}
        return self._create_parent(context.ingested, "tune", "as of", parameters, prefect_run)

    def start_replay(
        self, ingested: Ingested, parameters: Mapping[str, Any], prefect_run: str | None
    ) -> TrackedRun:
        """Start the parent run of a replay's policies, in an experiment of its own."""
        return self._create_parent(ingested, "replay", "to", parameters, prefect_run)

    def start_policy(self, replay: TrackedRun, policy: str) -> TrackedRun:
        """Start the run of one policy, as a child of its replay's run."""
        tags = {"widedeep.policy": policy}
        return self._create_child(replay, policy, {"policy": policy}, tags)

    @contextmanager
    def closing(self, run: TrackedRun) -> Iterator[None]:
        """End the run with the block: FINISHED, FAILED on an error, KILLED on an interruption."""
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
    def all_closing(self, runs: Iterable[TrackedRun]) -> Iterator[None]:
        """End all `runs` with the block, as `closing` does."""
        with ExitStack() as stack:
            for run in runs:
                stack.enter_context(self.closing(run))
            yield

    @contextmanager
    def observing(self, run: TrackedRun) -> Iterator[None]:
        """Log processor, memory and disk use while the block runs."""
        uri = self._workspace.tracking_uri
        monitor = SystemMetricsMonitor(run.run_id, _SAMPLING_SECONDS, tracking_uri=uri)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    @retry_while_busy
    def log_training(self, run: TrackedRun, model: Artifact) -> None:
        """Log the learning curve, the size of the model, its precision and its device."""
        for epoch in model.summary["curve"]:
            self._log_metrics(run, _curve_point(EpochResult(**epoch)), epoch["epoch"])
        sizes = ("best_epoch", "wide_weights", "wide_nonzero")
        self._log_metrics(run, {name: model.summary[name] for name in sizes})
        for name in ("precision", "device"):
            self._client.set_tag(run.run_id, name, model.summary[name])

    @retry_while_busy
    def log_evaluation(self, run: TrackedRun, evaluation: Artifact) -> None:
        """Log the metrics of the comparison (see `comparison_metrics`) and all files."""
        self._log_metrics(run, comparison_metrics(evaluation.summary))
        for name in (PREDICTIONS, MEMORISATION_TABLE, MEMORISATION_REPORT):
            self._client.log_artifact(run.run_id, str(evaluation.path / name))
        for name in FIGURES:
            self._client.log_artifact(run.run_id, str(evaluation.path / name), "figures")

    @retry_while_busy
    def log_decision(self, run: TrackedRun, decision: RunDecision) -> None:
        """Name and tag the run after the decision, and describe what may be compared with it."""
        tags = decision.tags()
        note = decision.note(self._runs_on(run, tags["holdout"]))
        tags |= {MLFLOW_RUN_NAME: decision.name(), NOTE: note}
        self._client.log_batch(run.run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    @retry_while_busy
    def log_card(self, run: TrackedRun, version: str, card: str) -> None:
        """Show a model card (Markdown) on the version's page, and keep it with the run."""
        self._client.update_model_version(run.model, version, card)
        self._client.log_text(run.run_id, card, "model_card.md")

    @retry_while_busy
    def log_scores(self, run: TrackedRun, scores: Mapping[str, Any]) -> None:
        """Log `holdout_…` of a trial, from nested scores by protocol and metric."""
        self._log_metrics(run, flatten("holdout", scores))

    def log_settings(
        self,
        search: TrackedRun,
        settings: Mapping[str, Any],
        epochs: Sequence[EpochResult],
        loss: float,
        *,
        pruned: bool,
    ) -> None:
        """Log a trial of a search as a child run, with its validation curve and best `loss`."""
        parameters = {path.replace("/", "_"): value for path, value in settings.items()}
        name = f"validation loss {loss:.4f}{', stopped early' if pruned else ''}"
        run = self._create_child(search, name, parameters, {"widedeep.pruned": str(pruned)})
        with self.closing(run):
            for epoch in epochs:
                self._log_metrics(run, _curve_point(epoch), epoch.epoch)
            self._log_metrics(run, {"best_validation_loss": loss})

    @retry_while_busy
    def log_period(
        self, run: TrackedRun, step: int, values: Mapping[str, float | None], at: int
    ) -> None:
        """Log what a policy of a replay did at a step, dated `at` (UNIX seconds)."""
        self._log_metrics(run, values, step, at)

    @retry_while_busy
    def log_files(self, run: TrackedRun, files: Iterable[Path], note: str) -> None:
        """Keep files with the run, and show `note` (Markdown) on its page."""
        for file in files:
            self._client.log_artifact(run.run_id, str(file))
        self._client.set_tag(run.run_id, NOTE, note)

    @retry_while_busy
    def log_seconds(self, run: TrackedRun, seconds: Mapping[str, float]) -> None:
        """Log the seconds that each stage took."""
        self._log_metrics(run, {f"seconds_{stage}": value for stage, value in seconds.items()})

    def url(self, run: TrackedRun) -> str | None:
        """Return the address of the run's page, or None if the address of the UI is unknown."""
        uri = self._workspace.tracking_uri
        ui = uri if uri.startswith("http") else os.environ.get(UI_VARIABLE)
        return None if ui is None else ui.rstrip("/") + self.pages(run.run_id).run

    def pages(self, run_id: str) -> RunPages:
        """Return where MLflow's UI shows a run, and the Prefect run that made it."""
        run = self._client.get_run(run_id)
        prefect_run = run.data.tags.get(PREFECT_RUN, "none")
        return RunPages(
            run_id, run.info.experiment_id, None if prefect_run == "none" else prefect_run
        )

    def run_of_version(self, model: str, version: str) -> str | None:
        """Return the run that registered a version, or None if none did."""
        return self._client.get_model_version(model, version).run_id or None

    def _runs_on(self, run: TrackedRun, holdout: str) -> list[str]:
        """Return the names of the other runs whose holdout has the same rows, the newest first."""
        experiment = self._client.get_run(run.run_id).info.experiment_id
        runs = self._client.search_runs([experiment], f"tags.holdout = '{holdout}'")
        return [other.info.run_name for other in runs if other.info.run_id != run.run_id]

    def _experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the experiment of a name; create it, and the tags that it does not have yet."""
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            uri = self._workspace.artifacts_uri
            return str(self._client.create_experiment(name, uri, dict(tags)))
        for key in tags.keys() - experiment.tags.keys():
            self._client.set_experiment_tag(experiment.experiment_id, key, tags[key])
        return str(experiment.experiment_id)

    def _create(
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

    def _create_parent(
        self,
        ingested: Ingested,
        study: str,
        until: str,
        parameters: Mapping[str, Any],
        prefect_run: str | None,
    ) -> TrackedRun:
        """Create a run that will have children, in the experiment `<model>-<study>`."""
        name = f"{ingested.source.name} {study} {until} {to_iso(ingested.split.as_of)[:10]}"
        experiment = self._experiment(f"{ingested.model}-{study}", {})
        self._end_stale_runs()
        tags = run_origin(ingested, prefect_run)
        return self._create(experiment, ingested.model, name, parameters, tags)

    def _create_child(
        self, parent: TrackedRun, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> TrackedRun:
        experiment = self._client.get_run(parent.run_id).info.experiment_id
        tags = {MLFLOW_PARENT_RUN_ID: parent.run_id, **tags}
        return self._create(experiment, parent.model, name, parameters, tags)

    def _end_stale_runs(self) -> None:
        """End the runs that killed processes left RUNNING.

        This process holds the workspace's lock, so no other run of the workspace is alive.
        """
        experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        for run in self._client.search_runs(experiments, "attributes.status = 'RUNNING'"):
            self._client.set_terminated(run.info.run_id, "KILLED")

    def _log_metrics(
        self,
        run: TrackedRun,
        values: Mapping[str, float | None],
        step: int = 0,
        at: float | None = None,
    ) -> None:
        """Log the values that are not None, dated `at` (UNIX seconds; None: now)."""
        milliseconds = int((time.time() if at is None else at) * 1000)
        metrics = [
            Metric(name, float(value), milliseconds, step)
            for name, value in values.items()
            if value is not None
        ]
        self._client.log_batch(run.run_id, metrics=metrics)


def _curve_point(epoch: EpochResult) -> dict[str, float | None]:
    names = ("train_loss", "validation_loss", "validation_auc")
    return {name: getattr(epoch, name) for name in names}


def _dataset_input(ingested: Ingested) -> DatasetInput:
    """Describe the interactions of a run in the way MLflow shows data sets: name and digest."""
    inputs = run_inputs(ingested)
    dataset = Dataset(
        inputs.name,
        inputs.digest,
        source_type="local",
        source=json.dumps({"uri": inputs.folder}),
        profile=json.dumps(inputs.profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training and holdout")])

"""Better settings, searched for on validation: ingest → features → a trial at a time.

The end of a search, for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.console import plain_console
from flows.environment import default_workspace
from flows.exclusive_run import exclusive_run
from flows.retrain import Stopwatch
from flows.run_form import DataSet, Moments, run_name
from tasks.ingest import Ingested, ingest
from tasks.run import RunContext, save_tuned
from tasks.tracking import TrackedRun, Tracker
from tasks.training import features
from tasks.tuning import TuningSearch, try_settings
from widedeep.inputs import InputError
from widedeep.model.presets import Setting
from widedeep.model.presets import preset as named
from widedeep.model.warm_start import TrainingStart
from widedeep.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What a search has found so far."""

    ingested: Ingested
    run_id: str
    trials: int
    first_loss: float | None
    best_loss: float
    settings: Mapping[str, Setting]
    file: Path
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep tune --json` prints."""
        return {
            "data": self.ingested.source.name,
            "model": self.ingested.model,
            "run_id": self.run_id,
            "trials": self.trials,
            "preset_validation_loss": self.first_loss,
            "best_validation_loss": self.best_loss,
            "settings": dict(self.settings),
            "file": str(self.file),
            "seconds": self.seconds,
        }


@flow(name="tune", flow_run_name=run_name)
def tune(
    data: DataSet = DataSet(), moments: Moments = Moments(), trials: int = 20, seed: int = 0
) -> TuneReport:
    """Search for settings whose validation loss is lower; the holdout is never looked at.

    The same search again goes on where the last one stopped. `retrain` with preset `tuned` uses
    what was found best.

    Args:
        data: Where the ratings come from.
        moments: What is known when.
        trials: How many settings are tried in all, those of earlier searches counted.
        seed: Of the search, the initial weights and the order of the rows.

    Returns:
        All that was found.
    """
    workspace = default_workspace()
    if trials < 1:
        raise InputError(f"trials is {trials}; a whole number from 1 is wanted")
    with exclusive_run(workspace):
        watch = Stopwatch()
        ingested = ingest(workspace, data.text, moments.window)
        job = RunContext(
            workspace, ingested, named("default"), None, TrainingStart("cold, a search"), seed
        )
        search = TuningSearch(job, features(job))
        tracker = Tracker(workspace)
        run = tracker.start_search(job, trials, flow_run.id)
        with tracker.closing(run):
            for number in range(search.finished + 1, trials + 1):
                _try(tracker, run, search, number)
            best = search.study.best_trial
            file = save_tuned(workspace, ingested.model, best.params, search.study.best_value)
            tracker.log_files(run, [file], "")
        total = watch.seconds()["total"]
    return _found(ingested, run, search, file, total)


def _try(tracker: Tracker, search_run: TrackedRun, search: TuningSearch, number: int) -> None:
    tried = try_settings(search, number)
    state = "stopped early" if tried.pruned else "finished"
    best = search.study.best_value
    found = f"validation loss {tried.loss:.4f} ({state}); best so far {best:.4f}"
    get_run_logger().info("tune: trial %s: %s", number, found)
    curve = tried.epochs, tried.loss
    tracker.log_settings(search_run, tried.settings, *curve, pruned=tried.pruned)


def _found(
    ingested: Ingested, run: TrackedRun, search: TuningSearch, file: Path, seconds: float
) -> TuneReport:
    study = search.study
    return TuneReport(
        ingested,
        run.run_id,
        search.finished,
        search.first_loss,
        study.best_value,
        study.best_params,
        file,
        seconds,
    )


def show_tune(found: TuneReport, workspace: Workspace) -> None:
    """Print what was found, and where to look next."""
    console = plain_console()
    first = "" if found.first_loss is None else f", the default preset has {found.first_loss:.4f}"
    console.print(f"\n[bold]{found.ingested.model}[/bold]  {found.trials} settings tried")
    console.print(f"best      validation loss {found.best_loss:.4f}{first}")
    for path, value in found.settings.items():
        console.print(f"          {path} = {value if isinstance(value, str) else f'{value:.5g}'}")
    console.print(f"kept      {found.file}")
    console.print("\nlook next", style="bold")
    console.print("  use them  widedeep retrain --preset tuned")
    console.print(f"  MLflow    .venv/bin/mlflow ui --backend-store-uri {workspace.tracking_uri}")

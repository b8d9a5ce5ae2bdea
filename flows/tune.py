"""A search for better settings, on validation alone: ingest → features → one trial after another.

`tune` is the flow, a `TuneReport` is what it returns, and `show_tune` prints it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from rich.markup import escape

from flows.console import plain_console, show_next
from flows.environment import default_workspace
from flows.exclusive_run import Stopwatch, exclusive_run, run_name
from tasks.ingest import Ingested, ingest
from tasks.run import RunContext, save_tuned
from tasks.run_form import AtLeastOne, DataSet, Moments, Search, Seed
from tasks.tracking import TrackedRun, Tracker
from tasks.training import features
from tasks.tuning import TuningSearch, try_settings
from widedeep import Workspace, get_preset
from widedeep.inputs import PresetName
from widedeep.model.presets import Setting
from widedeep.model.warm_start import TrainingStart


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The result of a search so far; losses are validation losses, in nats."""

    ingested: Ingested
    run_id: str
    trials: int
    first_loss: float | None
    best_loss: float
    settings: Mapping[str, Setting]
    file: Path
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep tune --json` prints."""
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


_DEFAULTS = Search()


@flow(name="tune", flow_run_name=run_name)
def tune(
    data: DataSet = DataSet(),
    moments: Moments = Moments(),
    trials: AtLeastOne = _DEFAULTS.trials,
    seed: Seed = _DEFAULTS.seed,
) -> TuneReport:
    """Search for settings with a lower validation loss; the holdout is never read.

    The same search again continues where the last one stopped. `retrain` with preset `tuned` uses
    the best settings that were found.

    Args:
        data: Where the interactions come from.
        moments: What is known when.
        trials: How many settings are tried in all; those of earlier searches count.
        seed: Seed of the search, of the initial weights and of the order of the rows.

    Returns:
        The report, whose `as_json` is the object that `widedeep tune --json` prints.
    """
    workspace = default_workspace()
    with exclusive_run(workspace):
        watch = Stopwatch()
        ingested = ingest(workspace, data, moments)
        preset = get_preset(PresetName.DEFAULT, ingested.source.spec)
        start = TrainingStart("cold, a search")
        context = RunContext(workspace, ingested, preset, None, start, seed)
        search = TuningSearch(context, features(context))
        tracker = Tracker(workspace)
        run = tracker.start_search(context, trials, flow_run.id)
        with tracker.closing(run):
            for number in range(search.finished + 1, trials + 1):
                _try(tracker, run, search, number)
            best = search.study.best_trial
            file = save_tuned(workspace, ingested.model, best.params, search.study.best_value)
            tracker.log_files(run, [file], "")
        return _report(ingested, run, search, file, watch)


def _try(tracker: Tracker, run: TrackedRun, search: TuningSearch, number: int) -> None:
    trial = try_settings(search, number)
    state = "stopped early" if trial.pruned else "finished"
    best = search.study.best_value
    result = f"validation loss {trial.loss:.4f} ({state}); best so far {best:.4f}"
    get_run_logger().info("tune: trial %s: %s", number, result)
    tracker.log_settings(run, trial.settings, trial.epochs, trial.loss, pruned=trial.pruned)


def _report(
    ingested: Ingested, run: TrackedRun, search: TuningSearch, file: Path, watch: Stopwatch
) -> TuneReport:
    return TuneReport(
        ingested,
        run.run_id,
        search.finished,
        search.first_loss,
        search.study.best_value,
        search.study.best_params,
        file,
        watch.seconds()["total"],
    )


def show_tune(report: TuneReport, workspace: Workspace) -> None:
    """Print the best settings, and where to look next."""
    console = plain_console()
    first = report.first_loss
    preset = "" if first is None else f", the default preset has {first:.4f}"
    console.print(f"\n[bold]{report.ingested.model}[/bold]  {report.trials} settings tried")
    console.print(f"label     {escape(report.ingested.label)}")
    console.print(f"best      validation loss {report.best_loss:.4f}{preset}")
    for path, value in report.settings.items():
        console.print(f"          {path} = {value if isinstance(value, str) else f'{value:.5g}'}")
    console.print(f"saved     {report.file}")
    console.print()
    pages = Tracker(workspace).pages(report.run_id)
    links = {"this run": pages.run, "trials": pages.children}
    advice = {"use them": "widedeep retrain --preset tuned"}
    show_next(console, workspace, advice, links, pages.prefect_run)

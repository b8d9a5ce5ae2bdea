"""Better settings, searched for on validation: ingest → features → a trial at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.environment import default_home
from flows.report import Stopwatch
from flows.run_name import run_name
from flows.stale_runs import marked
from flows.window import window
from tasks.features import features
from tasks.ingest import Ingested, ingest
from tasks.job import Job
from tasks.tracking import Run, Tracker
from tasks.tuned import keep
from tasks.tuning import Search, try_settings
from widedeep.errors import InputError
from widedeep.home import Home
from widedeep.model.presets import preset as named
from widedeep.model.search_space import Setting
from widedeep.model.start import Start


@dataclass(frozen=True, slots=True)
class Tuned:
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
def tune(  # noqa: PLR0917  the run form
    data: str = "auto",
    as_of: datetime | None = None,
    validation_from: datetime | None = None,
    holdout_from: datetime | None = None,
    trials: int = 20,
    seed: int = 0,
    home: Path | None = None,
) -> Tuned:
    """Search for settings whose validation loss is lower; the holdout is never looked at.

    The same search again goes on where the last one stopped. `retrain` with preset `tuned` uses
    what was found best.

    Args:
        data: auto, kmrd-small, kmrd-2m, kmrd-5m, sim, or a folder with files in KMRD's form.
        as_of: Ratings from this moment on are not known yet. Empty: all ratings are.
        validation_from: Start of the validation part. Empty: chosen by share.
        holdout_from: Start of the holdout. Empty: the last tenth of the ratings.
        trials: How many settings are tried in all, those of earlier searches counted.
        seed: Of the search, the initial weights and the order of the rows.
        home: The folder of all state. Empty: mlruns/ of the project.

    Returns:
        All that was found.
    """
    place = Home(home.resolve()) if home else default_home()
    if trials < 1:
        raise InputError(f"trials is {trials}; a whole number from 1 is wanted")
    asked = window(as_of, validation_from, holdout_from)
    with place.exclusive(), marked(place, flow_run.id):
        place.stages.sweep()
        watch = Stopwatch()
        ingested = ingest(place, data, asked)
        job = Job(place, ingested, named("default"), None, Start("cold, a search"), seed)
        search = Search(job, features(job))
        tracker = Tracker(place)
        run = tracker.start_search(job, trials, flow_run.id)
        with tracker.closing(run):
            for number in range(search.finished + 1, trials + 1):
                _try(tracker, run, search, number)
            best = search.study.best_trial
            file = keep(place, ingested.model, best.params, search.study.best_value)
            tracker.log_files(run, [file], "")
        total = watch.seconds()["total"]
    return _found(ingested, run, search, file, total)


def _try(tracker: Tracker, search_run: Run, search: Search, number: int) -> None:
    tried = try_settings(search, number)
    state = "stopped early" if tried.pruned else "finished"
    best = search.study.best_value
    found = f"validation loss {tried.loss:.4f} ({state}); best so far {best:.4f}"
    get_run_logger().info("tune: trial %s: %s", number, found)
    curve = tried.epochs, tried.loss
    tracker.log_settings(search_run, tried.settings, *curve, pruned=tried.pruned)


def _found(ingested: Ingested, run: Run, search: Search, file: Path, seconds: float) -> Tuned:
    study = search.study
    return Tuned(
        ingested,
        run.run_id,
        search.finished,
        search.first_loss,
        study.best_value,
        study.best_params,
        file,
        seconds,
    )

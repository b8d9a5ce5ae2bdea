"""What each part of the model is worth: ingest → (features → train → score) x trials → compare."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from tasks.ablation import (
    FILES,
    NUMBERS,
    PLOT,
    SLICES,
    TABLE,
    Trial,
    compare_variants,
    score,
)
from tasks.features import features
from tasks.ingest import Ingested, Window, ingest
from tasks.job import Job
from tasks.tracking import Run, Tracker
from tasks.training import train
from widedeep.artifact_store import Artifact
from widedeep.errors import InputError
from widedeep.evaluation.ablation import Variant, chosen
from widedeep.evaluation.ablation_table import Table
from widedeep.evaluation.scoring import PREDICTIONS
from widedeep.home import Home
from widedeep.model.start import Start


@dataclass(frozen=True, slots=True)
class Ablation:
    """Everything a finished ablation has to say; its artefact's summary holds the figures."""

    ingested: Ingested
    run_id: str
    trials: Sequence[Trial]
    comparison: Artifact
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep ablation --json` prints."""
        folder, split = self.comparison.path, self.ingested.split
        sizes = zip(("train", "validation", "holdout"), self.ingested.examples, strict=True)
        files = {"table": TABLE, "numbers": NUMBERS, "slices": SLICES, "plot": PLOT}
        return {
            "data": self.ingested.source.name,
            "as_of": split.as_of,
            "run_id": self.run_id,
            "split": {**asdict(split), **dict(sizes)},
            "model": self.ingested.model,
            "seeds": sorted({trial.seed for trial in self.trials}),
            "variants": [
                {**found, "predictions": self._predictions(found["name"])}
                for found in self.comparison.summary["variants"]
            ],
            **{name: str(folder / file) for name, file in files.items()},
            "seconds": self.seconds,
        }

    def _predictions(self, variant: str) -> list[str]:
        mine = [trial for trial in self.trials if trial.variant.name == variant]
        return [str(trial.scores.path / PREDICTIONS) for trial in mine]


@flow(name="ablation", flow_run_name=run_name)
def ablation(  # noqa: PLR0917  the run form
    data: str = "auto",
    as_of: datetime | None = None,
    validation_from: datetime | None = None,
    holdout_from: datetime | None = None,
    seeds: int = 3,
    variants: list[str] | None = None,
    home: Path | None = None,
) -> Ablation:
    """Train the model with parts left out, and compare it on the holdout; nothing is promoted.

    Args:
        data: auto, kmrd-small, kmrd-2m, kmrd-5m, sim, or a folder with files in KMRD's form.
        as_of: Ratings from this moment on are not known yet. Empty: all ratings are.
        validation_from: Start of the validation part. Empty: chosen by share.
        holdout_from: Start of the holdout. Empty: the last tenth of the ratings.
        seeds: How many times each variant is trained.
        variants: Names of those to train. Empty: all.
        home: The folder of all state. Empty: mlruns/ of the project.

    Returns:
        All that was found.
    """
    place = Home(home.resolve()) if home else default_home()
    asked = window(as_of, validation_from, holdout_from)
    if seeds < 1:
        raise InputError(f"seeds is {seeds}; a whole number from 1 is wanted")
    wanted = chosen(variants)
    with place.exclusive(), marked(place, flow_run.id):
        place.stages.sweep()
        return _chain(place, (data, asked), wanted, seeds)


def _chain(
    place: Home, asked: tuple[str, Window], variants: Sequence[Variant], seeds: int
) -> Ablation:
    watch = Stopwatch()
    ingested = ingest(place, *asked)
    tracker = Tracker(place)
    run = tracker.start_ablation(ingested, seeds, flow_run.id)
    every = [(variant, seed) for variant in variants for seed in range(seeds)]
    trials = []
    with tracker.closing(run):
        for number, (variant, seed) in enumerate(every, 1):
            where = f"{number} of {len(every)}: {variant.name}, seed {seed}"
            get_run_logger().info("ablation: %s", where)
            start = Start(f"cold, {variant.name}")
            job = Job(place, ingested, variant.preset, None, start, seed)
            trials.append(_trial(tracker, run, job, variant))
        comparison = compare_variants(place, ingested, trials)
        _log(tracker, run, comparison)
    return Ablation(ingested, run.run_id, trials, comparison, watch.seconds()["total"])


def _trial(tracker: Tracker, ablation: Run, job: Job, variant: Variant) -> Trial:
    run = tracker.start_trial(ablation, job, variant.name)
    with tracker.closing(run):
        model = train(job, features(job))
        scores = score(job, model)
        trial = Trial(variant, job.seed, model, scores)
        tracker.log_training(run, model)
        tracker.log_scores(run, scores.summary)
        tracker.log_seconds(run, {"train": trial.seconds})
    return trial


def _log(tracker: Tracker, run: Run, comparison: Artifact) -> None:
    note = "\n".join(Table(**table).as_markdown() for table in comparison.summary["tables"])
    tracker.log_files(run, [comparison.path / name for name in FILES], note)

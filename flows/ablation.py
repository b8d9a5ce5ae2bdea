"""What each part of the model is worth: ingest → (features → train → score) x trials → compare.

The end of an ablation, for people.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.console import figures, plain_console, show_files, split_line
from flows.environment import default_workspace
from flows.exclusive_run import exclusive_run
from flows.retrain import Stopwatch
from flows.run_form import DataSet, Moments, run_name
from tasks.ingest import Ingested, SplitMoments, ingest
from tasks.run import RunContext
from tasks.studies import (
    FILES,
    NUMBERS,
    PLOT,
    SLICES,
    TABLE,
    AblationTrial,
    compare_variants,
    score,
)
from tasks.tracking import TrackedRun, Tracker
from tasks.training import features, train
from widedeep.evaluation.scoring import PREDICTIONS
from widedeep.inputs import InputError
from widedeep.model.warm_start import TrainingStart
from widedeep.store import Artifact
from widedeep.studies.ablation import Variant, select_variants
from widedeep.studies.ablation_report import NOTE, TextTable
from widedeep.workspace import Workspace


@dataclass(frozen=True, slots=True)
class AblationReport:
    """Everything a finished ablation has to say; its artefact's summary holds the figures."""

    ingested: Ingested
    run_id: str
    trials: Sequence[AblationTrial]
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
def ablation(
    data: DataSet = DataSet(),
    moments: Moments = Moments(),
    seeds: int = 3,
    variants: list[str] | None = None,
) -> AblationReport:
    """Train the model with parts left out, and compare it on the holdout; nothing is promoted.

    Args:
        data: Where the ratings come from.
        moments: What is known when.
        seeds: How many times each variant is trained.
        variants: Names of those to train. Empty: all.

    Returns:
        All that was found.
    """
    workspace = default_workspace()
    if seeds < 1:
        raise InputError(f"seeds is {seeds}; a whole number from 1 is wanted")
    wanted = select_variants(variants)
    with exclusive_run(workspace):
        return _chain(workspace, (data.text, moments.window), wanted, seeds)


def _chain(
    workspace: Workspace, asked: tuple[str, SplitMoments], variants: Sequence[Variant], seeds: int
) -> AblationReport:
    watch = Stopwatch()
    ingested = ingest(workspace, *asked)
    tracker = Tracker(workspace)
    run = tracker.start_ablation(ingested, seeds, flow_run.id)
    every = [(variant, seed) for variant in variants for seed in range(seeds)]
    trials = []
    with tracker.closing(run):
        for number, (variant, seed) in enumerate(every, 1):
            where = f"{number} of {len(every)}: {variant.name}, seed {seed}"
            get_run_logger().info("ablation: %s", where)
            start = TrainingStart(f"cold, {variant.name}")
            job = RunContext(workspace, ingested, variant.preset, None, start, seed)
            trials.append(_trial(tracker, run, job, variant))
        comparison = compare_variants(workspace, ingested, trials)
        _log(tracker, run, comparison)
    return AblationReport(ingested, run.run_id, trials, comparison, watch.seconds()["total"])


def _trial(
    tracker: Tracker, ablation: TrackedRun, job: RunContext, variant: Variant
) -> AblationTrial:
    run = tracker.start_trial(ablation, job, variant.name)
    with tracker.closing(run):
        model = train(job, features(job))
        scores = score(job, model)
        trial = AblationTrial(variant, job.seed, model, scores)
        tracker.log_training(run, model)
        tracker.log_scores(run, scores.summary)
        tracker.log_seconds(run, {"train": trial.seconds})
    return trial


def _log(tracker: Tracker, run: TrackedRun, comparison: Artifact) -> None:
    note = "\n".join(TextTable(**table).as_markdown() for table in comparison.summary["tables"])
    tracker.log_files(run, [comparison.path / name for name in FILES], note)


def show_ablation(found: AblationReport, workspace: Workspace) -> None:
    """Print data, tables, and where to look next."""
    console = plain_console()
    ingested, report = found.ingested, found.as_json()
    console.print(f"\n[bold]{ingested.model}[/bold]  ({ingested.source.origin})")
    console.print(split_line(ingested))
    summary = found.comparison.summary
    for table in (*summary["tables"], *summary["slice_tables"]):
        console.print()
        shown = figures(table["columns"], table["rows"], table["words"])
        shown.title = table["title"]
        console.print(shown)
    console.print(f"\n{NOTE}\n")
    files = {name: report[name] for name in ("plot", "table", "numbers", "slices")}
    show_files(console, files, workspace, f"{report['model']}-ablation", "runs")

"""What each part of the model is worth: ingest → (features → train → score) per trial → compare.

`ablation` is the flow, an `AblationReport` is what it returns, and `show_ablation` prints it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from rich.markup import escape

from flows.console import figures, plain_console, show_next, split_line
from flows.environment import default_workspace
from flows.exclusive_run import Stopwatch, exclusive_run, run_name
from tasks.ingest import Ingested, ingest
from tasks.run import RunContext
from tasks.run_form import Ablation, AtLeastOne, DataSet, Moments
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
from widedeep import Artifact, Workspace
from widedeep.evaluation.scoring import PREDICTIONS
from widedeep.model.warm_start import TrainingStart
from widedeep.studies.ablation import Variant, select_variants
from widedeep.studies.ablation_report import NOTE, TextTable


@dataclass(frozen=True, slots=True)
class AblationReport:
    """The result of a finished ablation; the summary of `comparison` holds the figures."""

    ingested: Ingested
    run_id: str
    trials: Sequence[AblationTrial]
    comparison: Artifact
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep ablation --json` prints."""
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
                {**variant, "predictions": self._predictions(variant["name"])}
                for variant in self.comparison.summary["variants"]
            ],
            **{name: str(folder / file) for name, file in files.items()},
            "seconds": self.seconds,
        }

    def _predictions(self, variant: str) -> list[str]:
        trials = [trial for trial in self.trials if trial.variant.name == variant]
        return [str(trial.scores.path / PREDICTIONS) for trial in trials]


_DEFAULTS = Ablation()


@flow(name="ablation", flow_run_name=run_name)
def ablation(
    data: DataSet = DataSet(),
    moments: Moments = Moments(),
    seeds: AtLeastOne = _DEFAULTS.seeds,
    variants: list[str] | None = _DEFAULTS.variants,
) -> AblationReport:
    """Train the model with parts left out, and compare it on the holdout; promote nothing.

    Args:
        data: Where the interactions come from.
        moments: What is known when.
        seeds: How many times each variant is trained.
        variants: Names of those to train. Empty: all.

    Returns:
        The report, whose `as_json` is the object that `widedeep ablation --json` prints.
    """
    workspace = default_workspace()
    with exclusive_run(workspace):
        watch = Stopwatch()
        ingested = ingest(workspace, data, moments)
        selected = select_variants(ingested.source.spec, variants)
        tracker = Tracker(workspace)
        run = tracker.start_ablation(ingested, seeds, flow_run.id)
        contexts = [
            (variant, _context(workspace, ingested, variant, seed))
            for variant in selected
            for seed in range(seeds)
        ]
        with tracker.closing(run):
            trials = _trials(tracker, run, contexts)
            comparison = compare_variants(workspace, ingested, trials)
            _log(tracker, run, comparison)
    return AblationReport(ingested, run.run_id, trials, comparison, watch.seconds()["total"])


def _context(workspace: Workspace, ingested: Ingested, variant: Variant, seed: int) -> RunContext:
    start = TrainingStart(f"cold, {variant.name}")
    return RunContext(workspace, ingested, variant.preset, None, start, seed)


def _trials(
    tracker: Tracker, ablation: TrackedRun, contexts: Sequence[tuple[Variant, RunContext]]
) -> list[AblationTrial]:
    trials = []
    for number, (variant, context) in enumerate(contexts, 1):
        which = f"{number} of {len(contexts)}: {variant.name}, seed {context.seed}"
        get_run_logger().info("ablation: %s", which)
        trials.append(_trial(tracker, ablation, variant, context))
    return trials


def _trial(
    tracker: Tracker, ablation: TrackedRun, variant: Variant, context: RunContext
) -> AblationTrial:
    run = tracker.start_trial(ablation, context, variant.name)
    with tracker.closing(run):
        model = train(context, features(context))
        scores = score(context, model)
        trial = AblationTrial(variant, context.seed, model, scores)
        tracker.log_training(run, model)
        tracker.log_scores(run, scores.summary)
        tracker.log_seconds(run, {"train": trial.seconds})
    return trial


def _log(tracker: Tracker, run: TrackedRun, comparison: Artifact) -> None:
    note = "\n".join(TextTable(**table).as_markdown() for table in comparison.summary["tables"])
    tracker.log_files(run, [comparison.path / name for name in FILES], note)


def show_ablation(report: AblationReport, workspace: Workspace) -> None:
    """Print data, tables, and where to look next."""
    console = plain_console()
    ingested, values = report.ingested, report.as_json()
    console.print(f"\n[bold]{ingested.model}[/bold]  ({ingested.source.origin})")
    console.print(f"label     {escape(ingested.label)}")
    console.print(split_line(ingested))
    summary = report.comparison.summary
    for table in (*summary["tables"], *summary["slice_tables"]):
        console.print()
        shown = figures(table["columns"], table["rows"], table["words"])
        shown.title = table["title"]
        console.print(shown)
    console.print(f"\n{NOTE}\n")
    files = {name: values[name] for name in ("plot", "table", "numbers", "slices")}
    pages = Tracker(workspace).pages(report.run_id)
    links = {"this run": pages.run, "trials": pages.children}
    show_next(console, workspace, files, links, pages.prefect_run)

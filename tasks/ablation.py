"""The stages that an ablation has besides those of a retrain."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import time_limit
from tasks.ingest import Ingested
from tasks.job import Job
from widedeep.artifact_store import Artifact, code_version
from widedeep.evaluation import planted_pairs
from widedeep.evaluation.ablation import FULL, Variant
from widedeep.evaluation.ablation_plot import draw
from widedeep.evaluation.ablation_result import Scored, compare
from widedeep.evaluation.ablation_slices import Masks, slice_holdout
from widedeep.evaluation.ablation_table import (
    NOTE,
    numbers,
    slice_numbers,
    slice_tables,
    tables,
)
from widedeep.evaluation.csv_file import write_csv
from widedeep.evaluation.scoring import PREDICTIONS, Predictions, model_scorer
from widedeep.features.catalogue import Catalogue
from widedeep.features.training_set import PROTOCOLS, STREAMING
from widedeep.home import Home
from widedeep.model.trained_model import TrainedModel

TABLE = "ablation.md"
NUMBERS = "ablation.csv"
SLICES = "ablation_slices.csv"
PLOT = "ablation.png"
FILES = (TABLE, NUMBERS, SLICES, PLOT)


@dataclass(frozen=True, slots=True)
class Trial:
    """A variant trained with one seed, and its predictions of the holdout."""

    variant: Variant
    seed: int
    model: Artifact
    scores: Artifact

    @property
    def seconds(self) -> float:
        """What its training took (when it was trained, if it was found finished)."""
        return float(sum(epoch["seconds"] for epoch in self.model.summary["curve"]))


@task(
    name="score",
    task_run_name="score on {job.title}, {job.start.reason}",
    cache_policy=NO_CACHE,
    timeout_seconds=time_limit.STAGE,
)
def score(job: Job, model: Artifact) -> Artifact:
    """Predict the holdout under both protocols, and measure."""
    ingested = job.ingested
    key = {
        "ratings": ingested.artifact.id,
        "split": asdict(ingested.split),
        "model": model.id,
        "code": code_version("data", "features", "model", "evaluation"),
    }

    def build(folder: Path) -> dict[str, Any]:
        trained, log = TrainedModel.load(model.path), ingested.known()
        scorer = model_scorer(trained, log, Catalogue.from_table(ingested.movies()))
        history = trained.transform.spec.history
        predictions = Predictions.of(log, ingested.split, history, scorer)
        predictions.save(folder / PREDICTIONS)
        return predictions.measure()

    return job.home.stages.get("scores", key, build)


@task(
    name="compare",
    task_run_name="compare variants on {ingested.model}",
    cache_policy=NO_CACHE,
    timeout_seconds=time_limit.STAGE,
)
def compare_variants(home: Home, ingested: Ingested, trials: Sequence[Trial]) -> Artifact:
    """Tables, numbers and a plot of all trials; the summary holds them for programs, too."""
    planted = planted_pairs.read(ingested.source.folder)
    key = {
        "data": ingested.source.name,
        "trials": [(t.variant.as_json(), t.seed, t.model.id, t.scores.id) for t in trials],
        "planted": planted,
        "code": code_version("data", "features", "model", "evaluation"),
    }

    def build(folder: Path) -> dict[str, Any]:
        results = compare(_scored(trials), _slices(ingested, trials, planted))
        seeds = len({trial.seed for trial in trials})
        examples = f"{ingested.examples[-1]:,} holdout examples"
        title = f"Ablation of {ingested.model}: {examples}, seeds: {seeds}"
        whole = tables(results)
        parts = {protocol: slice_tables(protocol, results) for protocol in PROTOCOLS}
        every = [*whole, *chain(*parts.values())]
        text = "\n".join([f"# {title}\n", f"{NOTE}\n", *(t.as_markdown() for t in every)])
        (folder / TABLE).write_text(text, encoding="utf-8")
        write_csv(folder / NUMBERS, numbers(results))
        write_csv(folder / SLICES, slice_numbers(results))
        draw(results, title, folder / PLOT)
        return {
            "variants": [result.as_json() for result in results],
            "tables": [asdict(table) for table in whole],
            "slice_tables": [asdict(table) for table in parts[STREAMING]],
        }

    return home.stages.get("ablations", key, build)


def _scored(trials: Sequence[Trial]) -> list[Scored]:
    """One entry a variant, in the order of the trials."""
    by_variant: dict[str, list[Trial]] = {}
    for trial in trials:
        by_variant.setdefault(trial.variant.name, []).append(trial)
    return [
        Scored(
            same[0].variant,
            tuple(Predictions.load(trial.scores.path / PREDICTIONS) for trial in same),
            tuple(trial.model.summary["wide_nonzero"] for trial in same),
            tuple(trial.model.summary["best_epoch"] for trial in same),
            tuple(trial.seconds for trial in same),
        )
        for same in by_variant.values()
    ]


def _slices(
    ingested: Ingested, trials: Sequence[Trial], planted: planted_pairs.Pairs
) -> dict[str, Masks]:
    """By the features of the full model: which crosses it keeps doesn't depend on the seed."""
    full = next(trial for trial in trials if trial.variant.name == FULL)
    return slice_holdout(
        ingested.known(),
        Catalogue.from_table(ingested.movies()),
        ingested.split,
        TrainedModel.load(full.model.path).transform,
        planted,
    )

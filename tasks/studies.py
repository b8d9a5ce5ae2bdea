"""The stages that only an ablation or a replay has: score and compare, step and summarise."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from tasks.engine import STAGE_SECONDS, TRAINING_SECONDS
from tasks.ingest import Ingested
from tasks.run import RunContext
from widedeep import (
    Artifact,
    ArtifactStore,
    Predictions,
    TrainedModel,
    Workspace,
    model_scorer,
)
from widedeep.evaluation.report import write_csv
from widedeep.evaluation.scoring import PREDICTIONS, Masks
from widedeep.features import PROTOCOLS, STREAMING
from widedeep.inputs import to_iso
from widedeep.store import code_version
from widedeep.studies.ablation import FULL, Pairs, Variant, read_planted_pairs, slice_holdout
from widedeep.studies.ablation_report import (
    NOTE,
    draw_ablation,
    holdout_numbers,
    holdout_tables,
    slice_numbers,
    slice_tables,
)
from widedeep.studies.ablation_result import ScoredVariant, variant_results
from widedeep.studies.replay import Policy, Replay, ReplayStep
from widedeep.studies.replay_report import (
    draw_replay,
    gate_sentences,
    policy_numbers,
    policy_rows,
    replay_markdown,
)
from widedeep.studies.replay_result import PolicyStep, replay_result, score_step

TABLE = "ablation.md"
NUMBERS = "ablation.csv"
SLICES = "ablation_slices.csv"
PLOT = "ablation.png"
FILES = (TABLE, NUMBERS, SLICES, PLOT)


@dataclass(frozen=True, slots=True)
class AblationTrial:
    """A variant trained with one seed, and its predictions of the holdout."""

    variant: Variant
    seed: int
    model: Artifact
    scores: Artifact

    @property
    def seconds(self) -> float:
        """Return the seconds of its training, even if a finished model was reused now."""
        return float(sum(epoch["seconds"] for epoch in self.model.summary["curve"]))


@task(
    name="score",
    task_run_name="score on {context.title}, {context.start.reason}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def score(context: RunContext, model: Artifact) -> Artifact:
    """Predict the holdout under both protocols; the summary holds the metrics."""
    ingested = context.ingested
    key = {
        "ratings": ingested.artifact.id,
        "split": asdict(ingested.split),
        "model": model.id,
        "code": code_version("studies"),
    }

    def build(folder: Path) -> dict[str, Any]:
        trained, interactions = TrainedModel.load(model.path), ingested.known()
        tables = ingested.tables()
        scorer = model_scorer(trained, interactions, tables)
        predictions = Predictions.compute(interactions, ingested.split, scorer)
        predictions.save(folder / PREDICTIONS, tables)
        return predictions.measure()

    return context.workspace.stages.get_or_build("scores", key, build)


@task(
    name="compare",
    task_run_name="compare variants on {ingested.model}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def compare_variants(
    workspace: Workspace, ingested: Ingested, trials: Sequence[AblationTrial]
) -> Artifact:
    """Write tables, numbers and a plot of all trials; the summary holds the same as JSON."""
    planted = read_planted_pairs(ingested.source.folder)
    key = {
        "data": ingested.source.name,
        "trials": [(t.variant.as_json(), t.seed, t.model.id, t.scores.id) for t in trials],
        "planted": planted,
        "code": code_version("studies"),
    }

    def build(folder: Path) -> dict[str, Any]:
        results = variant_results(_scored(trials), _slices(ingested, trials, planted))
        seeds = len({trial.seed for trial in trials})
        examples = f"{ingested.examples[-1]:,} holdout examples"
        title = f"Ablation of {ingested.model}: {examples}, seeds: {seeds}"
        whole = holdout_tables(results)
        parts = {protocol: slice_tables(protocol, results) for protocol in PROTOCOLS}
        all_tables = [*whole, *chain(*parts.values())]
        text = "\n".join([f"# {title}\n", f"{NOTE}\n", *(t.as_markdown() for t in all_tables)])
        (folder / TABLE).write_text(text, encoding="utf-8")
        write_csv(folder / NUMBERS, holdout_numbers(results))
        write_csv(folder / SLICES, slice_numbers(results))
        draw_ablation(results, title, folder / PLOT)
        return {
            "variants": [result.as_json() for result in results],
            "tables": [asdict(table) for table in whole],
            "slice_tables": [asdict(table) for table in parts[STREAMING]],
        }

    return workspace.stages.get_or_build("ablations", key, build)


def _scored(trials: Sequence[AblationTrial]) -> list[ScoredVariant]:
    """Return one entry for each variant, in the order of the trials."""
    by_variant: dict[str, list[AblationTrial]] = {}
    for trial in trials:
        by_variant.setdefault(trial.variant.name, []).append(trial)
    return [
        ScoredVariant(
            same[0].variant,
            tuple(Predictions.load(trial.scores.path / PREDICTIONS) for trial in same),
            tuple(trial.model.summary["wide_nonzero"] for trial in same),
            tuple(trial.model.summary["best_epoch"] for trial in same),
            tuple(trial.seconds for trial in same),
        )
        for same in by_variant.values()
    ]


def _slices(
    ingested: Ingested, trials: Sequence[AblationTrial], planted: Pairs
) -> dict[str, Masks]:
    """Mark slices by the features of the full model, whose crosses do not depend on the seed."""
    full = next(trial for trial in trials if trial.variant.name == FULL)
    return slice_holdout(
        ingested.known(),
        ingested.tables(),
        ingested.split,
        TrainedModel.load(full.model.path).transform,
        planted,
    )


REPLAY_TABLE = "replay.md"
REPLAY_NUMBERS = "replay.csv"
REPLAY_PLOT = "replay.png"
REPLAY_FILES = (REPLAY_TABLE, REPLAY_NUMBERS, REPLAY_PLOT)


def _step_name() -> str:
    return f"retrain as of {to_iso(task_run.parameters['at'])[:10]}"


@task(
    name="retrain",
    task_run_name=_step_name,
    cache_policy=NO_CACHE,
    timeout_seconds=TRAINING_SECONDS,
)
def retrain_step(
    replay: Replay, at: int, until: int, before: ReplayStep | None
) -> tuple[ReplayStep, Mapping[Policy, PolicyStep]]:
    """Retrain under every policy as of `at`, and score each on the interactions before `until`."""
    step = replay.step(at, until, before)
    results = score_step(replay, step, before)
    logger = get_run_logger()
    for policy, result in results.items():
        logger.info("replay: %s", describe_policy(policy, result))
    if step.gate is not None:
        logger.info("replay: the gate: %s", step.gate.summary["decision"]["verdict"])
    return step, results


@task(
    name="summarise",
    task_run_name="{title}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def summarise(
    store: ArtifactStore, replay: Replay, steps: Sequence[ReplayStep], title: str
) -> Artifact:
    """Write a table, numbers and a plot of all steps; the summary holds the same as JSON."""
    key = {
        "steps": [(step.at, step.until, step.candidate.id) for step in steps],
        "published": [{str(p): m.id for p, m in step.published.items()} for step in steps],
        "title": title,
        "code": code_version("studies"),
    }

    def build(folder: Path) -> dict[str, Any]:
        result = replay_result(replay, steps)
        (folder / REPLAY_TABLE).write_text(replay_markdown(result, title), encoding="utf-8")
        write_csv(folder / REPLAY_NUMBERS, policy_numbers(result))
        draw_replay(result, title, folder / REPLAY_PLOT)
        return {
            **result.as_json(),
            "rows": policy_rows(result),
            "sentences": gate_sentences(result),
        }

    return store.get_or_build("replays", key, build)


def describe_policy(policy: Policy, step: PolicyStep) -> str:
    """Return the log line about one policy at one step."""
    score = "one class only"
    if step.score:
        score = f"AUC {step.score.auc:.4f}, log loss {step.score.log_loss:.4f}"
    return (
        f"{to_iso(step.at)[:10]} {policy}: {score} on the next {step.rows:,} interactions; "
        f"{step.seconds:.1f} s of training"
    )

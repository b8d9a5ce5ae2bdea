"""The stages `evaluate` and `promote`: from a trained model to a decision and, perhaps, a champion.

The registry is read once before a run's work and written once, here, after it.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.dry_run import DryRunProcess
from tasks.engine import STAGE_SECONDS
from tasks.ingest import Ingested
from tasks.mlflow_page import RunDecision
from tasks.model_store import ModelStore
from tasks.prefect_page import announce, show_evaluation, show_link
from tasks.registry import Registry
from tasks.run import RunContext, git_commit
from tasks.tracking import TrackedRun, Tracker
from widedeep import (
    Artifact,
    Evaluator,
    GateConfig,
    Predictions,
    TrainedModel,
    model_scorer,
)
from widedeep.data.tables import context_columns
from widedeep.evaluation.figures import draw_figures
from widedeep.evaluation.gate import BASELINE_NAME, Decision, Verdict
from widedeep.evaluation.memorisation import Memorisation
from widedeep.evaluation.naming import DisplayNames
from widedeep.evaluation.report import ModelCard
from widedeep.evaluation.scoring import (
    BASELINE_PREDICTIONS,
    CHAMPION_PREDICTIONS,
    PREDICTIONS,
    HoldoutRows,
)
from widedeep.evaluation.snapshot import GOLDEN, UNKNOWN_ID, DataSnapshot, GoldenRequests
from widedeep.inputs import to_iso
from widedeep.store import ModelVersion, code_version


@task(
    name="evaluate",
    task_run_name="evaluate on {context.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def evaluate(context: RunContext, challenger: Artifact, gate: GateConfig) -> Artifact:
    """Score challenger and champion on the same holdout rows, decide, and report the wide part.

    Returns:
        The artefact (kind `evaluations`): the comparison as its summary, and as files the
        predictions, the memorisation report and the figures.
    """
    logger = get_run_logger()
    ingested, champion = context.ingested, context.champion
    earlier = _earlier_looks(context, challenger) if champion else []
    key = {
        "ratings": ingested.artifact.id,
        "split": asdict(ingested.split),
        "challenger": challenger.id,
        "champion": champion.gated.id if champion else None,
        "gate": asdict(gate),
        "earlier": [evaluation.id for evaluation in earlier],
        "code": code_version("evaluation"),
    }

    def build(folder: Path) -> dict[str, Any]:
        tables = ingested.tables()
        scorer = context.engine.scorer
        evaluator = Evaluator(ingested.known(), tables, ingested.split, gate, scorer)
        model = TrainedModel.load(challenger.path)
        previous = TrainedModel.load(champion.gated.path) if champion else None
        names = DisplayNames.from_tables(ingested.side_tables())
        memorisation = Memorisation.compute(model, names, previous=previous)
        memorisation.save(folder)
        comparison = evaluator.compare(model, previous, folder, earlier)
        memory = memorisation.summary()
        draw_figures(
            _predictions(folder), comparison.guardrails, challenger.summary, memory, folder
        )
        return {**comparison.as_json(), "memorisation": memory}

    evaluation = context.workspace.stages.get_or_build("evaluations", key, build)
    logger.info("evaluate: %s", evaluation.summary["decision"]["verdict"])
    for reason in evaluation.summary["decision"]["reasons"]:
        logger.info("evaluate: %s", reason)
    return evaluation


def _predictions(folder: Path) -> dict[str, Predictions]:
    """Return the challenger's predictions and those it is compared with, by title."""
    files = {"champion": CHAMPION_PREDICTIONS, BASELINE_NAME: BASELINE_PREDICTIONS}
    title = next(title for title, name in files.items() if (folder / name).exists())
    challenger, other = (Predictions.load(folder / name) for name in (PREDICTIONS, files[title]))
    return {"challenger": challenger, title: other}


def _earlier_looks(context: RunContext, challenger: Artifact) -> list[Artifact]:
    """Return the earlier evaluations of other models against the present champion."""
    decisions = context.workspace.decision_log(context.ingested.model).history()
    ids = dict.fromkeys(decision.get("evaluation") for decision in decisions)
    stages = context.workspace.stages
    evaluations = [stages.find_by_id("evaluations", evaluation) for evaluation in ids if evaluation]
    return [e for e in evaluations if e is not None and _is_look(e, context, challenger)]


def _is_look(evaluation: Artifact, context: RunContext, challenger: Artifact) -> bool:
    """Return whether an evaluation compared the present champion with another model before."""
    champion, split = context.champion, asdict(context.ingested.split)
    is_this_one = evaluation.key["challenger"] == challenger.id and evaluation.key["split"] == split
    return (
        champion is not None
        and evaluation.summary["difference"] is not None
        and evaluation.key["champion"] == champion.gated.id != evaluation.key["challenger"]
        and evaluation.summary["holdout_from"] <= context.ingested.split.holdout_from
        and not is_this_one
    )


def model_card(
    context: RunContext, version: str, served: Artifact, evaluation: Artifact, decision: Decision
) -> str:
    """Return the model card of a registered version, as Markdown."""
    ingested, preset = context.ingested, context.preset
    facts = {
        "label": ingested.label,
        "data": _data(ingested),
        "holdout": HoldoutRows(**evaluation.summary["holdout"]).to_text(),
        "start": context.start.reason,
        "serves": _serves(served, evaluation),
        "preset": f"{preset.name}, seed {context.seed}",
        "features": ", ".join(
            (
                f"{len(preset.features.categories)} categories",
                f"{len(preset.features.bags)} bags",
                f"{len(preset.features.numbers)} numbers",
                f"{len(preset.features.crosses)} cross-products",
            )
        ),
        "code": f"commit {git_commit() or 'unknown'}",
    }
    title = f"{ingested.model} version {version}"
    return ModelCard(
        title, facts, evaluation.summary, str(decision.verdict), decision.reasons
    ).as_markdown()


def _data(ingested: Ingested) -> str:
    counts = ingested.counts
    return (
        f"{ingested.source.name} ({ingested.source.origin}), {counts.examples:,} examples of "
        f"{counts.read:,} interactions, known before {to_iso(ingested.split.as_of)}, "
        f"digest {ingested.artifact.id}"
    )


def _serves(served: Artifact, evaluation: Artifact) -> str:
    if served.id == evaluation.key["challenger"]:
        return "the model that was evaluated"
    return "the model that was evaluated, after it has also learned the holdout"


@dataclass(frozen=True, slots=True)
class PromotionOutcome:
    """The version registered, the decision, and the version that serves now (None: no version)."""

    version: str
    decision: Decision
    champion: str | None


def learned_nothing_new(evaluation: Artifact) -> bool:
    """Return whether the challenger is the champion itself: there was nothing to learn."""
    return bool(evaluation.key["challenger"] == evaluation.key["champion"])


def passed_gate(evaluation: Artifact) -> bool:
    """Return whether the gate's verdict on the evaluation is to promote."""
    return bool(evaluation.summary["decision"]["verdict"] == Verdict.PROMOTE)


@dataclass(frozen=True, slots=True)
class Challenger:
    """A trained model that may become the champion.

    Attributes:
        gated: The model that was evaluated.
        served: The model to serve after a promotion: the same one, or the one that also learned the
            holdout.
        evaluation: Its evaluation.
    """

    gated: Artifact
    served: Artifact
    evaluation: Artifact


@task(
    name="promote",
    task_run_name="promote {context.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def promote(
    context: RunContext,
    run: TrackedRun,
    challenger: Challenger,
    gate: GateConfig,
    dry_run_process: DryRunProcess,
) -> PromotionOutcome:
    """Register the challenger and, if it passed the gate and a dry run, make it the champion.

    The alias moves last, so a run that is killed before that leaves what serves unchanged.
    """
    logger = get_run_logger()
    gated, served, evaluation = challenger.gated, challenger.served, challenger.evaluation
    tracker, store = Tracker(context.workspace), ModelStore(context.workspace)
    tracker.log_evaluation(run, evaluation)
    write_history = partial(save_data_snapshot, context.ingested, served)
    example = _input_example(context.ingested)
    version = store.register(run.model, run.run_id, (gated, served), write_history, example)
    decision = _decide(evaluation, version, gate, dry_run_process)
    record = {
        "version": version.number,
        "action": decision.verdict,
        "reason": "; ".join(decision.reasons),
        "run_id": run.run_id,
        "as_of": context.ingested.split.as_of,
        "model": gated.id,
        "served": served.id,
        "evaluation": evaluation.id,
        "ratings": context.ingested.artifact.id,
        "difference": evaluation.summary["difference"],
    }
    successor = version if decision.verdict is Verdict.PROMOTE else None
    registry = Registry(context.workspace, store, run.model)
    serving = registry.decide(record, context.champion, successor)
    tracker.log_decision(run, RunDecision(context, evaluation.summary, decision, version.number))
    card = model_card(context, version.number, served, evaluation, decision)
    tracker.log_card(run, version.number, card)
    logger.info("promote: version %s %s", version.number, decision.to_text())
    outcome = PromotionOutcome(version.number, decision, serving.number if serving else None)
    _announce(tracker, run, evaluation, outcome)
    return outcome


def _announce(
    tracker: Tracker, run: TrackedRun, evaluation: Artifact, outcome: PromotionOutcome
) -> None:
    """Show the outcome on the run's page in Prefect, and emit it as an event."""
    show_evaluation(run.model, evaluation)
    show_link(run.model, tracker.url(run))
    decision = outcome.decision
    announce(run.model, decision.verdict, outcome.version, outcome.champion, decision.reasons)


def _decide(
    evaluation: Artifact, version: ModelVersion, gate: GateConfig, dry_run_process: DryRunProcess
) -> Decision:
    """Return the gate's decision, or hold if the gate would promote but the dry run fails."""
    if learned_nothing_new(evaluation):
        conclusion = f"nothing is new since version {version.number} learned, so nothing was done"
        return Decision(Verdict.INSUFFICIENT, (conclusion,))
    decision = evaluation.summary["decision"]
    verdict, reasons = Verdict(decision["verdict"]), tuple(decision["reasons"])
    if verdict is not Verdict.PROMOTE:
        return Decision(verdict, reasons)
    dry_run = dry_run_process.try_model(version.folder, gate.latency_budget)
    if dry_run.faults:
        return Decision(Verdict.HOLD, (*dry_run.reasons(), *reasons))
    return Decision(verdict, (*reasons, *dry_run.reasons()))


def save_data_snapshot(ingested: Ingested, served: Artifact, folder: Path) -> None:
    """Write what a version carries beside its weights into a new `folder`.

    These are the interactions, items, users and names of the run, and golden requests with the
    answers of the `served` model.
    """
    folder.mkdir()
    snapshot = DataSnapshot.from_tables(ingested.known(), ingested.side_tables())
    snapshot.save(folder)
    model = TrainedModel.load(served.path)
    scorer = model_scorer(model, snapshot.interactions, snapshot.tables)
    GoldenRequests.compute(snapshot.interactions, scorer).save(folder / GOLDEN, snapshot.side)


def _input_example(ingested: Ingested) -> pd.DataFrame:
    """Return a request: the last two pairs, and an unknown user with an unknown item."""
    last, side = ingested.known().select_rows(slice(-2, None)), ingested.side_tables()
    user, item = np.append(last.user, UNKNOWN_ID), np.append(last.item, UNKNOWN_ID)
    columns = {
        "user": side.user_ids.column(user).to_pandas(),
        "item": side.item_ids.column(item).to_pandas(),
        "time": ingested.split.as_of,
    }
    context = {
        name: pd.Series([*column.to_pylist(), None])
        for name, column in context_columns(last.context, "").items()
    }
    return pd.DataFrame({**columns, **context})

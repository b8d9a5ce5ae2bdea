"""The stage `evaluate`: score the challenger and the champion on the holdout, and decide."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.engine import STAGE_SECONDS
from tasks.run import RunContext
from widedeep import decision_log
from widedeep.evaluation.comparison import Evaluator
from widedeep.evaluation.figures import draw_figures
from widedeep.evaluation.gate import BASELINE_NAME, GateConfig
from widedeep.evaluation.memorisation import Memorisation
from widedeep.evaluation.naming import DisplayNames
from widedeep.evaluation.scoring import (
    BASELINE_PREDICTIONS,
    CHAMPION_PREDICTIONS,
    PREDICTIONS,
    Predictions,
)
from widedeep.features.items import ItemTable
from widedeep.model.trained_model import TrainedModel
from widedeep.store import Artifact, code_version


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
        items = ingested.items()
        item_table = ItemTable.from_table(items)
        scorer = context.engine.scorer
        evaluator = Evaluator(ingested.known(), item_table, ingested.split, gate, scorer)
        model = TrainedModel.load(challenger.path)
        previous = TrainedModel.load(champion.gated.path) if champion else None
        names = DisplayNames.from_tables(items, ingested.people())
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
    """Return the evaluations in which the present champion was compared before, without this one."""
    decisions = decision_log.history(context.workspace.decisions / context.ingested.model)
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

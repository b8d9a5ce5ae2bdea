"""From a trained model to numbers, intervals and a decision."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.engine import STAGE_SECONDS
from tasks.run import RunContext
from widedeep import decision_log
from widedeep.evaluation.comparison import Evaluator
from widedeep.evaluation.gate import GateConfig
from widedeep.evaluation.memorisation import Memorisation
from widedeep.evaluation.naming import DisplayNames
from widedeep.evaluation.report import draw_figures
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
    task_run_name="evaluate on {job.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def evaluate(job: RunContext, challenger: Artifact, gate: GateConfig) -> Artifact:
    """Score challenger and champion on the same holdout rows, decide, and report the memory."""
    logger = get_run_logger()
    ingested, champion = job.ingested, job.champion
    earlier = _looks(job, challenger) if champion else []
    key = {
        "ratings": ingested.artifact.id,
        "split": asdict(ingested.split),
        "challenger": challenger.id,
        "champion": champion.gated.id if champion else None,
        "gate": asdict(gate),
        "earlier": [evaluation.id for evaluation in earlier],
        "code": code_version("data", "features", "model", "evaluation"),
    }

    def build(folder: Path) -> dict[str, Any]:
        items = ingested.items()
        item_table = ItemTable.from_table(items)
        known, split = ingested.known(), ingested.split
        evaluator = Evaluator(known, item_table, split, gate, job.engine.scorer)
        ours = TrainedModel.load(challenger.path)
        theirs = TrainedModel.load(champion.gated.path) if champion else None
        names = DisplayNames.of(items, ingested.people())
        memorisation = Memorisation.of(ours, names, previous=theirs)
        memorisation.save(folder)
        found = evaluator.compare(ours, theirs, folder, earlier)
        memory = memorisation.summary()
        draw_figures(_predictions(folder), found.guards, challenger.summary, memory, folder)
        return {**found.as_json(), "memorisation": memory}

    evaluation = job.workspace.stages.get("evaluations", key, build)
    logger.info("evaluate: %s", evaluation.summary["decision"]["verdict"])
    for reason in evaluation.summary["decision"]["reasons"]:
        logger.info("evaluate: %s", reason)
    return evaluation


def _predictions(folder: Path) -> dict[str, Predictions]:
    """The challenger's and those it is compared with, by title."""
    files = {"champion": CHAMPION_PREDICTIONS, "user + item mean": BASELINE_PREDICTIONS}
    title = next(title for title, name in files.items() if (folder / name).exists())
    ours, theirs = (Predictions.load(folder / name) for name in (PREDICTIONS, files[title]))
    return {"challenger": ours, title: theirs}


def _looks(job: RunContext, challenger: Artifact) -> list[Artifact]:
    """The comparisons with the present champion up to this holdout, without this very one."""
    decided = decision_log.history(job.workspace.decisions / job.ingested.model)
    ids = dict.fromkeys(decision.get("evaluation") for decision in decided)
    found = [job.workspace.stages.held("evaluations", identity) for identity in ids if identity]
    return [look for look in found if look is not None and _counts(look, job, challenger)]


def _counts(look: Artifact, job: RunContext, challenger: Artifact) -> bool:
    """Whether a comparison was a look at the present champion by a model other than itself."""
    champion, split = job.champion, asdict(job.ingested.split)
    this_one = look.key["challenger"] == challenger.id and look.key["split"] == split
    return (
        champion is not None
        and look.summary["difference"] is not None
        and look.key["champion"] == champion.gated.id != look.key["challenger"]
        and look.summary["holdout_from"] <= job.ingested.split.holdout_from
        and not this_one
    )

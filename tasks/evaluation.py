"""From a trained model to numbers, intervals and a decision."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.job import Job
from widedeep.artifact_store import Artifact, code_version
from widedeep.evaluation.comparison import Evaluator
from widedeep.evaluation.memorisation import Memorisation
from widedeep.evaluation.names import Names
from widedeep.evaluation.promotion import GateConfig
from widedeep.features.catalogue import Catalogue
from widedeep.model.trained_model import TrainedModel


@task(name="evaluate", task_run_name="evaluate {job.ingested.source.name}", cache_policy=NO_CACHE)
def evaluate(job: Job, challenger: Artifact, gate: GateConfig) -> Artifact:
    """Score challenger and champion on the same holdout rows, decide, and report the memory."""
    logger = get_run_logger()
    ingested, champion = job.ingested, job.champion
    key = {
        "ratings": ingested.artifact.id,
        "split": asdict(ingested.split),
        "challenger": challenger.id,
        "champion": champion.model_id if champion else None,
        "gate": asdict(gate),
        "code": code_version("data", "features", "model", "evaluation"),
    }

    def build(folder: Path) -> dict[str, Any]:
        movies = ingested.movies()
        catalogue = Catalogue.from_table(movies)
        evaluator = Evaluator(ingested.known(), catalogue, ingested.split, gate)
        ours = TrainedModel.load(challenger.path)
        theirs = TrainedModel.load(champion.path) if champion else None
        names = Names.of(movies, ingested.people())
        memorisation = Memorisation.of(ours, names, previous=theirs)
        memorisation.save(folder)
        found = evaluator.compare(ours, theirs, folder).as_json()
        return {**found, "memorisation": memorisation.summary()}

    evaluation = job.home.stages.get("evaluations", key, build)
    logger.info("evaluate: %s", evaluation.summary["decision"]["verdict"])
    for reason in evaluation.summary["decision"]["reasons"]:
        logger.info("evaluate: %s", reason)
    return evaluation

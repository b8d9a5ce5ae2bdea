"""From a model that passed the gate to the one that serves."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks import time_limit
from tasks.job import Job
from tasks.trained import Training
from tasks.training import describe
from widedeep.artifact_store import Artifact, code_version
from widedeep.features.catalogue import Catalogue
from widedeep.features.training_plan import TrainingPlan, warm_parts
from widedeep.model.trained_model import TrainedModel


@task(
    name="catch up",
    task_run_name="catch up on {job.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=time_limit.TRAINING,
)
def catch_up(job: Job, gated: Artifact) -> Artifact:
    """Go on from the gated model to the run's as-of, as a warm start would."""
    logger = get_run_logger()
    key = {
        "gated": gated.id,
        "ratings": job.ingested.artifact.id,
        "until": job.ingested.split.as_of,
        "sampling": asdict(job.preset.sampling),
        "training": asdict(job.preset.training),
        "seed": job.seed,
        "code": code_version("data", "features", "model"),
        **job.engine.as_key(),
    }

    def build(folder: Path) -> dict[str, Any]:
        model = TrainedModel.load(gated.path)
        plan = TrainingPlan.of(
            warm_parts(
                job.ingested.known(),
                Catalogue.from_table(job.ingested.movies()),
                job.ingested.split.as_of,
                job.preset.sampling,
                model.transform,
                model.learned_until,
                engines=job.engine.features(job.home.root),
            )
        )
        training = Training(plan, job.preset, gated.path, job.seed)
        with job.engine.fitting(training, folder) as fitting:
            for result in fitting.epochs():
                logger.info("catch up: %s", describe(result))
            fitting.finished().save(folder)
            return fitting.summary()

    return job.home.stages.get("models", key, build)

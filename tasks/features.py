"""From ratings to encoded training and validation rows."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.job import Job
from widedeep.artifact_store import Artifact, code_version
from widedeep.features.catalogue import Catalogue
from widedeep.features.training_set import TrainingSet


@task(name="features", task_run_name="features {job.ingested.source.name}", cache_policy=NO_CACHE)
def features(job: Job) -> Artifact:
    """Fit vocabularies, quantiles and crosses on the training part, and encode."""
    logger = get_run_logger()
    key = {
        "ratings": job.ingested.artifact.id,
        "split": asdict(job.ingested.split),
        "spec": job.preset.features.as_json(),
        "staleness": asdict(job.preset.staleness),
        "previous": job.start.model_id,
        "code": code_version("data", "features"),
    }

    def build(folder: Path) -> dict[str, Any]:
        training_set = TrainingSet.build(
            job.ingested.known(),
            Catalogue.from_table(job.ingested.movies()),
            job.ingested.split,
            job.preset.features,
            job.preset.staleness,
            job.start.transform(),
        )
        training_set.save(folder)
        return training_set.summary()

    artifact = job.home.stages.get("features", key, build)
    sizes = ", ".join(f"{k} {v:,}" for k, v in artifact.summary["vocabularies"].items())
    logger.info("features: vocabularies of %s", sizes)
    sizes = ", ".join(f"{k} {v:,}" for k, v in artifact.summary["crosses"].items())
    logger.info("features: crosses %s", sizes)
    return artifact

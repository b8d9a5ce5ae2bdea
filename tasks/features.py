"""From ratings to encoded training and validation rows."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks import time_limit
from tasks.job import Job
from widedeep.artifact_store import Artifact, code_version
from widedeep.features.catalogue import Catalogue
from widedeep.features.training_plan import Parts, cold_parts, save_parts, warm_parts


@task(
    name="features",
    task_run_name="features of {job.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=time_limit.STAGE,
)
def features(job: Job) -> Artifact:
    """Fit vocabularies, quantiles and crosses, and encode what is to be learned."""
    logger = get_run_logger()
    key = {
        "ratings": job.ingested.artifact.id,
        "split": asdict(job.ingested.split),
        "spec": job.preset.features.as_json(),
        "sampling": asdict(job.preset.sampling),
        "previous": job.start.model_id,
        "code": code_version("data", "features"),
    }

    def build(folder: Path) -> dict[str, Any]:
        return save_parts(_parts(job), folder)

    artifact = job.home.stages.get("features", key, build)
    for name, part in artifact.summary.items():
        logger.info("features: %s", describe(name, part))
    return artifact


def describe(name: str, part: Mapping[str, Any]) -> str:
    """One line for people."""
    judged = "".join(f", {n:,} of {p} validation" for p, n in part["validation_rows"].items())
    sizes = {**part["vocabularies"], **part["crosses"]}
    counts = ", ".join(f"{key} {size:,}" for key, size in sizes.items())
    return f"{name.replace('_', ' ')} with {part['training_rows']:,} rows{judged}; {counts}"


def _parts(job: Job) -> Parts:
    log, split = job.ingested.known(), job.ingested.split
    catalogue = Catalogue.from_table(job.ingested.movies())
    preset, previous, engines = job.preset, job.start.model(), job.engine.features(job.home.root)
    split.check(log.time, preset.features.history.positive(log.rate))
    if previous is None:
        learned = preset.features, preset.sampling
        return cold_parts(log, catalogue, split, *learned, engines=engines)
    known = previous.transform, previous.learned_until
    until = split.holdout_from
    return warm_parts(log, catalogue, until, preset.sampling, *known, engines=engines)

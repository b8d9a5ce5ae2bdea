"""From ratings to encoded training and validation rows."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.ingest import Ingested
from widedeep.artifact_store import Artifact, code_version
from widedeep.data.ratings import Ratings
from widedeep.features.catalogue import Catalogue
from widedeep.features.training_set import TrainingSet
from widedeep.home import Home
from widedeep.model.presets import Preset
from widedeep.model.start import Start


@task(name="features", task_run_name="features {ingested.source.name}", cache_policy=NO_CACHE)
def features(home: Home, ingested: Ingested, preset: Preset, start: Start) -> Artifact:
    """Fit vocabularies, quantiles and crosses on the training part, and encode."""
    logger = get_run_logger()
    key = {
        "ratings": ingested.artifact.id,
        "split": asdict(ingested.split),
        "spec": preset.features.as_json(),
        "staleness": asdict(preset.staleness),
        "previous": start.model_id,
        "code": code_version("data", "features"),
    }

    def build(folder: Path) -> dict[str, Any]:
        ratings = Ratings(ingested.artifact)
        training_set = TrainingSet.build(
            ratings.load(until=ingested.split.as_of),
            Catalogue.from_table(ratings.movies()),
            ingested.split,
            preset.features,
            preset.staleness,
            start.transform(),
        )
        training_set.save(folder)
        return training_set.summary()

    artifact = home.stages.get("features", key, build)
    sizes = ", ".join(f"{k} {v:,}" for k, v in artifact.summary["vocabularies"].items())
    logger.info("features: vocabularies of %s", sizes)
    sizes = ", ".join(f"{k} {v:,}" for k, v in artifact.summary["crosses"].items())
    logger.info("features: crosses %s", sizes)
    return artifact

"""From encoded rows to a trained model."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks import time_limit
from tasks.job import Job
from tasks.progress import epoch_bar
from tasks.run_page import progress
from tasks.trained import Training
from widedeep.artifact_store import Artifact, code_version
from widedeep.model.training import EpochResult


@task(
    name="train",
    task_run_name="train on {job.title}, {job.start.reason}",
    cache_policy=NO_CACHE,
    timeout_seconds=time_limit.TRAINING,
)
def train(job: Job, encoded: Artifact) -> Artifact:
    """Train wide and deep jointly; the summary has the curve, an entry an epoch.

    A warm start with nothing new to learn is the previous model itself.
    """
    logger = get_run_logger()
    if job.start.previous and not encoded.summary["catch_up"]["training_rows"]:
        logger.info("train: nothing is new since version %s learned", job.start.previous.number)
        return Artifact.load(job.start.previous.gated.path)
    key = {
        "features": encoded.id,
        "network": asdict(job.preset.network),
        "training": asdict(job.preset.training),
        "previous": job.start.model_id,
        "seed": job.seed,
        "code": code_version("data", "features", "model"),
        **job.engine.as_key(),
    }

    def build(folder: Path) -> dict[str, Any]:
        training = Training(encoded.path, job.preset, job.start.folder, job.seed)
        with job.engine.fitting(training, folder) as fitting:
            curve = [asdict(result) for result in _shown(fitting.epochs())]
            fitting.finished().save(folder)
            return {"curve": curve, **fitting.summary()}

    def _shown(results: Iterator[EpochResult]) -> Iterator[EpochResult]:
        parts, settings = encoded.summary, job.preset.training
        first = settings.epochs_of(parts["initial"]["training_rows"]) if "initial" in parts else 0
        epochs = first + settings.catch_up_epochs_of(parts["catch_up"]["training_rows"])
        key = f"{job.ingested.model}-training"
        with epoch_bar(epochs) as advance, progress(key, epochs, "epochs") as show:
            for result in results:
                found = describe(result)
                logger.info("train: %s", found)
                advance(result.epoch)
                show(result.epoch, found)
                yield result

    model = job.home.stages.get("models", key, build)
    for table, rows in model.summary["carried"].items():
        logger.info("train: %s", describe_carried(table, rows))
    logger.info("train: best epoch %s of model %s", model.summary["best_epoch"], model.id)
    return model


def describe_carried(table: str, rows: Mapping[str, int]) -> str:
    """What a warm start took over of a table, for people."""
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("carried", "added", "dropped"))
    return f"rows of {table}: {counts}"


def describe(result: EpochResult) -> str:
    """One line for people."""
    loss = "" if result.train_loss is None else f"train loss {result.train_loss:.4f}, "
    judged = "catching up, "
    if result.validation_loss is not None:
        judged = f"validation loss {result.validation_loss:.4f}, "
    if result.validation_auc is not None:
        judged += f"AUC {result.validation_auc:.4f}, "
    best = ", best so far" if result.best else ""
    return f"epoch {result.epoch}: {loss}{judged}{result.seconds:.1f} s{best}"

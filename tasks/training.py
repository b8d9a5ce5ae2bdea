"""From ratings to encoded training and validation rows.

A bar on a terminal, and nothing elsewhere: there the log's lines say the same.

From encoded rows to a trained model.

From a model that passed the gate to the one that serves.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tasks.engine import STAGE_SECONDS, TRAINING_SECONDS
from tasks.prefect_page import progress
from tasks.run import RunContext
from widedeep.features.items import ItemTable
from widedeep.features.training_data import Parts, TrainingData, cold_parts, save_parts, warm_parts
from widedeep.model.fitting import TrainingJob
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import EpochResult
from widedeep.store import Artifact, code_version


@task(
    name="features",
    task_run_name="features of {job.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def features(job: RunContext) -> Artifact:
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

    artifact = job.workspace.stages.get("features", key, build)
    for name, part in artifact.summary.items():
        logger.info("features: %s", describe_part(name, part))
    return artifact


def describe_part(name: str, part: Mapping[str, Any]) -> str:
    """One line for people."""
    judged = "".join(f", {n:,} of {p} validation" for p, n in part["validation_rows"].items())
    sizes = {**part["vocabularies"], **part["crosses"]}
    counts = ", ".join(f"{key} {size:,}" for key, size in sizes.items())
    return f"{name.replace('_', ' ')} with {part['training_rows']:,} rows{judged}; {counts}"


def _parts(job: RunContext) -> Parts:
    interactions, split = job.ingested.known(), job.ingested.split
    item_table = ItemTable.from_table(job.ingested.items())
    preset, previous, engines = (
        job.preset,
        job.start.model(),
        job.engine.features(job.workspace.root),
    )
    split.check(interactions.time, preset.features.history.positive(interactions.value))
    if previous is None:
        learned = preset.features, preset.sampling
        return cold_parts(interactions, item_table, split, *learned, engines=engines)
    known = previous.transform, previous.learned_until
    until = split.holdout_from
    return warm_parts(interactions, item_table, until, preset.sampling, *known, engines=engines)


@contextmanager
def epoch_bar(epochs: int) -> Iterator[Callable[[int], None]]:
    """Give a function that takes the number of the epoch just finished."""
    console = Console()
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("epoch {task.completed:.0f} of at most {task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("training", total=epochs)
        yield lambda epoch: progress.update(bar, completed=epoch)


@task(
    name="train",
    task_run_name="train on {job.title}, {job.start.reason}",
    cache_policy=NO_CACHE,
    timeout_seconds=TRAINING_SECONDS,
)
def train(job: RunContext, encoded: Artifact) -> Artifact:
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
        training = TrainingJob(encoded.path, job.preset, job.start.folder, job.seed)
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
                found = describe_epoch(result)
                logger.info("train: %s", found)
                advance(result.epoch)
                show(result.epoch, found)
                yield result

    model = job.workspace.stages.get("models", key, build)
    for table, rows in model.summary["carried"].items():
        logger.info("train: %s", describe_carried(table, rows))
    logger.info("train: best epoch %s of model %s", model.summary["best_epoch"], model.id)
    return model


def describe_carried(table: str, rows: Mapping[str, int]) -> str:
    """What a warm start took over of a table, for people."""
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("carried", "added", "dropped"))
    return f"rows of {table}: {counts}"


def describe_epoch(result: EpochResult) -> str:
    """One line for people."""
    loss = "" if result.train_loss is None else f"train loss {result.train_loss:.4f}, "
    judged = "catching up, "
    if result.validation_loss is not None:
        judged = f"validation loss {result.validation_loss:.4f}, "
    if result.validation_auc is not None:
        judged += f"AUC {result.validation_auc:.4f}, "
    best = ", best so far" if result.best else ""
    return f"epoch {result.epoch}: {loss}{judged}{result.seconds:.1f} s{best}"


@task(
    name="catch up",
    task_run_name="catch up on {job.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=TRAINING_SECONDS,
)
def catch_up(job: RunContext, gated: Artifact) -> Artifact:
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
        plan = TrainingData.of(
            warm_parts(
                job.ingested.known(),
                ItemTable.from_table(job.ingested.items()),
                job.ingested.split.as_of,
                job.preset.sampling,
                model.transform,
                model.learned_until,
                engines=job.engine.features(job.workspace.root),
            )
        )
        training = TrainingJob(plan, job.preset, gated.path, job.seed)
        with job.engine.fitting(training, folder) as fitting:
            for result in fitting.epochs():
                logger.info("catch up: %s", describe_epoch(result))
            fitting.finished().save(folder)
            return fitting.summary()

    return job.workspace.stages.get("models", key, build)

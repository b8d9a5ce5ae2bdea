"""The stages `features`, `train` and `catch up`: from interactions to a trained model."""

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
from widedeep import Artifact, TrainedModel, TrainingData, cold_parts, warm_parts
from widedeep.features.training_data import TrainingParts, save_parts
from widedeep.model.fitting import TrainingJob
from widedeep.model.trainer import EpochResult
from widedeep.store import code_version


@task(
    name="features",
    task_run_name="features of {context.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def features(context: RunContext) -> Artifact:
    """Fit vocabularies, quantiles and crosses, and encode the training and validation rows."""
    logger = get_run_logger()
    key = {
        "ratings": context.ingested.artifact.id,
        "split": asdict(context.ingested.split),
        "spec": context.preset.features.as_json(),
        "sampling": asdict(context.preset.sampling),
        "previous": context.start.model_id,
        "code": code_version("features"),
    }

    def build(folder: Path) -> dict[str, Any]:
        return save_parts(_parts(context), folder)

    artifact = context.workspace.stages.get_or_build("features", key, build)
    for name, part in artifact.summary.items():
        logger.info("features: %s", describe_part(name, part))
    return artifact


def describe_part(name: str, part: Mapping[str, Any]) -> str:
    """Return the log line about one part of the training data."""
    validation = "".join(f", {n:,} of {p} validation" for p, n in part["validation_rows"].items())
    sizes = {**part["vocabularies"], **part["crosses"]}
    counts = ", ".join(f"{feature} {size:,}" for feature, size in sizes.items())
    return f"{name.replace('_', ' ')} with {part['training_rows']:,} rows{validation}; {counts}"


def _parts(context: RunContext) -> TrainingParts:
    interactions, split = context.ingested.known(), context.ingested.split
    tables = context.ingested.tables()
    preset, previous, engines = (
        context.preset,
        context.start.load_model(),
        context.engine.feature_engines(context.workspace.root),
    )
    split.check(interactions.time, interactions.label)
    if previous is None:
        learned = preset.features, preset.sampling
        return cold_parts(interactions, tables, split, *learned, make_engine=engines)
    known = previous.transform, previous.learned_until
    until = split.holdout_from
    return warm_parts(interactions, tables, until, preset.sampling, *known, make_engine=engines)


@contextmanager
def epoch_bar(epochs: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, and nothing elsewhere, where the log says the same.

    Yields a function that takes the number of the epoch that has just finished.
    """
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
    task_run_name="train on {context.title}, {context.start.reason}",
    cache_policy=NO_CACHE,
    timeout_seconds=TRAINING_SECONDS,
)
def train(context: RunContext, encoded: Artifact) -> Artifact:
    """Train the wide and the deep part jointly; the summary holds the learning curve.

    A warm start with nothing new to learn returns the previous model itself.
    """
    logger = get_run_logger()
    if context.start.previous and not encoded.summary["catch_up"]["training_rows"]:
        logger.info("train: nothing is new since version %s learned", context.start.previous.number)
        return Artifact.load(context.start.previous.gated.path)
    key = {
        "features": encoded.id,
        "network": asdict(context.preset.network),
        "training": asdict(context.preset.training),
        "previous": context.start.model_id,
        "seed": context.seed,
        "code": code_version("model"),
        **context.engine.as_key(),
    }

    def build(folder: Path) -> dict[str, Any]:
        training = TrainingJob(encoded.path, context.preset, context.start.folder, context.seed)
        with context.engine.training(training, folder) as fitting:
            curve = [asdict(result) for result in _shown(fitting.epochs())]
            fitting.trained_model().save(folder)
            return {"curve": curve, **fitting.summary()}

    def _shown(results: Iterator[EpochResult]) -> Iterator[EpochResult]:
        parts, settings = encoded.summary, context.preset.training
        first = settings.max_epochs(parts["initial"]["training_rows"]) if "initial" in parts else 0
        epochs = first + settings.max_catch_up_epochs(parts["catch_up"]["training_rows"])
        key = f"{context.ingested.model}-training"
        with epoch_bar(epochs) as advance, progress(key, epochs, "epochs") as show:
            for result in results:
                line = describe_epoch(result)
                logger.info("train: %s", line)
                advance(result.epoch)
                show(result.epoch, line)
                yield result

    model = context.workspace.stages.get_or_build("models", key, build)
    for table, rows in model.summary["carried"].items():
        logger.info("train: %s", describe_carried(table, rows))
    logger.info("train: best epoch %s of model %s", model.summary["best_epoch"], model.id)
    return model


def describe_carried(table: str, rows: Mapping[str, int]) -> str:
    """Return the log line about what a warm start took over of one embedding or weight table."""
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("carried", "added", "dropped"))
    return f"rows of {table}: {counts}"


def describe_epoch(result: EpochResult) -> str:
    """Return the log line about one epoch."""
    loss = "" if result.train_loss is None else f"train loss {result.train_loss:.4f}, "
    validation = "learning the newest rows, "
    if result.validation_loss is not None:
        validation = f"validation loss {result.validation_loss:.4f}, "
    if result.validation_auc is not None:
        validation += f"AUC {result.validation_auc:.4f}, "
    best = ", best so far" if result.best else ""
    return f"epoch {result.epoch}: {loss}{validation}{result.seconds:.1f} s{best}"


@task(
    name="catch up",
    task_run_name="catch up on {context.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=TRAINING_SECONDS,
)
def catch_up(context: RunContext, gated: Artifact) -> Artifact:
    """Continue the gated model up to the run's as-of by a warm start.

    The model that passed the gate has not learned the holdout; what serves has.
    """
    logger = get_run_logger()
    key = {
        "gated": gated.id,
        "ratings": context.ingested.artifact.id,
        "until": context.ingested.split.as_of,
        "sampling": asdict(context.preset.sampling),
        "training": asdict(context.preset.training),
        "seed": context.seed,
        "code": code_version("model"),
        **context.engine.as_key(),
    }

    def build(folder: Path) -> dict[str, Any]:
        model = TrainedModel.load(gated.path)
        training_data = TrainingData.from_parts(
            warm_parts(
                context.ingested.known(),
                context.ingested.tables(),
                context.ingested.split.as_of,
                context.preset.sampling,
                model.transform,
                model.learned_until,
                make_engine=context.engine.feature_engines(context.workspace.root),
            )
        )
        training = TrainingJob(training_data, context.preset, gated.path, context.seed)
        with context.engine.training(training, folder) as fitting:
            for result in fitting.epochs():
                logger.info("catch up: %s", describe_epoch(result))
            fitting.trained_model().save(folder)
            return fitting.summary()

    return context.workspace.stages.get_or_build("models", key, build)

"""Training on Ray Train: replicas that make one model's steps together, and survive a death.

Every worker reads the same encoded features and takes its part of every minibatch (`replicas`).
After each epoch the first one reports and leaves a checkpoint; if a worker dies, Ray starts all of
them anew, and they go on from there.
"""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import ray
from ray import train
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.queue import Queue

from widedeep.choices import Device
from widedeep.inputs import InputError
from widedeep.model.distributed import ProcessGroup
from widedeep.model.fitting import Checkpoint, TrainingJob, TrainingRun
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import EpochResult

DEATHS = 3
"""So many times workers may die; with one more, training fails."""

_MODEL = "model"
_POLL = 0.2


class RayTraining:
    """A training by so many `workers`, seen from here as a `TrainingRun` is.

    Args:
        training: What to train.
        workers: Replicas, each with a CPU of its own (or with a GPU, where the cluster has one each
            and the CPU is not asked for).
        scratch: A folder to be made on a disk that all machines share; it may be removed when the
            model is known.
    """

    def __init__(self, training: TrainingJob, workers: int, scratch: Path) -> None:
        scratch.mkdir()
        self._training = training.in_folders(scratch)
        self._workers = workers
        self._scratch = scratch
        self._summary: dict[str, Any] | None = None

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding what the first worker reports; at the end the model is finished.

        An epoch is reported once, even if a worker's death made it be learned again.

        Raises:
            DivergenceError: as `Trainer.epochs` does.
            InputError: Workers are to have GPUs that the cluster has not.
            RuntimeError: Workers died too often.
        """
        gpus = self._on_gpus()
        reports = Queue(actor_options={"num_cpus": 0})
        fit = _RayTrainThread(self._trainer(reports, gpus=gpus))
        fit.start()
        try:
            last = -1
            for found in _until_done(reports, fit):
                if isinstance(found, EpochResult):
                    if found.epoch > last:  # else its checkpoint was not kept, and it came again
                        last = found.epoch
                        yield found
                elif isinstance(found, Exception):
                    fit.trouble = found  # the workers have stopped by themselves
                else:
                    self._summary = found
        finally:
            reports.shutdown(force=True)
        fit.join()
        if isinstance(fit.trouble, ArithmeticError | InputError):
            raise fit.trouble
        if fit.trouble is not None:
            raise RuntimeError(f"training on Ray failed: {fit.trouble}") from fit.trouble

    def finished(self) -> TrainedModel:
        """What became of it, when all is done."""
        return TrainedModel.load(self._scratch / _MODEL)

    def summary(self) -> dict[str, Any]:
        """As `TrainingRun.summary`, when all is done."""
        if self._summary is None:
            raise RuntimeError("there is no model yet: a training was left before its end")
        return self._summary

    def _trainer(self, reports: Queue, *, gpus: bool) -> TorchTrainer:
        return TorchTrainer(
            _train,
            train_loop_config={
                "training": self._training,
                "reports": reports,
                "model": self._scratch / _MODEL,
            },
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ScalingConfig(num_workers=self._workers, use_gpu=gpus),
            run_config=RunConfig(
                name="training",
                storage_path=str(self._scratch),
                failure_config=FailureConfig(max_failures=DEATHS),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
            ),
        )

    def _on_gpus(self) -> bool:
        """Whether each worker has one; InputError if it has not and should."""
        wanted, found = self._training.preset.training.device, ray.cluster_resources().get("GPU", 0)
        if wanted is Device.CUDA and found < self._workers:
            raise InputError(
                f"device is cuda; the cluster has {found:g} GPUs for {self._workers} workers, so "
                "auto, cpu or fewer workers are wanted"
            )
        return wanted is not Device.CPU and found >= self._workers


class _RayTrainThread(threading.Thread):
    """Ray Train at work; it blocks, and its reports have to be passed on meanwhile."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self._trainer = trainer
        self.trouble: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:  # noqa: BLE001  it is raised where the thread is waited for
            self.trouble = error


def _until_done(reports: Queue, fit: _RayTrainThread) -> Iterator[Any]:
    """What is reported, until nobody works any more and all of it was passed on."""
    while True:
        alive = fit.is_alive()
        try:
            yield reports.get(timeout=_POLL)
        except Empty:
            if not alive:
                return


def _train(config: dict[str, Any]) -> None:
    """What every worker does."""
    training, group = config["training"], ProcessGroup()
    fitting = training.fitting(replicas=group, begun=_last_checkpoint())
    reporter = _Reporter(fitting, config["reports"]) if group.rank == 0 else None
    try:
        for result in fitting.epochs():
            if reporter:
                reporter.tell(result)
            else:
                train.report({})
    except (ArithmeticError, InputError) as error:  # trying again would not help
        if reporter:
            config["reports"].put(error)
        return
    if reporter:
        reporter.finish(config["model"])


@dataclass(frozen=True, slots=True)
class _Reporter:
    """The first worker's voice."""

    fitting: TrainingRun
    reports: Queue

    def tell(self, result: EpochResult) -> None:
        """Leave a checkpoint, and say what was reached."""
        with tempfile.TemporaryDirectory() as folder:
            self.fitting.checkpoint().save(Path(folder))
            train.report({"epoch": result.epoch}, train.Checkpoint.from_directory(folder))
        self.reports.put(result)

    def finish(self, folder: Path) -> None:
        """Leave the model, anew if a worker died while it was written."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.fitting.finished().save(folder)
        self.reports.put(self.fitting.summary())


def _last_checkpoint() -> Checkpoint | None:
    held = train.get_checkpoint()
    if held is None:
        return None
    with held.as_directory() as folder:
        return Checkpoint.load(Path(folder))

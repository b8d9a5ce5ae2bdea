"""Training on Ray Train: data-parallel workers that survive the death of one of them.

Every worker reads the same encoded rows and takes its share of every minibatch
(`widedeep.model.distributed`). After each epoch the first worker reports and saves a checkpoint. If
a worker dies, Ray starts all of them again, and they continue from the checkpoint.
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

from widedeep import InputError, TrainedModel, TrainingRun
from widedeep.inputs import Device
from widedeep.model.distributed import ProcessGroup
from widedeep.model.fitting import Checkpoint, TrainingJob
from widedeep.model.trainer import EpochResult

DEATHS = 3
"""The number of times that workers may die before training fails."""

_MODEL = "model"
_POLL = 0.2


class RayTraining:
    """A training by `workers` processes, with the interface of `TrainingRun`.

    Args:
        training: What to train.
        workers: Number of processes. Each has a CPU of its own, or a GPU if the cluster has enough
            of them and the device is not set to cpu.
        scratch: A folder to create on a disk that all machines share. It may be removed once
            `finished` has returned.
    """

    def __init__(self, training: TrainingJob, workers: int, scratch: Path) -> None:
        scratch.mkdir()
        self._training = training.with_data_on_disk(scratch)
        self._workers = workers
        self._scratch = scratch
        self._summary: dict[str, Any] | None = None

    def epochs(self) -> Iterator[EpochResult]:
        """Train and yield the result of each epoch; the model is finished after the last one.

        Each epoch is yielded once, even if it was trained again after a worker had died.

        Raises:
            DivergenceError: The loss is not finite, see `Trainer.epochs`.
            InputError: The device is cuda and the cluster has too few GPUs.
            RuntimeError: Workers died more than `DEATHS` times.
        """
        gpus = self._on_gpus()
        reports = Queue(actor_options={"num_cpus": 0})
        fit = _RayTrainThread(self._trainer(reports, gpus=gpus))
        fit.start()
        try:
            last_epoch = -1
            for report in _until_done(reports, fit):
                if isinstance(report, EpochResult):
                    if report.epoch > last_epoch:  # otherwise it was trained again
                        last_epoch = report.epoch
                        yield report
                elif isinstance(report, Exception):
                    fit.error = report  # the workers have stopped by themselves
                else:
                    self._summary = report
        finally:
            reports.shutdown(force=True)
        fit.join()
        if isinstance(fit.error, ArithmeticError | InputError):
            raise fit.error
        if fit.error is not None:
            raise RuntimeError(f"training on Ray failed: {fit.error}") from fit.error

    def trained_model(self) -> TrainedModel:
        """Return the trained model; call it after the last epoch."""
        return TrainedModel.load(self._scratch / _MODEL)

    def summary(self) -> dict[str, Any]:
        """Return the same as `TrainingRun.summary`; call it after the last epoch."""
        if self._summary is None:
            raise RuntimeError(
                "there is no model yet: the training was stopped before its last epoch"
            )
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
        """Return whether each worker gets a GPU; raise InputError if cuda asks for missing ones."""
        device, gpus = self._training.preset.training.device, ray.cluster_resources().get("GPU", 0)
        if device is Device.CUDA and gpus < self._workers:
            raise InputError(
                f"device is cuda, but the cluster has {gpus:g} GPUs for {self._workers} workers; "
                "use device auto or cpu, or fewer workers"
            )
        return device is not Device.CPU and gpus >= self._workers


class _RayTrainThread(threading.Thread):
    """A thread that runs Ray Train, whose `fit` blocks while reports have to be passed on."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self._trainer = trainer
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:  # noqa: BLE001  raised again by `RayTraining.epochs`
            self.error = error


def _until_done(reports: Queue, fit: _RayTrainThread) -> Iterator[Any]:
    """Yield the reports until training has ended and the queue is empty."""
    while True:
        alive = fit.is_alive()
        try:
            yield reports.get(timeout=_POLL)
        except Empty:
            if not alive:
                return


def _train(config: dict[str, Any]) -> None:
    """Train on one worker: Ray Train calls this function in every worker process."""
    training, group = config["training"], ProcessGroup()
    fitting = training.create_run(replicas=group, resume_from=_last_checkpoint())
    reporter = _Reporter(fitting, config["reports"]) if group.rank == 0 else None
    try:
        for result in fitting.epochs():
            if reporter:
                reporter.report(result)
            else:
                train.report({})
    except (ArithmeticError, InputError) as error:  # a retry would fail again
        if reporter:
            config["reports"].put(error)
        return
    if reporter:
        reporter.finish(config["model"])


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Reports the first worker's progress and saves its checkpoints."""

    fitting: TrainingRun
    reports: Queue

    def report(self, result: EpochResult) -> None:
        """Save a checkpoint and report the epoch."""
        with tempfile.TemporaryDirectory() as folder:
            self.fitting.checkpoint().save(Path(folder))
            train.report({"epoch": result.epoch}, train.Checkpoint.from_directory(folder))
        self.reports.put(result)

    def finish(self, folder: Path) -> None:
        """Save the model, replacing one that a dead worker left half-written."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.fitting.trained_model().save(folder)
        self.reports.put(self.fitting.summary())


def _last_checkpoint() -> Checkpoint | None:
    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return Checkpoint.load(Path(folder))

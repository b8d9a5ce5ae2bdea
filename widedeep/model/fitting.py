"""The training stage: start a network cold or warm, train it, catch it up, return the model.

A cold start learns from the training part and is stopped by validation. The validation
interactions, which it then lacks, it learns as a warm start learns new ones: it continues from the
best epoch, on the new interactions and a replay of older ones, for a fixed number of epochs.

`TrainingRun` does this in this process. `TrainingJob` describes the same training by its inputs, so
that it can be started in another process. `Checkpoint` is the state between two epochs, from which
a run continues as if it had never stopped.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from widedeep.features import Examples, TrainingData, TrainingPart
from widedeep.model.compute import CPU, resolve_device
from widedeep.model.distributed import Replicas
from widedeep.model.network import InputShape, WideDeep
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import EpochResult, Optimisers, Progress, Trainer
from widedeep.model.warm_start import CarriedRows, warm_start

Value = TypeVar("Value")

_TENSORS = "checkpoint.safetensors"
_JSON = "checkpoint.json"
_DRAWS = "draws"
_PARTS = ("weights", "optimisers", "best_weights", "best_optimisers")
_DATA = "training_data"

_WEAK_PENALTY = 1e6
"""Inverse strength of the penalty that keeps the slope finite if the prior separates the labels."""


class TrainingHandle(Protocol):
    """A training as an engine returns it, wherever it is computed."""

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding after each epoch; after the last one the model is complete."""

    def trained_model(self) -> TrainedModel:
        """Return the model; only after the last epoch."""

    def summary(self) -> dict[str, Any]:
        """Return JSON figures for logs and the tracker; only after the last epoch."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a trainer and of its random generators between two epochs.

    Attributes:
        tensors: By part and name: weights and optimiser state, now and after the best epoch (if
            there was one), and the state of torch's generator.
        progress: Last epoch, epochs since the best one, and the loss of the best one.
        order: The state of numpy's generator, which orders the rows.
        phase: JSON values that the owner needs to continue.
    """

    tensors: Mapping[str, Tensor]
    progress: tuple[int | None, int, float]
    order: Mapping[str, Any]
    phase: Mapping[str, Any]

    @classmethod
    def capture(
        cls,
        trainer: Trainer,
        draws: torch.Generator,
        order: np.random.Generator,
        phase: Mapping[str, Any],
    ) -> Self:
        """Refer to the present state without copying it: save it before training goes on."""
        progress = trainer.progress
        now = (trainer.network.state_dict(), trainer.optimisers.state())
        parts = zip(_PARTS, (*now, *(progress.best or ())), strict=False)
        tensors = {
            f"{part}/{name}": value for part, values in parts for name, value in values.items()
        }
        return cls(
            {**tensors, _DRAWS: draws.get_state()},
            (progress.epoch, progress.epochs_since_best, progress.best_loss),
            order.bit_generator.state,
            phase,
        )

    def restore(self, trainer: Trainer, draws: torch.Generator, order: np.random.Generator) -> None:
        """Put a new `trainer` and both generators into the captured state."""
        trainer.network.load_state_dict(self._part("weights"))
        trainer.optimisers.load(self._part("optimisers"))
        best = self._part("best_weights"), self._part("best_optimisers")
        trainer.progress = Progress(*self.progress, best if best[0] else None)
        draws.set_state(self.tensors[_DRAWS])
        order.bit_generator.state = self.order

    def save(self, folder: Path) -> None:
        """Write safetensors and JSON into `folder`."""
        save_file({k: v.contiguous() for k, v in self.tensors.items()}, folder / _TENSORS)
        text = {"progress": self.progress, "order": self.order, "phase": self.phase}
        (folder / _JSON).write_text(json.dumps(text), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a checkpoint that `save` wrote into `folder`."""
        text = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        tensors = load_file(folder / _TENSORS)
        return cls(tensors, tuple(text["progress"]), text["order"], text["phase"])

    def _part(self, name: str) -> dict[str, Tensor]:
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class _Phase:
    """Where a run stands: `last` is the epoch after which it catches up."""

    catching_up: bool = False
    best_epoch: int = 0
    last: int = 0


class TrainingRun:
    """A cold or warm training in this process, alone or as one of several `replicas`.

    Attributes:
        selected_model: The model that the catch-up continues: the previous one, or the one that
            validation selected (None if that was before a checkpoint).
        carried: What the warm start carried over from the previous model, by table.
    """

    def __init__(
        self,
        data: TrainingData,
        preset: Preset,
        previous: TrainedModel | None,
        seed: int,
        *,
        replicas: Replicas | None = None,
        resume_from: Checkpoint | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            data: What is learned; its initial part is missing for a warm start.
            preset: Settings of network and training.
            previous: The model that a warm start continues, None for a cold start.
            seed: Source of all random numbers of the run.
            replicas: The processes that train the model; None for this one alone.
            resume_from: Continue from this checkpoint; results are as if the run had never stopped.
        """
        self.selected_model = previous
        self.carried: dict[str, CarriedRows] = {}
        self._model: TrainedModel | None = None
        self._data = data
        self._preset = preset
        self._replicas = replicas
        self._resume_from = resume_from
        self._trainer: Trainer | None = None
        self._phase = _Phase(**resume_from.phase) if resume_from else _Phase()
        self._device = resolve_device(preset.training.device)
        self._order = np.random.default_rng(seed)
        self._draws = torch.Generator().manual_seed(seed)

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding after each epoch; after the last one the model is complete."""
        if self._data.initial and not self._phase.catching_up:
            for result in self._train_initial(self._data.initial):
                best_epoch = result.epoch if result.best else self.best_epoch
                self._phase = _Phase(best_epoch=best_epoch, last=result.epoch)
                yield result
        yield from self._catch_up(self._data.catch_up)

    @property
    def best_epoch(self) -> int:
        """The epoch that validation selected; 0 after a warm start."""
        return self._phase.best_epoch

    def trained_model(self) -> TrainedModel:
        """Return the model; only after the last epoch."""
        return _available(self._model)

    def summary(self) -> dict[str, Any]:
        """Return JSON figures for logs and the tracker; only after the last epoch."""
        network = self.trained_model().network
        wide = network.wide
        return {
            "precision": str(network.training_dtype).removeprefix("torch."),
            "device": self._device.type,
            "best_epoch": self.best_epoch,
            "carried": {name: asdict(rows) for name, rows in self.carried.items()},
            "wide_weights": wide.numel(),
            "wide_nonzero": int((wide != 0).sum()),
        }

    def checkpoint(self) -> Checkpoint:
        """Return the state after the epoch that `epochs` has just yielded."""
        trainer = _available(self._trainer)
        return Checkpoint.capture(trainer, self._draws, self._order, asdict(self._phase))

    def _train_initial(self, part: TrainingPart) -> Iterator[EpochResult]:
        network = self._new_network(part)
        fit_prior_calibration(network, part.training)
        trainer = self._new_trainer(network, Optimisers(network, self._preset.training))
        yield from trainer.epochs(part.training, part.validation)
        self.selected_model = self._to_model(part, trainer)

    def _catch_up(self, part: TrainingPart) -> Iterator[EpochResult]:
        network = self._new_network(part)
        optimisers = self._carry_over(part, network)
        self._phase = replace(self._phase, catching_up=True)
        trainer = self._new_trainer(network, optimisers)
        yield from trainer.catch_up(part.training, part.validation, self._phase.last)
        self._model = self._to_model(part, trainer)

    def _carry_over(self, part: TrainingPart, network: WideDeep) -> Optimisers:
        """Fill a new network from the selected model; return its optimisers."""
        if self.selected_model is None and self._resume_from:
            return Optimisers(network, self._preset.training)  # the checkpoint will fill both
        previous = _available(self.selected_model)
        optimisers, carried = warm_start(previous, network, part.transform, self._preset.training)
        if self._data.initial is None:
            self.carried = carried
        return optimisers

    def _new_network(self, part: TrainingPart) -> WideDeep:
        """Return a new network on the device of the training."""
        shape = InputShape.from_transform(part.transform)
        return WideDeep(self._preset.network, shape, self._draws).to(self._device)

    def _new_trainer(self, network: WideDeep, optimisers: Optimisers) -> Trainer:
        """Return a trainer, in the state of the checkpoint if the run resumes from one."""
        config = self._preset.training
        self._trainer = Trainer(network, optimisers, config, self._order, self._replicas)
        if self._resume_from:
            self._resume_from.restore(self._trainer, self._draws, self._order)
            self._resume_from = None
        return self._trainer

    def _to_model(self, part: TrainingPart, trainer: Trainer) -> TrainedModel:
        """Move what was trained back to the CPU."""
        state = {name: value.to(CPU) for name, value in trainer.optimisers.state().items()}
        return TrainedModel(
            part.transform,
            trainer.network.to(CPU),
            self._preset.training,
            state,
            part.until,
            part.support,
        )


def _available(value: Value | None) -> Value:
    if value is None:
        raise RuntimeError("there is no model yet: the training was left before its end")
    return value


@torch.no_grad()
def fit_prior_calibration(network: WideDeep, training: Examples) -> None:
    """Set prior slope and bias of a new network by a logistic regression of the labels.

    The labels are regressed on the prior logit alone. The steps of the online model behind it suit
    some data better than others: where users differ little, it follows noise and is overconfident.
    If the prior logit is constant, nothing changes.
    """
    prior_logit = training.rows.prior_logit
    if (prior_logit == prior_logit[:1]).all():
        return
    regression = LogisticRegression(C=_WEAK_PENALTY)
    regression.fit(prior_logit[:, None], training.label, training.weight)
    network.prior_slope.fill_(regression.coef_.item())
    network.bias.fill_(regression.intercept_.item())


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A training by its inputs, which can be sent to another process and started there.

    Attributes:
        data: What is learned, or the folder it was saved in.
        preset: Settings of network and training.
        previous: Folder of the model that a warm start continues, None for a cold start.
        seed: Source of all random numbers.
    """

    data: TrainingData | Path
    preset: Preset
    previous: Path | None
    seed: int

    def create_run(
        self, *, replicas: Replicas | None = None, resume_from: Checkpoint | None = None
    ) -> TrainingRun:
        """Load what lies in folders; return a run with these arguments of `TrainingRun`."""
        previous = None if self.previous is None else TrainedModel.load(self.previous)
        data = TrainingData.load(self.data) if isinstance(self.data, Path) else self.data
        return TrainingRun(
            data, self.preset, previous, self.seed, replicas=replicas, resume_from=resume_from
        )

    def with_data_on_disk(self, scratch: Path) -> "TrainingJob":
        """Return the same job with its data in a folder; data in memory is saved to `scratch`."""
        if isinstance(self.data, Path):
            return self
        self.data.save(scratch / _DATA)
        return replace(self, data=scratch / _DATA)

"""The training stage: a network begun cold or warm, trained, caught up, and kept.

A cold start learns from the training part and is stopped by validation. What it then lacks, the
validation ratings, it learns as a warm start learns what is new: it goes on from the epoch that was
chosen, on the new ratings and a replay of older ones, for a fixed number of epochs.

How far the offset is to be trusted: a logistic regression on it alone.

A training between two epochs: all it takes to go on from there as if nothing had happened.

A training by its inputs, which lie in folders: it may begin in another process.
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

from widedeep.features.encoded import Examples
from widedeep.features.training_data import TrainingData, TrainingPart
from widedeep.model.compute import CPU, resolve_device
from widedeep.model.distributed import Replicas
from widedeep.model.network import InputShape, WideDeep
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import EpochResult, Optimisers, Progress, Trainer
from widedeep.model.warm_start import CarriedRows, warm_start

_WEAK = 1e6
"""Inverse strength of the penalty: enough of one to stay finite where the offset tells all."""


@torch.no_grad()
def fit_prior_calibration(network: WideDeep, training: Examples) -> None:
    """Set slope and bias of a new network to the best fit of the offset alone to the labels.

    The online model's steps suit some data better than others: where users differ little, it runs
    after noise and is overconfident. Without an offset nothing changes.
    """
    offset = training.rows.offset
    if (offset == offset[:1]).all():
        return
    fitted = LogisticRegression(C=_WEAK).fit(offset[:, None], training.label, training.weight)
    network.slope.fill_(fitted.coef_.item())
    network.bias.fill_(fitted.intercept_.item())


_TENSORS = "checkpoint.safetensors"
_JSON = "checkpoint.json"
_DRAWS = "draws"
_PARTS = ("weights", "memories", "best_weights", "best_memories")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a trainer and of what its randomness comes from.

    Attributes:
        tensors: By part and name: weights, memories of the optimisers, both of the best epoch (if
            there was one), and the state of torch's generator.
        progress: Epoch, epochs since the best one, and its loss.
        order: The state of numpy's generator.
        phase: JSON values that the owner wants back.
    """

    tensors: Mapping[str, Tensor]
    progress: tuple[int | None, int, float]
    order: Mapping[str, Any]
    phase: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        trainer: Trainer,
        draws: torch.Generator,
        order: np.random.Generator,
        phase: Mapping[str, Any],
    ) -> Self:
        """Copy nothing: to be saved before training goes on."""
        progress = trainer.progress
        now = (trainer.network.state_dict(), trainer.optimisers.state())
        held = zip(_PARTS, (*now, *(progress.best or ())), strict=False)
        tensors = {f"{part}/{name}": value for part, of in held for name, value in of.items()}
        return cls(
            {**tensors, _DRAWS: draws.get_state()},
            (progress.epoch, progress.worse, progress.best_loss),
            order.bit_generator.state,
            phase,
        )

    def restore(self, trainer: Trainer, draws: torch.Generator, order: np.random.Generator) -> None:
        """Put all of them into the state they were in; `trainer` is new."""
        trainer.network.load_state_dict(self._part("weights"))
        trainer.optimisers.load(self._part("memories"))
        best = self._part("best_weights"), self._part("best_memories")
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
        """Read what `save` wrote."""
        text = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        tensors = load_file(folder / _TENSORS)
        return cls(tensors, tuple(text["progress"]), text["order"], text["phase"])

    def _part(self, name: str) -> dict[str, Tensor]:
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Phase:
    """Where a fitting stands: `last` is the epoch from which it catches up."""

    catching_up: bool = False
    best_epoch: int = 0
    last: int = 0


class TrainingProcess(Protocol):
    """A training under way, wherever it is."""

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding after each epoch; at the end the model is finished."""

    def finished(self) -> TrainedModel:
        """What became of it, when all is done."""

    def summary(self) -> dict[str, Any]:
        """Counts for people and for the tracker, when all is done."""


class TrainingRun:
    """A training under way, alone or as one of several `replicas`.

    Everything random in it comes from `seed`. With `begun` it goes on from there: the rest comes
    out as it would have, had it never stopped.

    Attributes:
        chosen: The model to catch up from: the previous one, or the one that validation chose (None
            if that was before a checkpoint).
        carried: What the warm start took over from the previous model, by table.
    """

    def __init__(
        self,
        plan: TrainingData,
        preset: Preset,
        previous: TrainedModel | None,
        seed: int,
        *,
        replicas: Replicas | None = None,
        begun: Checkpoint | None = None,
    ) -> None:
        self.chosen = previous
        self._model: TrainedModel | None = None
        self.carried: dict[str, CarriedRows] = {}
        self._plan = plan
        self._preset = preset
        self._replicas = replicas
        self._begun = begun
        self._trainer: Trainer | None = None
        self._phase = _Phase(**begun.phase) if begun else _Phase()
        self._device = resolve_device(preset.training.device)
        self._order = np.random.default_rng(seed)
        self._draws = torch.Generator().manual_seed(seed)

    @property
    def best_epoch(self) -> int:
        """The epoch that validation chose; 0 after a warm start."""
        return self._phase.best_epoch

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding after each epoch; at the end the model is finished."""
        if self._plan.initial and not self._phase.catching_up:
            for result in self._begin(self._plan.initial):
                chosen = result.epoch if result.best else self.best_epoch
                self._phase = _Phase(best_epoch=chosen, last=result.epoch)
                yield result
        yield from self._catch_up(self._plan.catch_up)

    def checkpoint(self) -> Checkpoint:
        """The state after the epoch that `epochs` has just yielded."""
        trainer = _there(self._trainer)
        return Checkpoint.of(trainer, self._draws, self._order, asdict(self._phase))

    def finished(self) -> TrainedModel:
        """What became of it, when all is done."""
        return _there(self._model)

    def summary(self) -> dict[str, Any]:
        """Counts for people and for the tracker, when all is done."""
        network = self.finished().network
        wide = network.wide
        return {
            "precision": str(network.multiplied_in).removeprefix("torch."),
            "device": self._device.type,
            "best_epoch": self.best_epoch,
            "carried": {name: asdict(report) for name, report in self.carried.items()},
            "wide_weights": wide.numel(),
            "wide_nonzero": int((wide != 0).sum()),
        }

    def _begin(self, rows: TrainingPart) -> Iterator[EpochResult]:
        network = self._network(rows)
        fit_prior_calibration(network, rows.training)
        trainer = self._train(network, Optimisers(network, self._preset.training))
        yield from trainer.epochs(rows.training, rows.validation)
        self.chosen = self._kept(rows, trainer)

    def _catch_up(self, rows: TrainingPart) -> Iterator[EpochResult]:
        network = self._network(rows)
        optimisers = self._continued(rows, network)
        self._phase = replace(self._phase, catching_up=True)
        trainer = self._train(network, optimisers)
        yield from trainer.catch_up(rows.training, rows.validation, self._phase.last)
        self._model = self._kept(rows, trainer)

    def _continued(self, rows: TrainingPart, network: WideDeep) -> Optimisers:
        """The optimisers of a network that begins where the chosen model ended."""
        if self.chosen is None and self._begun:
            return Optimisers(network, self._preset.training)  # the checkpoint has it all
        previous = _there(self.chosen)
        optimisers, carried = warm_start(previous, network, rows.transform, self._preset.training)
        if self._plan.initial is None:
            self.carried = carried
        return optimisers

    def _network(self, rows: TrainingPart) -> WideDeep:
        """A new one, where models are trained."""
        network = WideDeep(self._preset.network, InputShape.of(rows.transform), self._draws)
        return network.to(self._device)

    def _train(self, network: WideDeep, optimisers: Optimisers) -> Trainer:
        """A trainer, from the checkpoint on if there is one."""
        config = self._preset.training
        self._trainer = Trainer(network, optimisers, config, self._order, self._replicas)
        if self._begun:
            self._begun.restore(self._trainer, self._draws, self._order)
            self._begun = None
        return self._trainer

    def _kept(self, rows: TrainingPart, trainer: Trainer) -> TrainedModel:
        """What was trained, back with the processor."""
        state = {name: value.to(CPU) for name, value in trainer.optimisers.state().items()}
        return TrainedModel(
            rows.transform,
            trainer.network.to(CPU),
            self._preset.training,
            state,
            rows.until,
            rows.evidence,
        )


def _there(found: Found | None) -> Found:
    if found is None:
        raise RuntimeError("there is no model yet: a training was left before its end")
    return found


_PLAN = "plan"


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A plan (or its folder), settings, and the folder of the model to go on from, if any."""

    plan: TrainingData | Path
    preset: Preset
    previous: Path | None
    seed: int

    def fitting(self, **how: Any) -> TrainingRun:  # noqa: ANN401
        """As the local engine would begin it."""
        previous = None if self.previous is None else TrainedModel.load(self.previous)
        plan = TrainingData.load(self.plan) if isinstance(self.plan, Path) else self.plan
        return TrainingRun(plan, self.preset, previous, self.seed, **how)

    def in_folders(self, scratch: Path) -> "TrainingJob":
        """The same for other processes; a plan that is here is written to `scratch`, a folder."""
        if isinstance(self.plan, Path):
            return self
        self.plan.save(scratch / _PLAN)
        return replace(self, plan=scratch / _PLAN)

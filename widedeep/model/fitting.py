"""The training stage: a network begun cold or warm, trained, caught up, and kept.

A cold start learns from the training part and is stopped by validation. What it then lacks, the
validation ratings, it learns as a warm start learns what is new: it goes on from the epoch that was
chosen, on the new ratings and a replay of older ones, for a fixed number of epochs.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from widedeep.features.training_plan import TrainingPlan
from widedeep.features.training_set import TrainingSet
from widedeep.model.checkpoint import Checkpoint
from widedeep.model.network import InputShape, WideDeep
from widedeep.model.offset import begin_from_offset
from widedeep.model.placement import CPU, device_of
from widedeep.model.presets import Preset
from widedeep.model.replicas import Replicas
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import EpochResult, Optimisers, Trainer
from widedeep.model.warm_start import Carried, warm_start

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Phase:
    """Where a fitting stands: `last` is the epoch from which it catches up."""

    catching_up: bool = False
    best_epoch: int = 0
    last: int = 0


class Fit(Protocol):
    """A training under way, wherever it is."""

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding after each epoch; at the end the model is finished."""

    def finished(self) -> TrainedModel:
        """What became of it, when all is done."""

    def summary(self) -> dict[str, Any]:
        """Counts for people and for the tracker, when all is done."""


class Fitting:
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
        plan: TrainingPlan,
        preset: Preset,
        previous: TrainedModel | None,
        seed: int,
        *,
        replicas: Replicas | None = None,
        begun: Checkpoint | None = None,
    ) -> None:
        self.chosen = previous
        self._model: TrainedModel | None = None
        self.carried: dict[str, Carried] = {}
        self._plan = plan
        self._preset = preset
        self._replicas = replicas
        self._begun = begun
        self._trainer: Trainer | None = None
        self._phase = _Phase(**begun.phase) if begun else _Phase()
        self._device = device_of(preset.training.device)
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

    def _begin(self, rows: TrainingSet) -> Iterator[EpochResult]:
        network = self._network(rows)
        begin_from_offset(network, rows.training)
        trainer = self._train(network, Optimisers(network, self._preset.training))
        yield from trainer.epochs(rows.training, rows.validation)
        self.chosen = self._kept(rows, trainer)

    def _catch_up(self, rows: TrainingSet) -> Iterator[EpochResult]:
        network = self._network(rows)
        optimisers = self._continued(rows, network)
        self._phase = replace(self._phase, catching_up=True)
        trainer = self._train(network, optimisers)
        yield from trainer.catch_up(rows.training, rows.validation, self._phase.last)
        self._model = self._kept(rows, trainer)

    def _continued(self, rows: TrainingSet, network: WideDeep) -> Optimisers:
        """The optimisers of a network that begins where the chosen model ended."""
        if self.chosen is None and self._begun:
            return Optimisers(network, self._preset.training)  # the checkpoint has it all
        previous = _there(self.chosen)
        optimisers, carried = warm_start(previous, network, rows.transform, self._preset.training)
        if self._plan.initial is None:
            self.carried = carried
        return optimisers

    def _network(self, rows: TrainingSet) -> WideDeep:
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

    def _kept(self, rows: TrainingSet, trainer: Trainer) -> TrainedModel:
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

"""The training stage: a network begun cold or warm, trained, caught up, and kept.

A cold start learns from the training part and is stopped by validation. What it then lacks, the
validation ratings, it learns as a warm start learns what is new: it goes on from the epoch that was
chosen, on the new ratings and a replay of older ones, for a fixed number of epochs.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from widedeep.features.training_plan import TrainingPlan
from widedeep.features.training_set import TrainingSet
from widedeep.model.network import InputShape, WideDeep
from widedeep.model.offset import begin_from_offset
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import EpochResult, Optimisers, Trainer
from widedeep.model.warm_start import Carried, warm_start


class Fitting:
    """A training under way; everything random in it comes from `seed`.

    Attributes:
        chosen: The model to catch up from: the previous one, or the one that validation chose.
        carried: What the warm start took over from the previous model, by table.
        best_epoch: The epoch that validation chose; 0 after a warm start.
    """

    def __init__(
        self, plan: TrainingPlan, preset: Preset, previous: TrainedModel | None, seed: int
    ) -> None:
        self.chosen = previous
        self._model: TrainedModel | None = None
        self.carried: dict[str, Carried] = {}
        self.best_epoch = 0
        self._plan = plan
        self._preset = preset
        self._order = np.random.default_rng(seed)
        self._draws = torch.Generator().manual_seed(seed)

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding after each epoch; at the end the model is finished."""
        last = 0
        if self._plan.initial:
            for result in self._begin(self._plan.initial):
                last = result.epoch
                self.best_epoch = last if result.best else self.best_epoch
                yield result
        yield from self._catch_up(self._plan.catch_up, last)

    def finished(self) -> TrainedModel:
        """What became of it, when all is done."""
        return _there(self._model)

    def summary(self) -> dict[str, Any]:
        """Counts for people and for the tracker, when all is done."""
        network = self.finished().network
        wide = network.wide
        return {
            "precision": str(network.multiplied_in).removeprefix("torch."),
            "best_epoch": self.best_epoch,
            "carried": {name: asdict(report) for name, report in self.carried.items()},
            "wide_weights": wide.numel(),
            "wide_nonzero": int((wide != 0).sum()),
        }

    def _begin(self, rows: TrainingSet) -> Iterator[EpochResult]:
        network = self._network(rows)
        begin_from_offset(network, rows.training)
        optimisers = Optimisers(network, self._preset.training)
        yield from self._trainer(network, optimisers).epochs(rows.training, rows.validation)
        self.chosen = self._kept(rows, network, optimisers)

    def _catch_up(self, rows: TrainingSet, last: int) -> Iterator[EpochResult]:
        previous, network = _there(self.chosen), self._network(rows)
        optimisers, carried = warm_start(previous, network, rows.transform, self._preset.training)
        if self._plan.initial is None:
            self.carried = carried
        trainer = self._trainer(network, optimisers)
        yield from trainer.catch_up(rows.training, rows.validation, last)
        self._model = self._kept(rows, network, optimisers)

    def _network(self, rows: TrainingSet) -> WideDeep:
        return WideDeep(self._preset.network, InputShape.of(rows.transform), self._draws)

    def _trainer(self, network: WideDeep, optimisers: Optimisers) -> Trainer:
        return Trainer(network, optimisers, self._preset.training, self._order)

    def _kept(self, rows: TrainingSet, network: WideDeep, optimisers: Optimisers) -> TrainedModel:
        return TrainedModel(
            rows.transform,
            network,
            self._preset.training,
            optimisers.state(),
            rows.until,
            rows.evidence,
        )


def _there(model: TrainedModel | None) -> TrainedModel:
    if model is None:
        raise RuntimeError("there is no model yet: a training was left before its end")
    return model

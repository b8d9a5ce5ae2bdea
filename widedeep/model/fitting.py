"""The training stage: a network for a training set, begun cold or warm, trained, and kept."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import torch

from widedeep.data.split import Split
from widedeep.features.training_set import TrainingSet
from widedeep.model.evidence import Evidence
from widedeep.model.network import InputShape, WideDeep
from widedeep.model.offset import begin_from_offset
from widedeep.model.presets import Preset
from widedeep.model.start import Start
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import EpochResult, Optimisers, Trainer
from widedeep.model.warm_start import Carried, warm_start


@dataclass(slots=True)
class Fitting:
    """A training under way. `carried` reports what a warm start took over, by table."""

    rows: TrainingSet
    preset: Preset
    network: WideDeep
    optimisers: Optimisers
    generator: np.random.Generator
    carried: dict[str, Carried] | None
    _results: list[EpochResult] = field(default_factory=list)

    @classmethod
    def begin(cls, rows: TrainingSet, preset: Preset, start: Start, seed: int) -> Self:
        """Initialise the network from `seed`, or from the previous model of a warm `start`."""
        shape = InputShape.of(rows.transform)
        network = WideDeep(preset.network, shape, torch.Generator().manual_seed(seed))
        previous = start.model()
        if previous is None:
            begin_from_offset(network, rows.training)
            optimisers, carried = Optimisers(network, preset.training), None
        else:
            optimisers, carried = warm_start(previous, network, rows.transform, preset.training)
        return cls(rows, preset, network, optimisers, np.random.default_rng(seed), carried)

    def epochs(self) -> Iterator[EpochResult]:
        """Train, yielding after each epoch; see `Trainer.epochs`."""
        trainer = Trainer(self.network, self.optimisers, self.preset.training, self.generator)
        warm = self.carried is not None
        for result in trainer.epochs(self.rows.training, self.rows.validation, warm=warm):
            self._results.append(result)
            yield result

    def finish(self, split: Split) -> TrainedModel:
        """The model at its best epoch."""
        return TrainedModel(
            self.rows.transform,
            self.network,
            self.preset.training,
            self.optimisers.state(),
            learned_until=split.validation_from,
            chosen_until=split.holdout_from,
            evidence=self._evidence(),
        )

    def summary(self) -> dict[str, Any]:
        """Counts for people and for the tracker."""
        best = [result.epoch for result in self._results if result.best]
        carried = self.carried or {}
        return {
            "best_epoch": best[-1],
            "carried": {name: asdict(report) for name, report in carried.items()},
            "wide_weights": self.network.wide.numel(),
            "wide_nonzero": int((self.network.wide != 0).sum()),
        }

    def _evidence(self) -> Evidence:
        """Counted over the fresh rows; their stale copies weigh otherwise."""
        training = self.rows.training
        fresh = np.flatnonzero(training.weight == 1)
        wide_size = self.rows.transform.wide_size
        return Evidence.count(training.rows.wide.take(fresh), training.label[fresh], wide_size)

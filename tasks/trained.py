"""A training by its inputs, which lie in folders: it may begin in another process."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from widedeep.features.training_plan import TrainingPlan
from widedeep.model.fitting import Fitting
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel

_PLAN = "plan"


@dataclass(frozen=True, slots=True)
class Training:
    """A plan (or its folder), settings, and the folder of the model to go on from, if any."""

    plan: TrainingPlan | Path
    preset: Preset
    previous: Path | None
    seed: int

    def fitting(self, **how: Any) -> Fitting:  # noqa: ANN401
        """As the local engine would begin it."""
        previous = None if self.previous is None else TrainedModel.load(self.previous)
        plan = TrainingPlan.load(self.plan) if isinstance(self.plan, Path) else self.plan
        return Fitting(plan, self.preset, previous, self.seed, **how)

    def in_folders(self, scratch: Path) -> "Training":
        """The same for other processes; a plan that is here is written to `scratch`, a folder."""
        if isinstance(self.plan, Path):
            return self
        self.plan.save(scratch / _PLAN)
        return replace(self, plan=scratch / _PLAN)

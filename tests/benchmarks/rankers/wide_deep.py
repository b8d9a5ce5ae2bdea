"""Ours: a preset, trained as the training stage does it."""

from dataclasses import dataclass
from typing import ClassVar, Self

from tests.benchmarks.rankers.problem import Problem
from tests.benchmarks.rankers.run import Run, Stopwatch, both_parts
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import Preset


@dataclass(frozen=True, slots=True)
class WideAndDeep:
    """`preset` may be another than the problem's; then it reads its own features.

    Without `refit`, the holdout is answered before the catch-up on the validation ratings.
    """

    seeded: ClassVar[bool] = True
    problem: Problem
    preset: Preset
    plan: TrainingData
    refit: bool

    @classmethod
    def of(cls, problem: Problem, preset: Preset, *, refit: bool) -> Self:
        if (preset.features, preset.sampling) == (problem.preset.features, problem.preset.sampling):
            return cls(problem, preset, problem.plan, refit)
        interactions, tables, split = problem.interactions, problem.tables, problem.split
        plan = TrainingData.from_parts(
            cold_parts(interactions, tables, split, preset.features, preset.sampling)
        )
        return cls(problem, preset, plan, refit)

    def train(self, seed: int) -> Run:
        watch = Stopwatch()
        with watch:
            fitting = TrainingRun(self.plan, self.preset, None, seed)
            for _ in fitting.epochs():
                pass
        final = fitting.trained_model() if self.refit else fitting.selected_model
        scorers = (
            model_scorer(model, self.problem.interactions, self.problem.tables)
            for model in (fitting.selected_model, final)
        )
        note = f"best epoch {fitting.best_epoch}"
        return Run(*both_parts(self.problem, *scorers), watch.seconds, note, refitted=self.refit)

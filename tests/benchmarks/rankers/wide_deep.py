"""Ours: a preset, trained as the training stage does it."""

from dataclasses import dataclass
from typing import ClassVar, Self

from tests.benchmarks.rankers.problem import Problem
from tests.benchmarks.rankers.run import Run, Stopwatch, both_parts
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.training_set import TrainingSet
from widedeep.model.fitting import Fitting
from widedeep.model.presets import Preset
from widedeep.model.start import Start


@dataclass(frozen=True, slots=True)
class WideAndDeep:
    """`preset` may be another than the problem's; then it reads its own features."""

    seeded: ClassVar[bool] = True
    problem: Problem
    preset: Preset
    rows: TrainingSet

    @classmethod
    def of(cls, problem: Problem, preset: Preset) -> Self:
        ours = (problem.preset.features, problem.preset.staleness)
        if (preset.features, preset.staleness) == ours:
            return cls(problem, preset, problem.training_set)
        log, catalogue, split = problem.log, problem.catalogue, problem.split
        rows = TrainingSet.build(log, catalogue, split, preset.features, preset.staleness)
        return cls(problem, preset, rows)

    def train(self, seed: int) -> Run:
        watch = Stopwatch()
        with watch:
            fitting = Fitting.begin(self.rows, self.preset, Start("cold"), seed)
            for _ in fitting.epochs():
                pass
            model = fitting.finish(self.problem.split)
        score = model_scorer(model, self.problem.log, self.problem.catalogue)
        note = f"best epoch {fitting.summary()['best_epoch']}"
        return Run(*both_parts(self.problem, score, score), watch.seconds, note)

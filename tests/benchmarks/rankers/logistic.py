"""Logistic regression (scikit-learn) on one-hot and crosses: what the wide part fires."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from tests.benchmarks.rankers.problem import Lesson, Problem
from tests.benchmarks.rankers.run import Run, Stopwatch, both_parts
from widedeep import metrics
from widedeep.features.encoded import EncodedRows
from widedeep.features.transform import Transform

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""C, the inverse of the L2 penalty; the one with the least mean validation loss is taken."""
MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Logistic:
    """Without `refit_lesson`, the model that validation chose answers the holdout too."""

    seeded: ClassVar[bool] = False
    problem: Problem
    refit_lesson: Lesson | None

    @classmethod
    def of(cls, problem: Problem, *, refit: bool) -> Self:
        return cls(problem, problem.refit_lesson() if refit else None)

    def train(self, _: int) -> Run:
        rows, watch = self.problem.training_set, Stopwatch()
        with watch:
            strength, model = self._choose()
        chosen = final = self._scorer(model, rows.transform)
        if self.refit_lesson:
            lesson = self.refit_lesson
            transform = Transform.fit(rows.transform.spec, lesson.prior, lesson.parts[0])
            fired = _matrix(lesson.encode(transform), transform)
            with watch:
                model = _fit(strength, fired, lesson)
            final = self._scorer(model, transform)
        parts = both_parts(self.problem, chosen, final)
        refitted = self.refit_lesson is not None
        return Run(*parts, watch.seconds, f"C {strength}", refitted)

    def _choose(self) -> tuple[float, LogisticRegression]:
        rows = self.problem.training_set
        fired = _matrix(rows.training.rows, rows.transform)
        models = {strength: _fit(strength, fired, rows.training) for strength in STRENGTHS}
        best = min(STRENGTHS, key=lambda strength: self._loss(models[strength]))
        return best, models[best]

    def _loss(self, model: LogisticRegression) -> float:
        rows = self.problem.training_set
        return float(
            np.mean(
                [
                    metrics.log_loss(held.label, _positive(model, held.rows, rows.transform))
                    for held in rows.validation.values()
                ]
            )
        )

    def _scorer(self, model: LogisticRegression, transform: Transform):
        def score(asked):
            rows = self.problem.describe(asked, transform.prior)
            return _positive(model, transform.encode(rows), transform)

        return score


def _matrix(rows: EncodedRows, transform: Transform) -> csr_array:
    """One row a row, a 1 in each fired column."""
    ones = np.ones(len(rows.wide.values))
    shape = (len(rows), transform.wide_size)
    return csr_array((ones, rows.wide.values, rows.wide.offsets), shape=shape)


def _fit(strength, fired, lesson) -> LogisticRegression:
    model = LogisticRegression(C=strength, max_iter=MOST_STEPS)
    return model.fit(fired, lesson.label, sample_weight=lesson.weight)


def _positive(model: LogisticRegression, rows: EncodedRows, transform: Transform):
    return model.predict_proba(_matrix(rows, transform))[:, 1]

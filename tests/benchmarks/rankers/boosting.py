"""LightGBM on the numbers that the default preset reads, and the item's grade and genres."""

from dataclasses import dataclass
from typing import ClassVar, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.rankers.problem import GENRES, GRADE, Lesson, Problem
from tests.benchmarks.rankers.run import Run, Stopwatch, both_parts
from widedeep.features.raw_features import RawFeatures
from widedeep.features.training_data import PROTOCOLS
from widedeep.features.vocabulary import Vocabulary

PATIENCE = 100
MOST_ROUNDS = 3000
# Chosen once by the mean validation loss of both protocols on the reference split, seed 0 (the sd
# over three seeds of the chosen one is .0001).
# | leaves, rows a leaf, share of features, L2 | rounds | loss |
# |  31, 100, .5,  10 | 323 | .52595 |      |  7, 200, .3,  10 (rate .05) | 468 | .52708 |
# |  15, 200, .5,  10 | 570 | .52622 |      | 31, 400, .3,  30            | 415 | .52581 |
# |  63, 200, .5,  30 | 285 | .52565 | <-   | 63, 400, .3,  30            | 303 | .52612 |
# |  15, 400, .3,  30 | 494 | .52604 |      | 127, 400, .3, 100           | 328 | .52645 |
SETTINGS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.03,
    "num_leaves": 63,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 30.0,
    "num_threads": 2,
    "force_col_wise": True,
    "deterministic": True,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Raw columns → one float32 matrix: numbers as they are, NaN where missing; no ids.

    `attributes` has, by item table row, the code of the grade and 0 or 1 of each genre.
    """

    numbers: tuple[str, ...]
    attributes: NDArray[np.float32]

    @classmethod
    def of(cls, problem: Problem) -> Self:
        tables = problem.tables.items
        grades, genres = tables.categories[GRADE], tables.bags[GENRES]
        vocabulary = Vocabulary.fit(genres.values, 1)
        many_hot = np.zeros((len(genres), len(vocabulary) - 1), np.float32)
        many_hot[genres.row_numbers(), vocabulary.encode(genres.values) - 1] = 1
        codes = Vocabulary.fit(grades, 1).encode(grades).astype(np.float32)
        names = tuple(number.name for number in problem.preset.features.numbers)
        return cls(names, np.column_stack([codes, many_hot]))

    def matrix(self, rows: RawFeatures) -> NDArray[np.float32]:
        numbers = [rows.number(name).astype(np.float32) for name in self.numbers]
        return np.column_stack([*numbers, self.attributes[rows.item_rows]])

    def dataset(self, lesson: Lesson, reference=None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            np.concatenate([self.matrix(part) for part in lesson.parts]),
            lesson.label,
            reference=reference,
            weight=lesson.weight,
            categorical_feature=[len(self.numbers)],
            free_raw_data=False,
        )


@dataclass(frozen=True, slots=True)
class Boosting:
    """Without `refit_on`, the model that validation chose answers the holdout too."""

    seeded: ClassVar[bool] = True
    problem: Problem
    columns: Columns
    lesson: Lesson
    data: tuple[lightgbm.Dataset, lightgbm.Dataset]
    refit_lesson: Lesson | None

    @classmethod
    def of(cls, problem: Problem, *, refit: bool) -> Self:
        columns, lesson = Columns.of(problem), problem.lesson()
        training = columns.dataset(lesson)
        data = training, columns.dataset(_validation(problem, lesson.prior), training)
        return cls(problem, columns, lesson, data, problem.refit_lesson() if refit else None)

    def train(self, seed: int) -> Run:
        settings = SETTINGS | {"seed": seed}
        watch = Stopwatch()
        with watch:
            chosen = _choose(settings, *self.data)
        final, lesson = chosen, self.lesson
        if self.refit_lesson:
            lesson = self.refit_lesson
            data = self.columns.dataset(lesson)
            with watch:
                final = lightgbm.train(settings, data, chosen.best_iteration)
        parts = both_parts(
            self.problem, self._scorer(chosen, self.lesson.prior), self._scorer(final, lesson.prior)
        )
        note = f"{chosen.best_iteration} rounds"
        return Run(*parts, watch.seconds, note, refitted=self.refit_lesson is not None)

    def _scorer(self, booster: lightgbm.Booster, prior: float):
        def score(asked):
            rows = self.problem.describe(asked, prior)
            return booster.predict(self.columns.matrix(rows))

        return score


def _choose(settings, training, validation) -> lightgbm.Booster:
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    return lightgbm.train(settings, training, MOST_ROUNDS, [validation], callbacks=[stop])


def _validation(problem: Problem, prior: float) -> Lesson:
    """Both protocols' rows together: their mean loss is the mean of the two protocols' losses."""
    asked = problem.questions(problem.validation)
    parts = tuple(problem.describe(asked[name], prior) for name in PROTOCOLS)
    held = problem.training_set.validation
    label = np.concatenate([held[name].label for name in PROTOCOLS])
    return Lesson(prior, parts, label, np.ones(len(label), np.float32))

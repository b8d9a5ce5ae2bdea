"""Rankers without training: a constant, and the user's and the item's means."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tests.benchmarks.rankers.problem import Problem
from tests.benchmarks.rankers.run import Run, both_parts
from widedeep.evaluation.scoring import baseline_scorer


@dataclass(frozen=True, slots=True)
class Constant:
    """The share of positive labels in training, for every row."""

    seeded: ClassVar[bool] = False
    problem: Problem

    def train(self, _: int) -> Run:
        prior = self.problem.training_set.transform.prior

        def score(asked):
            return np.full(len(asked), prior)

        return Run(*both_parts(self.problem, score, score), seconds=0.0)


@dataclass(frozen=True, slots=True)
class UserItemMean:
    """The baseline of the gate, see `scoring.baseline_scorer`."""

    seeded: ClassVar[bool] = False
    problem: Problem

    def train(self, _: int) -> Run:
        transform = self.problem.training_set.transform
        score = baseline_scorer(transform, self.problem.interactions, self.problem.tables)
        return Run(*both_parts(self.problem, score, score), seconds=0.0)

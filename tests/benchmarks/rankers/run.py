"""What one training of a ranker leaves behind."""

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, Self

from tests.benchmarks.rankers.problem import Problem
from widedeep.evaluation.scoring import Predictions


@dataclass(frozen=True, slots=True)
class Run:
    """Predictions of the validation rows (never refitted) and of the holdout's.

    `seconds` are those of learning: choosing by validation and refitting, without the features.
    `note` tells what validation chose; `refitted`: on training + validation before the holdout.
    """

    validation: Predictions
    holdout: Predictions
    seconds: float
    note: str = ""
    refitted: bool = False


class Ranker(Protocol):
    """Made once a split, which does what all seeds share."""

    seeded: bool
    """Whether two seeds give two models; else one training is enough."""

    def train(self, seed: int) -> Run:
        """Learn and answer."""


class Stopwatch:
    """Seconds inside its `with` blocks, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._started


def both_parts(problem: Problem, chosen, final) -> tuple[Predictions, Predictions]:
    """Validation by the scorer that was chosen on it, the holdout by the final one."""
    return problem.ask(chosen, problem.validation), problem.ask(final, problem.split)

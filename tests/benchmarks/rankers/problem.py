"""One split as every ranker meets it: the same rows to learn from, the same questions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.data.split import Split
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.scoring import Predictions
from widedeep.features.attributes import FeatureTables
from widedeep.features.encoded import EncodedRows
from widedeep.features.history import Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.features.training_data import (
    TrainingData,
    TrainingPart,
    cold_parts,
    example_queries,
    queries_by_protocol,
)
from widedeep.features.transform import Transform
from widedeep.model.presets import Preset

GRADE, GENRES = "grade", "genres"
"""What the item table calls them."""

Floats = NDArray[np.float64]
Answers = Mapping[str, Floats]
"""P(positive) of each question, by protocol."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to learn from: `parts` are the fresh rows and each stale copy of them.

    `label` (bool) and `weight` (float32) run over all parts; `prior` is the share of positive
    labels, by which the history was described.
    """

    prior: float
    parts: tuple[RawFeatures, ...]
    label: NDArray[np.bool_]
    weight: NDArray[np.float32]

    def encode(self, transform: Transform) -> EncodedRows:
        """All parts as the Wide & Deep model reads them."""
        return EncodedRows.concatenate([transform.encode(part) for part in self.parts])


@dataclass(frozen=True, slots=True)
class Problem:
    """The ratings known at the split's end, and the training plan of the default preset."""

    interactions: Interactions
    tables: FeatureTables
    split: Split
    preset: Preset
    plan: TrainingData

    @classmethod
    def of(cls, ratings: IngestedData, split: Split, preset: Preset):
        """Load what is known at the end of `split`, and describe and encode it."""
        interactions = ratings.interactions(split.as_of)
        tables = FeatureTables.from_side_tables(ratings.side_tables())
        plan = TrainingData.from_parts(
            cold_parts(interactions, tables, split, preset.features, preset.sampling)
        )
        return cls(interactions, tables, split, preset, plan)

    @property
    def training_set(self) -> TrainingPart:
        """What validation chooses from."""
        return self.plan.initial

    @property
    def validation(self) -> Split:
        """The split whose holdout is this one's validation part."""
        return Split(0, self.split.validation_from, self.split.holdout_from)

    def lesson(self) -> Lesson:
        """The very rows of the training set, before any encoding (and checked to be those)."""
        lesson = self._lesson(self.split.validation_from)
        ours, theirs = lesson.encode(self.training_set.transform), self.training_set.training
        same = (
            np.array_equal(ours.numbers.quantile, theirs.rows.numbers.quantile)
            and np.array_equal(lesson.label, theirs.label)
            and np.array_equal(lesson.weight, theirs.weight)
        )
        if not same:
            raise AssertionError("the rankers' training rows differ from the features stage's")
        return lesson

    def refit_lesson(self) -> Lesson:
        """The rows of training and validation, by the same recipe."""
        return self._lesson(self.split.holdout_from)

    def describe(self, asked: Queries, prior: float) -> RawFeatures:
        """Point-in-time features of the default preset."""
        history = self.preset.features.history
        return RawFeatures.compute(self.interactions, asked, self.tables, history, prior)

    def questions(self, part: Split) -> dict[str, Queries]:
        """The rows of the part's holdout, by protocol."""
        rows = part.holdout(self.interactions.time)
        return queries_by_protocol(self.interactions, rows, part.holdout_from)

    def ask(self, scorer: Callable[[Queries], Floats], part: Split) -> Predictions:
        """Both protocols' answers of a ranker that scores on demand."""
        asked = self.questions(part)
        return self.answered({name: scorer(rows) for name, rows in asked.items()}, part)

    def answered(self, answers: Answers, part: Split) -> Predictions:
        """The part's rows and labels with the answers to its `questions`."""
        rows = part.holdout(self.interactions.time)
        interactions = self.interactions
        label = self._positive()[rows]
        return Predictions(
            interactions.user[rows],
            interactions.item[rows],
            interactions.time[rows],
            label,
            **answers,
        )

    def _positive(self) -> NDArray[np.bool_]:
        return self.interactions.label

    def _lesson(self, until: int) -> Lesson:
        rows, sampling = self.interactions.time < until, self.preset.sampling
        label = self._positive()[rows]
        prior = float(label.mean())
        fresh = example_queries(self.interactions, rows)
        asked = [fresh, *sampling.staleness.stale_copies(fresh, sampling.generator())]
        return Lesson(
            prior,
            tuple(self.describe(part, prior) for part in asked),
            np.tile(label, len(asked)),
            sampling.staleness.weights(len(fresh)),
        )

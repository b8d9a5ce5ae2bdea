"""Which training rows a model learns from, where it is not to learn from all."""

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog, first_times
from widedeep.data.split import Split
from widedeep.features.training_set import TrainingSet


class Rows(StrEnum):
    """The values stand in keys and in what people are shown."""

    ALL = "all"
    NEW_USERS = "of users who had no earlier rating"


def of_new_users(log: RatingLog) -> NDArray[np.bool_]:
    """Which ratings are their user's first (or of that same instant), shape (n,)."""
    found: NDArray[np.bool_] = first_times(log.user, log.time) == log.time
    return found


def keep(training_set: TrainingSet, rows: Rows, log: RatingLog, split: Split) -> TrainingSet:
    """The training set with `rows` of its training part alone; everything else stays as it is.

    The transform still knows all, and the stale copies of the kept rows stay, too.
    """
    if rows is Rows.ALL:
        return training_set
    kept = of_new_users(log)[split.training(log.time)]
    copies = len(training_set.training) // len(kept)
    places = np.flatnonzero(np.tile(kept, copies))
    return replace(training_set, training=training_set.training.take(places))

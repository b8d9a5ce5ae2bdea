"""Where memorisation should pay: parts of the holdout by what was known of user and film."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.evaluation.ablation import memory_crosses
from widedeep.evaluation.planted_pairs import Pairs, applies
from widedeep.evaluation.scoring import slices
from widedeep.features.catalogue import Catalogue
from widedeep.features.raw_columns import RawColumns
from widedeep.features.training_set import FROZEN, STREAMING, queries
from widedeep.features.transform import Transform

NEW = "new users"
RETURNING = "returning users"
REMEMBERED = "remembered pairs"
PLANTED = "planted exceptions"

Bools = NDArray[np.bool_]
Masks = Mapping[str, Bools]
"""Rows of the holdout by protocol, shape (n,) each."""


def slice_holdout(
    log: RatingLog, catalogue: Catalogue, split: Split, transform: Transform, planted: Pairs
) -> dict[str, Masks]:
    """Mark the rows of each slice, under both protocols.

    New and returning users are the same rows in both: whether the user has an earlier rating.
    Remembered pairs are rows where a film in the user's liked history makes a kept cross with the
    candidate; planted exceptions (if there are any) rows where the user liked the first film of a
    planted pair and the candidate is the second. Both by what that protocol knows.
    """
    users = slices(log, split)
    found: dict[str, Masks] = {
        NEW: dict.fromkeys((STREAMING, FROZEN), users["new_user"]),
        RETURNING: dict.fromkeys((STREAMING, FROZEN), users["returning_user"]),
    }
    held = split.holdout(log.time)
    asked = {STREAMING: queries(log, held), FROZEN: queries(log, held, split.holdout_from)}
    history, prior = transform.spec.history, transform.prior
    found[REMEMBERED] = {
        name: remembered(transform, RawColumns.describe(log, rows, catalogue, history, prior))
        for name, rows in asked.items()
    }
    if planted:
        found[PLANTED] = {name: applies(planted, log, rows) for name, rows in asked.items()}
    return found


def remembered(transform: Transform, rows: RawColumns) -> Bools:
    """Rows that fire at least one cross of a liked film with the candidate, shape (n,)."""
    wide = transform.encode(rows).wide
    fired = np.zeros(len(rows), bool)
    for cross in memory_crosses(transform.spec):
        first = transform.wide_offsets[cross.name]
        size = len(transform.crosses[transform.spec.crosses.index(cross)])
        inside = (wide.values >= first) & (wide.values < first + size)
        fired[wide.row_numbers()[inside]] = True
    return fired

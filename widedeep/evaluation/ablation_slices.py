"""Where memorisation should pay: parts of the holdout by what was known of user and film."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.evaluation.planted_pairs import Pairs, applies
from widedeep.evaluation.scoring import slices
from widedeep.features.catalogue import Catalogue
from widedeep.features.raw_columns import RawColumns
from widedeep.features.training_set import PROTOCOLS, queries_by_protocol
from widedeep.features.transform import Transform
from widedeep.features.wide_block import wide_blocks

NEW = "new users"
RETURNING = "returning users"
REMEMBERED = "remembered pairs"
PLANTED = "planted exceptions"

_MEMORY = {"liked", "movie"}

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
        NEW: dict.fromkeys(PROTOCOLS, users["new_user"]),
        RETURNING: dict.fromkeys(PROTOCOLS, users["returning_user"]),
    }
    held = split.holdout(log.time)
    asked = queries_by_protocol(log, held, split.holdout_from)
    found[REMEMBERED] = {
        name: remembered(transform, transform.describe(log, rows, catalogue))
        for name, rows in asked.items()
    }
    if planted:
        found[PLANTED] = {name: applies(planted, log, rows) for name, rows in asked.items()}
    return found


def remembered(transform: Transform, rows: RawColumns) -> Bools:
    """Rows that fire at least one cross of a liked film with the candidate, shape (n,)."""
    wide = transform.fired(rows)
    fired = np.zeros(len(rows), bool)
    for block in wide_blocks(transform):
        if set(block.features) != _MEMORY:
            continue
        inside = (wide.values >= block.ids.start) & (wide.values < block.ids.stop)
        fired[wide.row_numbers()[inside]] = True
    return fired

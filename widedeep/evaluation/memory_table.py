"""The wide part's weights with the evidence behind them, and what changed since another model."""

from enum import StrEnum

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.evaluation.names import Names
from widedeep.evaluation.wording import Wording
from widedeep.features.evidence import Evidence, share
from widedeep.features.wide_block import Ids, wide_blocks
from widedeep.features.wide_translation import ABSENT, translate
from widedeep.model.trained_model import TrainedModel

COLUMNS = pa.schema(
    {
        "block": pa.string(),
        "korean": pa.string(),
        "english": pa.string(),
        "weight": pa.float64(),
        "sign": pa.int8(),
        "support": pa.int64(),
        "positive_rate": pa.float64(),
        "lift": pa.float64(),
        "before": pa.float64(),
        "change": pa.string(),
    }
)
"""Every wide feature that has a weight other than 0, or had one in the previous model; the heaviest
first, forgotten ones last.

`support` counts the training rows that fire it and `positive_rate` is the share of positives among
them (null for none). `lift` is that rate over the rate of the rows that could have fired it: for a
cross, those that fire its last part if the wide part reads that raw (for liked x movie: all rows
of the movie), and for anything else all rows. `before` is the previous model's weight, 0 where it
had none, and `change` (see `Change`) follows from the two; both are null without a previous model.
"""


class Change(StrEnum):
    """What became of a weight since the previous model."""

    LEARNED = "learned"
    FORGOTTEN = "forgotten"
    FLIPPED = "flipped"
    KEPT = "kept"


def memory_table(
    model: TrainedModel, names: Names, previous: TrainedModel | None = None
) -> pd.DataFrame:
    """All that `COLUMNS` says; features of the two models are the same by their tokens."""
    now = model.wide_weights.astype(np.float64)
    if previous is None:
        found = _features(model, names, np.flatnonzero(now)).assign(before=np.nan, change=None)
    else:
        before, gone = _before(model, previous)
        ids = np.flatnonzero((now != 0) | (before != 0))
        held = _features(model, names, ids).assign(before=before[ids])
        found = pd.concat([held, _gone(previous, names, gone)], ignore_index=True)
        found["change"] = _changes(found["before"].to_numpy(), found["weight"].to_numpy())
    found["sign"] = np.sign(found["weight"]).astype(np.int8)
    order = np.lexsort((-found["before"].abs(), -found["weight"].abs()))
    return found.iloc[order].reset_index(drop=True)[list(COLUMNS.names)]


def _features(model: TrainedModel, names: Names, ids: Ids) -> pd.DataFrame:
    evidence = model.evidence
    rate = evidence.positive_rate
    return _worded(model, names, ids).assign(
        weight=model.wide_weights[ids].astype(np.float64),
        support=evidence.support[ids],
        positive_rate=rate[ids],
        lift=share(rate, _rate_of_possible(model, evidence))[ids],
    )


def _gone(previous: TrainedModel, names: Names, ids: Ids) -> pd.DataFrame:
    """Features of the previous model that this one does not have at all."""
    nothing = {"weight": 0.0, "support": 0, "positive_rate": np.nan, "lift": np.nan}
    return _worded(previous, names, ids).assign(**nothing, before=previous.wide_weights[ids])


def _worded(model: TrainedModel, names: Names, ids: Ids) -> pd.DataFrame:
    told = Wording(model.transform, names).describe(ids)
    rows = [(one.block, one.korean, one.english) for one in told]
    return pd.DataFrame(rows, columns=["block", "korean", "english"], dtype=object)


def _rate_of_possible(model: TrainedModel, evidence: Evidence) -> NDArray[np.float64]:
    """For each wide id, the positive rate of the rows that could have fired it; (wide_size,)."""
    rate = evidence.positive_rate
    possible = np.full(len(rate), evidence.overall_rate)
    blocks = wide_blocks(model.transform)
    raw = {block.name: block for block in blocks if len(block.features) == 1}
    for block in blocks:
        last = block.features[-1]
        if len(block.features) > 1 and last in raw:
            possible[block.ids] = rate[raw[last].ids][block.parts[-1]]
    return possible


def _before(model: TrainedModel, previous: TrainedModel) -> tuple[NDArray[np.float64], Ids]:
    """The previous weight of each wide id, and those previous ids with a weight that are gone."""
    held = np.flatnonzero(previous.wide_weights)
    place = translate(previous.transform, model.transform)[held]
    still = place != ABSENT
    before = np.zeros(model.transform.wide_size)
    before[place[still]] = previous.wide_weights[held[still]]
    return before, held[~still]


def _changes(before: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.object_]:
    conditions = [before == 0, now == 0, np.sign(before) != np.sign(now)]
    named = [Change.LEARNED.value, Change.FORGOTTEN.value, Change.FLIPPED.value]
    return np.select(conditions, named, Change.KEPT.value).astype(object)

"""A model's memory: what its wide part holds, how much of it, and what changed.

The wide part's weights with the evidence behind them, and what changed since another model.

The memorisation report as Markdown, for people.

How sparse L1 keeps the wide part, as a curve over L1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.evaluation.naming import DisplayNames, FeatureNaming
from widedeep.evaluation.report import markdown_table
from widedeep.features.encoded import FeatureSupport, safe_ratio
from widedeep.features.wide_ids import ABSENT, Ids, match_wide_ids, wide_blocks
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
cross, those that fire its last part if the wide part reads that raw (for liked x item: all rows
of the item), and for anything else all rows. `before` is the previous model's weight, 0 where it
had none, and `change` (see `MemoryChange`) follows from the two; both are null without a previous model.
"""


class MemoryChange(StrEnum):
    """What became of a weight since the previous model."""

    LEARNED = "learned"
    FORGOTTEN = "forgotten"
    FLIPPED = "flipped"
    KEPT = "kept"


def memory_table(
    model: TrainedModel, names: DisplayNames, previous: TrainedModel | None = None
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


def _features(model: TrainedModel, names: DisplayNames, ids: Ids) -> pd.DataFrame:
    evidence = model.evidence
    rate = evidence.positive_rate
    return _worded(model, names, ids).assign(
        weight=model.wide_weights[ids].astype(np.float64),
        support=evidence.support[ids],
        positive_rate=rate[ids],
        lift=safe_ratio(rate, _rate_of_possible(model, evidence))[ids],
    )


def _gone(previous: TrainedModel, names: DisplayNames, ids: Ids) -> pd.DataFrame:
    """Features of the previous model that this one does not have at all."""
    nothing = {"weight": 0.0, "support": 0, "positive_rate": np.nan, "lift": np.nan}
    return _worded(previous, names, ids).assign(**nothing, before=previous.wide_weights[ids])


def _worded(model: TrainedModel, names: DisplayNames, ids: Ids) -> pd.DataFrame:
    told = FeatureNaming(model.transform, names).describe(ids)
    rows = [(one.block, one.korean, one.english) for one in told]
    return pd.DataFrame(rows, columns=["block", "korean", "english"], dtype=object)


def _rate_of_possible(model: TrainedModel, evidence: FeatureSupport) -> NDArray[np.float64]:
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
    place = match_wide_ids(previous.transform, model.transform)[held]
    still = place != ABSENT
    before = np.zeros(model.transform.wide_size)
    before[place[still]] = previous.wide_weights[held[still]]
    return before, held[~still]


def _changes(before: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.object_]:
    conditions = [before == 0, now == 0, np.sign(before) != np.sign(now)]
    named = [MemoryChange.LEARNED.value, MemoryChange.FORGOTTEN.value, MemoryChange.FLIPPED.value]
    return np.select(conditions, named, MemoryChange.KEPT.value).astype(object)


def memorisation_report(
    features: pd.DataFrame, blocks: pd.DataFrame, sparsity: pd.DataFrame, top: int
) -> str:
    """Totals, the strongest memories up and down, what changed, and the curve over L1.

    The frames are those of `Memorisation`; `top` is the length of each list.
    """
    sections = [
        f"# What the wide part remembers\n\n{_totals(blocks)}",
        *(_memories(features, block, top) for block in blocks["block"][blocks["memory"]]),
        _memorisation_report_changes(features, top),
        _sparsity(sparsity),
    ]
    return "\n\n".join(sections) + "\n"


def _totals(blocks: pd.DataFrame) -> str:
    shown = {
        "block": blocks["block"],
        "keys": blocks["keys"].map("{:,}".format),
        "with a weight": blocks["nonzero"].map("{:,}".format),
        "sum of abs(weight)": blocks["weight"].map("{:.3f}".format),
    }
    counts = f"{blocks['nonzero'].sum():,} of {blocks['keys'].sum():,} wide features have a weight."
    return (
        f"{counts} Below, `support` counts the training rows that fire one; `lift` is their "
        "positive rate over that of all rows of the candidate (of all rows, where the wide part "
        f"does not read the candidate alone).\n\n{_table(shown, 1)}"
    )


def _memories(features: pd.DataFrame, block: str, top: int) -> str:
    held = features[(features["block"] == block) & (features["weight"] != 0)]
    up = held[held["weight"] > 0].head(top)
    down = held[held["weight"] < 0].head(top)
    return f"## Strongest of {block}\n\n### Up\n\n{_evidence(up)}\n\n### Down\n\n{_evidence(down)}"


def _evidence(features: pd.DataFrame) -> str:
    shown = {
        "Korean": features["korean"],
        "English": features["english"],
        "weight": features["weight"].map(_signed),
        "support": features["support"].map("{:,}".format),
        "positive rate": features["positive_rate"].map(_decimals),
        "lift": features["lift"].map(_decimals),
    }
    return _table(shown, 2)


def _memorisation_report_changes(features: pd.DataFrame, top: int) -> str:
    heading = "## Since the previous model\n\n"
    if features["change"].isna().any():
        return heading + "There is no previous model."
    moved = features.assign(by=(features["weight"] - features["before"]).abs())
    moved = moved.sort_values("by", ascending=False, kind="stable")
    parts = {change: moved[moved["change"] == change] for change in MemoryChange}
    counts = ", ".join(f"{len(part):,} {change}" for change, part in parts.items())
    lists = [
        f"### {change.capitalize()}\n\n{_before_and_after(part.head(top))}"
        for change, part in parts.items()
        if change is not MemoryChange.KEPT
    ]
    return heading + "\n\n".join([f"{counts}.", *lists])


def _before_and_after(features: pd.DataFrame) -> str:
    shown = {
        "Korean": features["korean"],
        "English": features["english"],
        "before": features["before"].map(_signed),
        "now": features["weight"].map(_signed),
    }
    return _table(shown, 2)


def _sparsity(sparsity: pd.DataFrame) -> str:
    present = sparsity["present"].map({True: " (the present one)", False: ""})
    shown = {
        "L1": sparsity["l1"].map("{:g}".format) + present,
        "with a weight": sparsity["nonzero"].map("{:,}".format),
    }
    return (
        "## What another L1 would keep\n\n"
        "Weights with abs(z) above it in this model's state; a model trained with it would have "
        f"another state.\n\n{_table(shown, 1)}"
    )


def _table(columns: Mapping[str, pd.Series], words: int) -> str:
    """A Markdown table of named columns; the first `words` of them are text."""
    rows = [*zip(*columns.values(), strict=True)]
    return markdown_table([*columns], rows, words).rstrip("\n") if rows else "None."


def _signed(value: float) -> str:
    return f"{value:+.4f}" if value else "0"


def _decimals(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


MULTIPLES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Of the present L1, or of 1 where there is none."""


def sparsity_curve(model: TrainedModel, l1: NDArray[np.float64] | None = None) -> pd.DataFrame:
    """Count, for each value of L1, the weights whose |z| exceeds it.

    FTRL's weight is 0 where |z| does not exceed L1, so this is what another L1 would keep of this
    very state (z, n). It is not what a model trained with that L1 would have: a penalty changes the
    gradients to come, and so z itself.

    Args:
        model: Trained with FTRL on its wide part.
        l1: Values to try, (n,); by default `MULTIPLES` of the present one. It is always among them.

    Returns:
        Columns `l1` (float64, ascending), `nonzero` (int64 count of weights) and `present` (bool,
        whether it is the model's own L1).
    """
    present = model.training.ftrl.l1
    tried = np.array(MULTIPLES) * (present or 1.0) if l1 is None else l1
    values = np.unique(np.append(tried, present))
    sizes = np.sort(np.abs(model.state["wide/z"].cpu().numpy().ravel()))
    # Compared as FTRL compares them, float32 against L1 rounded to float32.
    kept = len(sizes) - np.searchsorted(sizes, values.astype(sizes.dtype), side="right")
    return pd.DataFrame({"l1": values, "nonzero": kept, "present": values == present})


TABLE = "memorisation.parquet"
REPORT = "memorisation.md"


@dataclass(frozen=True, slots=True)
class Memorisation:
    """What stands in the report.

    Attributes:
        features: A row a wide feature, see `memory_table.COLUMNS`.
        blocks: A row a block of the wide part: `block`, `memory` (bool, whether it pairs what a
            user met before with a candidate), `keys` (wide ids), `nonzero` (those with a weight)
            and `weight` (their sum of |w|).
        sparsity: See `sparsity_curve`.
    """

    features: pd.DataFrame
    blocks: pd.DataFrame
    sparsity: pd.DataFrame

    @classmethod
    def of(
        cls, model: TrainedModel, names: DisplayNames, previous: TrainedModel | None = None
    ) -> Self:
        """Read a model's wide part, and compare it with that of `previous`."""
        return cls(
            memory_table(model, names, previous), _memorisation_totals(model), sparsity_curve(model)
        )

    def changes(self) -> dict[str, int] | None:
        """How many features were learned, forgotten …; None without a previous model."""
        if self.features["change"].isna().any():
            return None
        found = self.features["change"].value_counts()
        return {change.value: int(found.get(change.value, 0)) for change in MemoryChange}

    def summary(self) -> dict[str, Any]:
        """Totals, changes and curve as JSON values; some hundred bytes."""
        return {
            "blocks": self.blocks.to_dict("records"),
            "changes": self.changes(),
            "sparsity": self.sparsity.to_dict("records"),
        }

    def save(self, folder: Path) -> None:
        """Write `TABLE` (as `COLUMNS`) and `REPORT` (UTF-8) into `folder`."""
        table = pa.Table.from_pandas(self.features, COLUMNS, preserve_index=False)
        pq.write_table(table, folder / TABLE)
        (folder / REPORT).write_text(self.as_markdown(), encoding="utf-8")

    def as_markdown(self, top: int = 10) -> str:
        """A short report for people, with at most `top` features in each list."""
        return memorisation_report(self.features, self.blocks, self.sparsity, top)


def _memorisation_totals(model: TrainedModel) -> pd.DataFrame:
    weight = np.abs(model.wide_weights.astype(np.float64))
    return pd.DataFrame(
        {
            "block": block.name,
            "memory": block.is_memory(model.transform.spec),
            "keys": len(block),
            "nonzero": int(np.count_nonzero(weight[block.ids])),
            "weight": float(weight[block.ids].sum()),
        }
        for block in wide_blocks(model.transform)
    )

"""A model's memory: what its wide part holds, with which support, and what changed.

`Memorisation.compute` reads a model's wide part in three tables: its features, its blocks, and how
many weights another L1 would keep (`sparsity_curve`). `save` writes the features as Parquet and all
three as a report in Markdown.
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

from widedeep.evaluation import MEMORISATION_REPORT, MEMORISATION_TABLE
from widedeep.evaluation.naming import DisplayNames, FeatureNaming
from widedeep.evaluation.report import markdown_table
from widedeep.features import match_wide_ids, wide_blocks
from widedeep.features.encoded import safe_ratio
from widedeep.features.wide_ids import ABSENT, Ints
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
"""Columns of `Memorisation.features` and of `MEMORISATION_TABLE`.

There is a row for each wide feature that has a weight other than 0, or had one in the previous
model; the heaviest first, forgotten ones last.

`support` counts the training rows that fire it and `positive_rate` is the share of positives among
them (null for none). `lift` is that rate over the rate of the rows that could have fired it: for a
cross, those that fire its last part if the wide part reads that raw (for liked x item: all rows of
the item), and for anything else all rows. `before` is the previous model's weight, 0 where it had
none, and `change` (see `MemoryChange`) follows from the two; both are null without a previous
model.
"""


class MemoryChange(StrEnum):
    """What became of a weight since the previous model."""

    LEARNED = "learned"
    FORGOTTEN = "forgotten"
    FLIPPED = "flipped"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Memorisation:
    """What a model's wide part holds.

    Attributes:
        features: A row for each wide feature, with `COLUMNS`.
        blocks: A row for each block of the wide part: `block`, `memory` (bool, whether it pairs
            what a user met before with a candidate), `keys` (number of wide ids), `nonzero` (number
            of them with a weight) and `weight` (their sum of |w|).
        sparsity: The result of `sparsity_curve`.
        label: When an interaction is positive, as `rate >= 10`.
    """

    features: pd.DataFrame
    blocks: pd.DataFrame
    sparsity: pd.DataFrame
    label: str

    @classmethod
    def compute(
        cls, model: TrainedModel, names: DisplayNames, previous: TrainedModel | None = None
    ) -> Self:
        """Read a model's wide part, and compare it with that of `previous`."""
        features, label = _memory_table(model, names, previous), model.transform.spec.label
        return cls(features, _block_totals(model), sparsity_curve(model), label)

    def changes(self) -> dict[str, int] | None:
        """Return how many features were learned, forgotten, flipped and kept.

        None without a previous model.
        """
        if self.features["change"].isna().any():
            return None
        counts = self.features["change"].value_counts()
        return {change.value: int(counts.get(change.value, 0)) for change in MemoryChange}

    def summary(self) -> dict[str, Any]:
        """Return blocks, changes and curve as JSON values, some hundred bytes."""
        return {
            "blocks": self.blocks.to_dict("records"),
            "changes": self.changes(),
            "sparsity": self.sparsity.to_dict("records"),
        }

    def save(self, folder: Path) -> None:
        """Write the table (with `COLUMNS`) and the report (Markdown, UTF-8) into `folder`."""
        table = pa.Table.from_pandas(self.features, COLUMNS, preserve_index=False)
        pq.write_table(table, folder / MEMORISATION_TABLE)
        (folder / MEMORISATION_REPORT).write_text(self.as_markdown(), encoding="utf-8")

    def as_markdown(self, top: int = 10) -> str:
        """Return the report: block totals, strongest memories, changes, and the curve over L1.

        `top` is the greatest length of each list of features.
        """
        memories = self.blocks["block"][self.blocks["memory"]]
        heading = (
            f"# What the wide part remembers\n\nAn interaction is positive if {self.label}. A "
            f"weight above 0 makes that more probable.\n\n{_totals_section(self.blocks)}"
        )
        sections = [
            heading,
            *(_strongest_section(self.features, block, top) for block in memories),
            _changes_section(self.features, top),
            _sparsity_section(self.sparsity),
        ]
        return "\n\n".join(sections) + "\n"


def _memory_table(
    model: TrainedModel, names: DisplayNames, previous: TrainedModel | None = None
) -> pd.DataFrame:
    """Return the wide features of a model, a row each, with `COLUMNS`.

    Features of the two models are the same by their ids in the data, whatever their wide ids are.
    """
    weight = model.wide_weights.astype(np.float64)
    if previous is None:
        features = _describe_features(model, names, np.flatnonzero(weight))
        features = features.assign(before=np.nan, change=None)
    else:
        before, gone = _previous_weights(model, previous)
        wide_ids = np.flatnonzero((weight != 0) | (before != 0))
        present = _describe_features(model, names, wide_ids).assign(before=before[wide_ids])
        absent = _describe_gone(previous, names, gone)
        features = pd.concat([present, absent], ignore_index=True)
        features["change"] = _classify_changes(
            features["before"].to_numpy(), features["weight"].to_numpy()
        )
    features["sign"] = np.sign(features["weight"]).astype(np.int8)
    order = np.lexsort((-features["before"].abs(), -features["weight"].abs()))
    return features.iloc[order].reset_index(drop=True)[list(COLUMNS.names)]


def _describe_features(model: TrainedModel, names: DisplayNames, wide_ids: Ints) -> pd.DataFrame:
    rate = model.support.positive_rate
    return _feature_texts(model, names, wide_ids).assign(
        weight=model.wide_weights[wide_ids].astype(np.float64),
        support=model.support.counts[wide_ids],
        positive_rate=rate[wide_ids],
        lift=safe_ratio(rate, _reference_rates(model))[wide_ids],
    )


def _describe_gone(previous: TrainedModel, names: DisplayNames, wide_ids: Ints) -> pd.DataFrame:
    """Describe features of the previous model that the present one does not have at all."""
    return _feature_texts(previous, names, wide_ids).assign(
        weight=0.0,
        support=0,
        positive_rate=np.nan,
        lift=np.nan,
        before=previous.wide_weights[wide_ids],
    )


def _feature_texts(model: TrainedModel, names: DisplayNames, wide_ids: Ints) -> pd.DataFrame:
    texts = FeatureNaming(model.transform, names).to_text(wide_ids)
    rows = [(text.block, text.korean, text.english) for text in texts]
    return pd.DataFrame(rows, columns=["block", "korean", "english"], dtype=object)


def _reference_rates(model: TrainedModel) -> NDArray[np.float64]:
    """Return the positive rate of the rows that could have fired each wide id, (wide_size,)."""
    rate = model.support.positive_rate
    reference = np.full(len(rate), model.support.overall_rate)
    blocks = wide_blocks(model.transform)
    raw = {block.name: block for block in blocks if len(block.features) == 1}
    for block in blocks:
        last = block.features[-1]
        if len(block.features) > 1 and last in raw:
            reference[block.wide_ids] = rate[raw[last].wide_ids][block.codes[-1]]
    return reference


def _previous_weights(
    model: TrainedModel, previous: TrainedModel
) -> tuple[NDArray[np.float64], Ints]:
    """Match the previous model's weights to the wide ids of the present one.

    Returns:
        The previous weight of each present wide id, (wide_size,), and the previous wide ids with a
        weight that the present model does not have.
    """
    nonzero = np.flatnonzero(previous.wide_weights)
    matched = match_wide_ids(previous.transform, model.transform)[nonzero]
    exists = matched != ABSENT
    before = np.zeros(model.transform.wide_size)
    before[matched[exists]] = previous.wide_weights[nonzero[exists]]
    return before, nonzero[~exists]


def _classify_changes(before: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.object_]:
    conditions = [before == 0, now == 0, np.sign(before) != np.sign(now)]
    changes = [MemoryChange.LEARNED.value, MemoryChange.FORGOTTEN.value, MemoryChange.FLIPPED.value]
    return np.select(conditions, changes, MemoryChange.KEPT.value).astype(object)


def _block_totals(model: TrainedModel) -> pd.DataFrame:
    weight = np.abs(model.wide_weights.astype(np.float64))
    return pd.DataFrame(
        {
            "block": block.name,
            "memory": block.is_memory(model.transform.spec),
            "keys": len(block),
            "nonzero": int(np.count_nonzero(weight[block.wide_ids])),
            "weight": float(weight[block.wide_ids].sum()),
        }
        for block in wide_blocks(model.transform)
    )


MULTIPLES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Points of the curve, as multiples of the present L1, or of 1 where there is none."""


def sparsity_curve(model: TrainedModel, l1: NDArray[np.float64] | None = None) -> pd.DataFrame:
    """Count, for each value of L1, the weights whose |z| exceeds it.

    FTRL's weight is 0 where |z| does not exceed L1, so this is what another L1 would keep of this
    very state (z, n). It is not what a model trained with that L1 would have: a penalty changes the
    gradients to come, and so z itself.

    Args:
        model: Trained with FTRL on its wide part.
        l1: Values to try, (n,); by default `MULTIPLES` of the present one. The present one is
            always added.

    Returns:
        Columns `l1` (float64, ascending), `nonzero` (int64 count of weights) and `present` (bool,
        whether it is the model's own L1).
    """
    present = model.training.ftrl.l1
    values = np.array(MULTIPLES) * (present or 1.0) if l1 is None else l1
    values = np.unique(np.append(values, present))
    sizes = np.sort(np.abs(model.optimiser_state["wide/z"].cpu().numpy().ravel()))
    # Compared as FTRL compares them, float32 against L1 rounded to float32.
    nonzero = len(sizes) - np.searchsorted(sizes, values.astype(sizes.dtype), side="right")
    return pd.DataFrame({"l1": values, "nonzero": nonzero, "present": values == present})


def _totals_section(blocks: pd.DataFrame) -> str:
    columns = {
        "block": blocks["block"],
        "keys": blocks["keys"].map("{:,}".format),
        "with a weight": blocks["nonzero"].map("{:,}".format),
        "sum of abs(weight)": blocks["weight"].map("{:.3f}".format),
    }
    counts = f"{blocks['nonzero'].sum():,} of {blocks['keys'].sum():,} wide features have a weight."
    return (
        f"{counts} Below, `support` counts the training rows that fire a feature; `lift` is their "
        "positive rate over that of all rows of the candidate (of all rows, where the wide part "
        f"does not read the candidate alone).\n\n{_table(columns, 1)}"
    )


def _strongest_section(features: pd.DataFrame, block: str, top: int) -> str:
    weighted = features[(features["block"] == block) & (features["weight"] != 0)]
    up = _support_table(weighted[weighted["weight"] > 0].head(top))
    down = _support_table(weighted[weighted["weight"] < 0].head(top))
    return f"## Strongest of {block}\n\n### Up\n\n{up}\n\n### Down\n\n{down}"


def _support_table(features: pd.DataFrame) -> str:
    columns = {
        **_names(features),
        "weight": features["weight"].map(_weight_text),
        "support": features["support"].map("{:,}".format),
        "positive rate": features["positive_rate"].map(_ratio_text),
        "lift": features["lift"].map(_ratio_text),
    }
    return _table(columns, len(columns) - 4)


def _changes_section(features: pd.DataFrame, top: int) -> str:
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
    columns = {
        **_names(features),
        "before": features["before"].map(_weight_text),
        "now": features["weight"].map(_weight_text),
    }
    return _table(columns, len(columns) - 2)


def _names(features: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the columns of names: one if both languages have the same."""
    korean, english = features["korean"], features["english"]
    if (korean == english).all():
        return {"feature": korean}
    return {"Korean": korean, "English": english}


def _sparsity_section(sparsity: pd.DataFrame) -> str:
    present = sparsity["present"].map({True: " (the present one)", False: ""})
    columns = {
        "L1": sparsity["l1"].map("{:g}".format) + present,
        "with a weight": sparsity["nonzero"].map("{:,}".format),
    }
    return (
        "## What another L1 would keep\n\n"
        "Weights with abs(z) above it in this model's state; a model trained with it would have "
        f"another state.\n\n{_table(columns, 1)}"
    )


def _table(columns: Mapping[str, pd.Series], words: int) -> str:
    """Return a Markdown table of named columns; the first `words` of them are text."""
    rows = [*zip(*columns.values(), strict=True)]
    return markdown_table([*columns], rows, words).rstrip("\n") if rows else "None."


def _weight_text(value: float) -> str:
    return f"{value:+.4f}" if value else "0"


def _ratio_text(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"

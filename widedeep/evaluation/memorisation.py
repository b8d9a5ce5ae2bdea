"""A model's memory: what its wide part holds, how much of it, and what changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from widedeep.evaluation.memorisation_report import memorisation_report
from widedeep.evaluation.memory_table import COLUMNS, Change, memory_table
from widedeep.evaluation.names import Names
from widedeep.evaluation.sparsity import sparsity_curve
from widedeep.features.wide_block import wide_blocks
from widedeep.model.trained_model import TrainedModel

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
    def of(cls, model: TrainedModel, names: Names, previous: TrainedModel | None = None) -> Self:
        """Read a model's wide part, and compare it with that of `previous`."""
        return cls(memory_table(model, names, previous), _totals(model), sparsity_curve(model))

    def changes(self) -> dict[str, int] | None:
        """How many features were learned, forgotten …; None without a previous model."""
        if self.features["change"].isna().any():
            return None
        found = self.features["change"].value_counts()
        return {change.value: int(found.get(change.value, 0)) for change in Change}

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


def _totals(model: TrainedModel) -> pd.DataFrame:
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

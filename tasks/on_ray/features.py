"""The feature engine on Ray Data.

This process passes over the interactions once, in order of time, and only updates the history
state. It cuts the queries into parts; workers compute the features of a part from the state at its
beginning.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from widedeep.features.history.queries import ALL_COLUMNS, ColumnSelection, Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.out_of_core.blocks import (
    BlockEngine,
    BlockRows,
    Result,
    Work,
    all_positions,
    block_columns,
    run_on_block,
    to_block,
)
from widedeep.out_of_core.history_parts import split_history

_ROWS = 2_000_000
"""Rows whose features a worker computes at once; they take about 2 GB."""


@dataclass(frozen=True, slots=True)
class _Opaque:
    """A value that Ray passes on unchanged; it would turn a list of arrays into Python numbers."""

    value: Any


@dataclass(frozen=True, slots=True)
class RayRows(BlockRows):
    """Rows with their features in the cluster's memory; `item_table` is a Ray reference."""

    blocks: Any
    item_table: Any

    def map_blocks(
        self, work: Work[Result], reads: ColumnSelection = ALL_COLUMNS
    ) -> Iterator[Result]:
        """See `BlockRows.map_blocks`."""
        arguments = ray.put((work, reads, self.positions, self.item_table))
        results = self.blocks.map_batches(
            _apply, fn_args=(arguments,), batch_size=None, batch_format="pyarrow"
        )
        for row in results.iter_rows():
            yield row["result"].value


@dataclass(frozen=True, slots=True)
class RayEngine(BlockEngine[RayRows]):
    """The feature engine on a cluster: at least `pieces` parts of at most `rows` queries each."""

    pieces: int
    rows: int = _ROWS

    def compute_features(self, queries: Queries) -> RayRows:
        """See `FeatureEngine.compute_features`."""
        known = (self.interactions, queries, self.item_table, self.spec.history, self.prior)
        count = max(self.pieces, math.ceil(len(queries) / self.rows))
        parts = [
            {"part": ray.put((part, queries.select_rows(part.rows)))}
            for part in split_history(*known, count=count)
        ]
        item_table = ray.put(self.item_table)
        blocks = None
        if parts:
            batches = ray.data.from_items(parts, override_num_blocks=len(parts))
            blocks = batches.map_batches(
                _described, fn_args=(item_table,), batch_size=1, batch_format="numpy"
            ).materialize()
        return RayRows(queries, all_positions(len(queries)), blocks, item_table)


def _described(batch: dict[str, Any], reference: Any) -> pa.Table:  # noqa: ANN401
    item_table = ray.get(reference)
    part, queries = ray.get(batch["part"][0])
    return to_block(RawFeatures.from_history(queries, part.compute(), item_table), part.rows)


def _apply(block: pa.Table, reference: Any) -> dict[str, Any]:  # noqa: ANN401
    work, reads, place, item_table = ray.get(reference)
    columns = block.select(block_columns(block.schema, reads))
    results = run_on_block(work, columns, place, ray.get(item_table))
    column = np.empty(len(results), object)
    column[:] = [_Opaque(result) for result in results]
    return {"result": column}

"""Features on Ray Data: time is cut into pieces, whose rows are described where there is room.

This process passes over time once and only observes; a piece goes on from the state at its border.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from widedeep.features.history import ALL_COLUMNS, ColumnSelection, Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.out_of_core.blocks import (
    BlockEngine,
    BlockRows,
    Found,
    Work,
    block_of,
    columns_read,
    every_place,
    on_block,
)
from widedeep.out_of_core.history_parts import split_history

_ROWS = 2_000_000
"""Rows that a worker describes at once, in about 2 GB."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """What Ray hands over as it is: lists of arrays it would take apart, into Python's numbers."""

    value: Any


@dataclass(frozen=True, slots=True)
class RayRows(BlockRows):
    """Described rows in the cluster's memory; `item_table` is a reference to it."""

    blocks: Any
    item_table: Any

    def each(self, work: Work[Found], reads: ColumnSelection = ALL_COLUMNS) -> Iterator[Found]:
        """See `BlockRows.each`."""
        given = ray.put((work, reads, self.place, self.item_table))
        found = self.blocks.map_batches(
            _apply, fn_args=(given,), batch_size=None, batch_format="pyarrow"
        )
        for row in found.iter_rows():
            yield row["found"].value


@dataclass(frozen=True, slots=True)
class RayEngine(BlockEngine[RayRows]):
    """On the cluster; at least `pieces` of time, of at most `rows` each, are described apart."""

    pieces: int
    rows: int = _ROWS

    def describe(self, asked: Queries) -> RayRows:
        """See `RawFeatures.describe`."""
        known = (self.interactions, asked, self.item_table, self.spec.history, self.prior)
        count = max(self.pieces, math.ceil(len(asked) / self.rows))
        cut = split_history(*known, count=count)
        held = [{"piece": ray.put((piece, asked.select_rows(piece.rows)))} for piece in cut]
        item_table = ray.put(self.item_table)
        blocks = None
        if held:
            items = ray.data.from_items(held, override_num_blocks=len(held))
            blocks = items.map_batches(
                _described, fn_args=(item_table,), batch_size=1, batch_format="numpy"
            ).materialize()
        return RayRows(asked, every_place(len(asked)), blocks, item_table)


def _described(items: dict[str, Any], reference: Any) -> pa.Table:  # noqa: ANN401
    item_table = ray.get(reference)
    piece, asked = ray.get(items["piece"][0])
    return block_of(RawFeatures.of(asked, piece.columns(), item_table), piece.rows)


def _apply(block: pa.Table, reference: Any) -> dict[str, Any]:  # noqa: ANN401
    work, reads, place, item_table = ray.get(reference)
    read = block.select(columns_read(block.schema, reads))
    found = on_block(work, read, place, ray.get(item_table))
    column = np.empty(len(found), object)
    column[:] = [_Whole(one) for one in found]
    return {"found": column}

"""The feature engine for data that does not fit into memory: rows lie in a temporary file.

`engine_by_size` chooses between it and the engine in memory.
"""

import tempfile
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from widedeep.data.tables import Interactions
from widedeep.features import (
    ColumnSelection,
    FeatureSpec,
    FeatureTables,
    Queries,
    RawFeatures,
)
from widedeep.features.engine import FeatureEngine, InMemoryEngine
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
from widedeep.out_of_core.history_parts import history_in_batches
from widedeep.parallel import look_ahead

MOST_IN_MEMORY = 6_000_000
"""Up to this many ratings work in memory, which is faster; so many take 8 GiB."""

_BLOCK = 500_000
"""Rows whose features are computed at once."""

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


class ScratchFile:
    """A temporary `file` without a name in `folder`.

    It is closed with the last reference to the object, and then leaves nothing behind.
    """

    def __init__(self, folder: Path) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  see above
        weakref.finalize(self, self.file.close)


@dataclass(frozen=True, slots=True)
class DiskRows(BlockRows):
    """Rows whose features lie in an Arrow file."""

    scratch: ScratchFile
    tables: FeatureTables

    def map_blocks(
        self, work: Work[Result], columns: ColumnSelection | None = None
    ) -> Iterator[Result]:
        """Run `work` on one block after another, in order of known_until."""
        if not len(self):
            return
        # Columns that are not needed are not read from the disk either.
        fields = block_columns(pa.ipc.open_file(self.scratch.file).schema, columns)
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        reader = pa.ipc.open_file(self.scratch.file, options=options)
        for i in range(reader.num_record_batches):
            block = pa.Table.from_batches([reader.get_batch(i)])
            yield from run_on_block(work, block, self.positions, self.tables)


@dataclass(frozen=True, slots=True)
class OnDiskEngine(BlockEngine[DiskRows]):
    """A `FeatureEngine` that keeps all rows in a file in `folder`, `block` of them in memory."""

    folder: Path
    block: int = _BLOCK

    def compute_features(self, queries: Queries) -> DiskRows:
        """Compute history and attributes of each query and write them to a new scratch file."""
        scratch, blocks = ScratchFile(self.folder), self._blocks(queries)
        first = next(blocks, None)
        if first is not None:
            _write(chain([first], blocks), scratch.file, first.schema)
        return DiskRows(queries, all_positions(len(queries)), scratch, self.tables)

    def _blocks(self, queries: Queries) -> Iterator[pa.Table]:
        inputs = (self.interactions, queries, self.tables.items, self.spec.history, self.prior)
        columns = self.spec.history_columns
        for rows, history in history_in_batches(*inputs, rows=self.block, selection=columns):
            part = RawFeatures.from_history(queries.select_rows(rows), history, self.tables)
            yield to_block(part, rows)


def _write(blocks: Iterable[pa.Table], file: IO[bytes], schema: pa.Schema) -> None:
    """Write each block while the next one is computed: waiting for a disk needs no processor."""
    with (
        pa.ipc.new_file(file, schema, options=_COMPRESSED) as writer,
        ThreadPoolExecutor(1) as thread,
    ):
        for write in look_ahead(thread.submit(writer.write_table, block) for block in blocks):
            write.result()


def engine_by_size(
    interactions: Interactions,
    tables: FeatureTables,
    spec: FeatureSpec,
    prior: float,
    *,
    folder: Path,
) -> FeatureEngine[Any]:
    """Return an engine in memory, or one with files in `folder` above `MOST_IN_MEMORY` ratings."""
    if len(interactions) <= MOST_IN_MEMORY:
        return InMemoryEngine(interactions, tables, spec, prior)
    return OnDiskEngine(interactions, tables, spec, prior, folder)

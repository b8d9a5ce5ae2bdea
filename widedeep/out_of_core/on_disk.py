"""Features of ratings that are too many for memory: described rows lie in a file meanwhile."""

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
from widedeep.features.engine import FeatureEngine, InMemoryEngine
from widedeep.features.history import ALL_COLUMNS, ColumnSelection, Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import FeatureSpec
from widedeep.out_of_core.blocks import (
    BlockEngine,
    BlockRows,
    Result,
    Work,
    to_block,
    block_columns,
    all_positions,
    run_on_block,
)
from widedeep.out_of_core.history_parts import history_in_batches
from widedeep.parallel import look_ahead

MOST_IN_MEMORY = 6_000_000
"""Ratings that are described in memory, which is faster; of as many it takes 8 GiB."""

_BLOCK = 500_000
"""Rows that are described at once."""

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


class ScratchFile:
    """A `file` without a name in `folder`: closed with the last who knows it, it leaves nothing."""

    def __init__(self, folder: Path) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  see above
        weakref.finalize(self, self.file.close)


@dataclass(frozen=True, slots=True)
class DiskRows(BlockRows):
    """Described rows in a file of Arrow's."""

    scratch: ScratchFile
    item_table: ItemTable

    def each(self, work: Work[Result], reads: ColumnSelection = ALL_COLUMNS) -> Iterator[Result]:
        """See `BlockRows.each`; one after another, in order of known_until."""
        if not len(self):
            return
        # What is not read is not fetched from the disk either.
        fields = block_columns(pa.ipc.open_file(self.scratch.file).schema, reads)
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        reader = pa.ipc.open_file(self.scratch.file, options=options)
        for i in range(reader.num_record_batches):
            block = pa.Table.from_batches([reader.get_batch(i)])
            yield from run_on_block(work, block, self.place, self.item_table)


@dataclass(frozen=True, slots=True)
class OnDiskEngine(BlockEngine[DiskRows]):
    """Only `block` described rows are in memory at once; all are in a file in `folder`."""

    folder: Path
    block: int = _BLOCK

    def describe(self, asked: Queries) -> DiskRows:
        """See `RawFeatures.compute`."""
        scratch, blocks = ScratchFile(self.folder), self._described(asked)
        first = next(blocks, None)
        if first is not None:
            _write(chain([first], blocks), scratch.file, first.schema)
        return DiskRows(asked, all_positions(len(asked)), scratch, self.item_table)

    def _described(self, asked: Queries) -> Iterator[pa.Table]:
        known = (self.interactions, asked, self.item_table, self.spec.history, self.prior)
        for places, history in history_in_batches(*known, rows=self.block, wanted=self.spec.history_columns):
            yield to_block(RawFeatures.from_history(asked.select_rows(places), history, self.item_table), places)


def _write(blocks: Iterable[pa.Table], file: IO[bytes], schema: pa.Schema) -> None:
    """Write them all, one while the next is made: who waits for a disk needs no processor."""
    with (
        pa.ipc.new_file(file, schema, options=_COMPRESSED) as writer,
        ThreadPoolExecutor(1) as aside,
    ):
        for writing in look_ahead(aside.submit(writer.write_table, block) for block in blocks):
            writing.result()


def engine_by_size(
    interactions: Interactions,
    item_table: ItemTable,
    spec: FeatureSpec,
    prior: float,
    *,
    folder: Path,
) -> FeatureEngine[Any]:
    """In memory, or with files in `folder` where the log is longer than is well for memory."""
    if len(interactions) <= MOST_IN_MEMORY:
        return InMemoryEngine(interactions, item_table, spec, prior)
    return OnDiskEngine(interactions, item_table, spec, prior, folder)

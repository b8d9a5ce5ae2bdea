"""Features of more rows than fit into memory: they lie in blocks, and each is worked on by itself.

`BlockRows` and `BlockEngine` are what the engines on disk and on a cluster share. Counts of blocks
are added up, quantile boundaries are found exactly in two passes, and combinations of crosses are
counted in shares, all rows of a share at once (`block_statistics`); so nothing depends on how the
blocks are cut.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features import (
    ColumnSelection,
    EncodedRows,
    FeatureSpec,
    FeatureSupport,
    FeatureTables,
    QuantileNormaliser,
    Queries,
    RawFeatures,
    Transform,
)
from widedeep.features.crosses import CrossCounter
from widedeep.features.engine import InMemoryEngine, Labels
from widedeep.features.quantiles import boundary_ranks
from widedeep.features.raw_features import is_table_column
from widedeep.features.spec import parts_of
from widedeep.features.transform import count_ids, fit_vocabularies
from widedeep.features.vocabulary import Counts
from widedeep.out_of_core.block_statistics import (
    BracketCounts,
    RankBrackets,
    RankSample,
    RunningCounts,
    concatenate_crosses,
    share_of_cross,
)
from widedeep.parallel import drain, parallel_map

Ints = NDArray[np.int64]
Positions = NDArray[np.int32]
Result = TypeVar("Result")
Work = Callable[[RawFeatures, Positions], Result]
"""A function of the selected rows of a block and of their positions among all selected rows."""

_FEW = 1 << 20
"""Crosses with at most this many possible combinations are counted completely, block by block."""

_COMBINATIONS = 16
"""About as many combinations of any other cross a row has: remembered items with the rated one."""

_GATHERED = 1 << 28
"""Combinations that are gathered at once, in codes of 4 bytes."""

_NOT_SELECTED = -1
_ROW = "row"


@dataclass(frozen=True, slots=True)
class BlockRows(ABC):
    """Rows whose features were computed block by block and lie elsewhere; some are selected.

    Attributes:
        queries: Those of the selected rows, in their order.
        positions: int32, for each computed row its position among the selected rows, or
            `_NOT_SELECTED`.
    """

    queries: Queries
    positions: Positions

    def __len__(self) -> int:
        """Return the number of selected rows."""
        return len(self.queries)

    def select_rows(self, rows: Ints) -> Self:
        """Return the given ones of the selected rows, in that order; no row may be given twice."""
        moved = np.full(len(self) + 1, _NOT_SELECTED, np.int32)
        moved[rows] = np.arange(len(rows), dtype=np.int32)
        # `_NOT_SELECTED` is -1 and so leads to the last entry, which is `_NOT_SELECTED` again.
        return replace(
            self, queries=self.queries.select_rows(rows), positions=moved[self.positions]
        )

    @abstractmethod
    def map_blocks(
        self, work: Work[Result], columns: ColumnSelection | None = None
    ) -> Iterator[Result]:
        """Yield what `work` returns for each block with selected rows.

        `work` must read no other history than `columns`; None: it may read all.
        """

    def gather(self, work: Callable[[RawFeatures], NDArray[Any]]) -> NDArray[Any]:
        """Return the values that `work` computes, one per row, in the order of the rows."""
        parts = list(self.map_blocks(partial(_with_positions, work)))
        values, positions = (np.concatenate(column) for column in zip(*parts, strict=True))
        return values[np.argsort(positions, kind="stable")]


BlockRowsT = TypeVar("BlockRowsT", bound=BlockRows)


def all_positions(rows: int) -> Positions:
    """Return the `positions` of `BlockRows` if all rows are selected, int32 (rows,)."""
    return np.arange(rows, dtype=np.int32)


def to_block(rows: RawFeatures, numbers: Ints) -> pa.Table:
    """Return rows as the table of a block; `numbers` (n,) are theirs among all computed rows."""
    return rows.to_table().append_column(_ROW, pa.array(numbers))


def block_columns(block: pa.Schema, columns: ColumnSelection | None) -> list[int]:
    """Return the indices of a block's columns that `run_on_block` needs for these `columns`."""
    return [
        index
        for index, name in enumerate(block.names)
        if name == _ROW or is_table_column(name, columns)
    ]


def run_on_block(
    work: Work[Result], block: pa.Table, positions: Positions, tables: FeatureTables
) -> list[Result]:
    """Return what `work` returns for the selected rows of a block; [] if none is selected.

    `positions` are those of `BlockRows`, for all computed rows.
    """
    own = positions[block[_ROW].to_numpy()]
    selected = np.flatnonzero(own != _NOT_SELECTED)
    if not len(selected):
        return []
    rows = RawFeatures.from_table(block, tables).select_rows(selected)
    return [work(rows, own[selected])]


@dataclass(frozen=True, slots=True)
class BlockEngine(ABC, Generic[BlockRowsT]):
    """A `FeatureEngine` whose rows lie in blocks; subclasses decide where."""

    interactions: Interactions
    tables: FeatureTables
    spec: FeatureSpec
    prior: float

    @abstractmethod
    def compute_features(self, queries: Queries) -> BlockRowsT:
        """Compute history and attributes of each query, see `RawFeatures.compute`."""

    def fit(
        self, fresh: BlockRowsT, stale: Sequence[BlockRowsT], previous: Transform | None
    ) -> Transform:
        """Fit a transform on `fresh` rows and their `stale` copies, see `Transform.fit`."""
        counts: dict[str, RunningCounts] = defaultdict(RunningCounts)
        columns = self.spec.history_columns_of(self.spec.own_bags)
        for block in fresh.map_blocks(partial(_count_ids, self.spec), columns):
            for name, id_counts in block.items():
                counts[name].add(*id_counts)
        totals = {name: running.total() for name, running in counts.items()}
        vocabularies = fit_vocabularies(self.spec, totals)
        normalisers = previous.normalisers if previous else self._normalisers((fresh, *stale))
        partly = Transform(self.spec, self.prior, vocabularies, normalisers, ())
        return partly.with_crosses(_count_crosses(partly, fresh))

    def encode(self, transform: Transform, parts: list[BlockRowsT]) -> EncodedRows:
        """Encode the rows of all parts, one part after another; empty the list on the way."""
        return EncodedRows.concatenate(self._encode(transform, rows) for rows in drain(parts))

    def count_support(
        self, transform: Transform, rows: BlockRowsT, label: Labels
    ) -> FeatureSupport:
        """Count the wide features that fire in the rows, whose labels are bool (rows,)."""
        if not len(rows):
            wide = transform.wide_ids(self._compute_here(rows))
            return FeatureSupport.count(wide, label, transform.wide_size)
        columns = self.spec.history_columns_of(self.spec.wide_inputs)
        return FeatureSupport.total(
            rows.map_blocks(partial(_count_support, transform, label), columns)
        )

    def _encode(self, transform: Transform, rows: BlockRowsT) -> EncodedRows:
        if not len(rows):
            return transform.encode(self._compute_here(rows))
        parts: list[Positions] = []

        def blocks() -> Iterator[EncodedRows]:
            work = partial(_encode_block, transform)
            for block, positions in rows.map_blocks(work, self.spec.history_columns):
                parts.append(positions)
                yield block

        encoded, positions = EncodedRows.concatenate(blocks()), np.concatenate(parts)
        if (np.diff(positions) > 0).all():
            return encoded
        return encoded.select_rows(np.argsort(positions))

    def _compute_here(self, rows: BlockRowsT) -> RawFeatures:
        """Compute the features of few rows, or of none at all, in this process."""
        engine = InMemoryEngine(self.interactions, self.tables, self.spec, self.prior)
        return engine.compute_features(rows.queries)

    def _normalisers(self, parts: Sequence[BlockRowsT]) -> dict[str, QuantileNormaliser]:
        """Find the exact boundaries in two passes over the blocks."""
        features = self.spec.quantile_features()
        numbers = sorted({number for _, number, _ in features})
        columns = ColumnSelection(tuple(numbers), bags=())
        sample = partial(_sample_numbers, numbers)
        samples = [block for part in parts for block in part.map_blocks(sample, columns)]
        brackets = {
            name: _bracket_boundaries([block[number] for block in samples], quantiles)
            for name, number, quantiles in features
        }
        sources = {name: number for name, number, _ in features}
        count = partial(_count_brackets, brackets, sources)
        counts = [block for part in parts for block in part.map_blocks(count, columns)]
        return {
            name: QuantileNormaliser.from_rank_values(
                bracket.values([block[name] for block in counts])
            )
            for name, bracket in brackets.items()
        }


def _count_crosses(transform: Transform, rows: BlockRows) -> list[Counts]:
    """Return the combinations of each cross with their support.

    All that reach the cross's minimum support are among them, and perhaps some others.
    """
    sizes = transform.cross_sizes
    few = [i for i in range(len(sizes)) if math.prod(sizes[i]) <= _FEW]
    many = [i for i in range(len(sizes)) if i not in few]
    counts = dict(zip(few, _count_all(transform, rows, few), strict=True))
    shares = len(many) * len(rows) * _COMBINATIONS // _GATHERED + 1 if many else 0
    parts = [_count_frequent(transform, rows, many, (share, shares)) for share in range(shares)]
    for i, cross_parts in zip(many, zip(*parts, strict=True), strict=True):
        keys, support = zip(*cross_parts, strict=True)
        counts[i] = np.concatenate(keys), np.concatenate(support)
    return [counts[i] for i in range(len(sizes))]


def _count_all(transform: Transform, rows: BlockRows, which: list[int]) -> list[Counts]:
    """Count every combination of some crosses."""
    counts = [RunningCounts() for _ in which]
    work = partial(_count_block_crosses, transform, which)
    for block in rows.map_blocks(work, _columns_of(transform, which)):
        for running, keys_and_support in zip(counts, block, strict=True):
            running.add(*keys_and_support)
    return [running.total() for running in counts]


def _count_frequent(
    transform: Transform, rows: BlockRows, which: list[int], share: tuple[int, int]
) -> list[Counts]:
    """Count the frequent combinations of some crosses in one share of them.

    `share` is its number and the number of shares.
    """
    gathered: list[list[CrossCounter]] = [[] for _ in which]
    work = partial(_share_block_crosses, transform, which, share)
    for block in rows.map_blocks(work, _columns_of(transform, which)):
        for parts, part in zip(gathered, block, strict=True):
            parts.append(part)

    def count(i: int, parts: list[CrossCounter]) -> Counts:
        minimum = transform.spec.crosses[i].minimum_support
        return concatenate_crosses(parts).count(transform.cross_sizes[i], minimum)

    return parallel_map(count, which, gathered)


def _columns_of(transform: Transform, which: list[int]) -> ColumnSelection:
    """Return the history columns that some crosses are made of."""
    return transform.spec.history_columns_of(parts_of(transform.spec.crosses[i] for i in which))


def _bracket_boundaries(samples: list[RankSample], quantiles: int) -> RankBrackets:
    count = sum(sample.count for sample in samples)
    return RankBrackets.from_samples(boundary_ranks(count, quantiles), samples)


# What is done with each block; module-level functions, because a cluster sends them to workers.


def _count_ids(spec: FeatureSpec, rows: RawFeatures, _: Positions) -> dict[str, Counts]:
    return count_ids(spec, rows)


def _sample_numbers(numbers: list[str], rows: RawFeatures, _: Positions) -> dict[str, RankSample]:
    def sample(number: str) -> tuple[str, RankSample]:
        return number, RankSample.from_values(rows.number(number))

    return dict(parallel_map(sample, numbers))


def _count_brackets(
    brackets: dict[str, RankBrackets], sources: dict[str, str], rows: RawFeatures, _: Positions
) -> dict[str, BracketCounts]:
    def count(name: str) -> tuple[str, BracketCounts]:
        return name, brackets[name].count(rows.number(sources[name]))

    return dict(parallel_map(count, brackets))


def _count_block_crosses(
    transform: Transform, which: list[int], rows: RawFeatures, _: Positions
) -> list[Counts]:
    counters, sizes = transform.cross_counters(rows, which), transform.cross_sizes
    return [counter.count(sizes[i], 1) for i, counter in zip(which, counters, strict=True)]


def _share_block_crosses(
    transform: Transform, which: list[int], share: tuple[int, int], rows: RawFeatures, _: Positions
) -> list[CrossCounter]:
    crosses = transform.cross_counters(rows, which)
    return parallel_map(lambda cross: share_of_cross(cross, *share), crosses)


def _encode_block(
    transform: Transform, rows: RawFeatures, positions: Positions
) -> tuple[EncodedRows, Positions]:
    return transform.encode(rows), positions


def _count_support(
    transform: Transform, label: Labels, rows: RawFeatures, positions: Positions
) -> FeatureSupport:
    return FeatureSupport.count(transform.wide_ids(rows), label[positions], transform.wide_size)


def _with_positions(
    work: Callable[[RawFeatures], NDArray[Any]], rows: RawFeatures, positions: Positions
) -> tuple[NDArray[Any], Positions]:
    return work(rows), positions

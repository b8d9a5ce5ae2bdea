"""Features of more rows than are to be held at once: blocks of them, each worked on by itself.

Counts of blocks are added up, the boundaries of quantiles found exactly in two passes
(`order_statistics`), and combinations counted in shares, all rows of a share at once (`Halves`); so
nothing depends on the blocks.
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
from widedeep.features.crosses import CrossCounter
from widedeep.features.encoded import EncodedRows, FeatureSupport
from widedeep.features.engine import InMemoryEngine, Labels
from widedeep.features.history import ALL_COLUMNS, ColumnSelection, Queries
from widedeep.features.items import ItemTable
from widedeep.features.quantiles import (
    BracketCounts,
    QuantileNormaliser,
    RankBrackets,
    RankSample,
    boundary_ranks,
)
from widedeep.features.raw_features import RawFeatures, raw_from_table, raw_to_table, table_columns
from widedeep.features.spec import FeatureSpec, parts_of
from widedeep.features.transform import Transform, count_ids, fit_vocabularies
from widedeep.features.vocabulary import Counts, RunningCounts
from widedeep.parallel import drain, parallel_map

Ints = NDArray[np.int64]
Places = NDArray[np.int32]
Result = TypeVar("Found")
Work = Callable[[RawFeatures, Places], Result]
"""What is done with some rows and their places among all that are chosen."""

_FEW = 1 << 20
"""Possible combinations of a cross that are all counted, block by block."""

_COMBINATIONS = 16
"""About as many combinations a row has of one of the others: remembered items with the rated."""

_GATHERED = 1 << 28
"""Combinations that are gathered at once: ids of 4 bytes."""

_NOWHERE = -1
_ROW = "row"


@dataclass(frozen=True, slots=True)
class BlockRows(ABC):
    """Described rows that lie elsewhere.

    Attributes:
        queries: Those of the chosen rows, in their order.
        place: int32, by number of the described row its place among the chosen; `_NOWHERE` for
            one that is not.
    """

    queries: Queries
    place: Places

    def __len__(self) -> int:
        """Number of chosen rows."""
        return len(self.queries)

    def select_rows(self, rows: Ints) -> Self:
        """The named ones of the chosen rows, in that order, none of them twice."""
        back = np.full(len(self) + 1, _NOWHERE, np.int32)
        back[rows] = np.arange(len(rows), dtype=np.int32)
        # The last entry is where `_NOWHERE` leads.
        return replace(self, queries=self.queries.select_rows(rows), place=back[self.place])

    @abstractmethod
    def each(self, work: Work[Result], reads: ColumnSelection = ALL_COLUMNS) -> Iterator[Result]:
        """What `work`, which reads no more history than that, finds in each block's chosen rows."""

    def gathered(self, work: Callable[[RawFeatures], NDArray[Any]]) -> NDArray[Any]:
        """One value a row, in the order of the rows."""
        parts = list(self.each(partial(_with_places, work)))
        values, places = (np.concatenate(of) for of in zip(*parts, strict=True))
        return values[np.argsort(places, kind="stable")]


Held = TypeVar("Held", bound=BlockRows)


def all_positions(rows: int) -> Places:
    """The `place` where all rows are chosen."""
    return np.arange(rows, dtype=np.int32)


def block_columns(block: pa.Schema, reads: ColumnSelection) -> list[int]:
    """Places of the columns of a block that hold as much of its rows' history."""
    wanted = table_columns(reads) | {_ROW}
    return [place for place, name in enumerate(block.names) if name in wanted]


def to_block(rows: RawFeatures, numbers: Ints) -> pa.Table:
    """A block as it is kept: its rows, with their `numbers` (n,) among all that are described."""
    return raw_to_table(rows).append_column(_ROW, pa.array(numbers))


def run_on_block(
    work: Work[Result], block: pa.Table, place: Places, item_table: ItemTable
) -> list[Result]:
    """What `work` finds in a block, or nothing if none of its rows is chosen."""
    places = place[block[_ROW].to_numpy()]
    chosen = np.flatnonzero(places != _NOWHERE)
    return (
        [work(raw_from_table(block, item_table).select_rows(chosen), places[chosen])]
        if len(chosen)
        else []
    )


@dataclass(frozen=True, slots=True)
class BlockEngine(ABC, Generic[Held]):
    """A `FeatureEngine` of rows in blocks."""

    interactions: Interactions
    item_table: ItemTable
    spec: FeatureSpec
    prior: float

    @abstractmethod
    def describe(self, asked: Queries) -> Held:
        """See `RawFeatures.compute`."""

    def fit(self, fresh: Held, stale: Sequence[Held], previous: Transform | None) -> Transform:
        """See `Transform.fit`."""
        counts: dict[str, RunningCounts] = defaultdict(RunningCounts)
        reads = self.spec.read_by(self.spec.own_bags)
        for counted in fresh.each(partial(_count_tokens, self.spec), reads):
            for name, part in counted.items():
                counts[name].add(*part)
        summed = {name: each.total() for name, each in counts.items()}
        vocabularies = fit_vocabularies(self.spec, summed)
        normalisers = previous.normalisers if previous else self._normalisers((fresh, *stale))
        fitted = Transform(self.spec, self.prior, vocabularies, normalisers, ())
        return fitted.with_crosses(_frequent(fitted, fresh))

    def encode(self, transform: Transform, parts: list[Held]) -> EncodedRows:
        """See `FeatureEngine.encode`."""
        return EncodedRows.concatenate(self._encoded(transform, rows) for rows in drain(parts))

    def count(self, transform: Transform, rows: Held, label: Labels) -> FeatureSupport:
        """See `FeatureSupport.count`."""
        if not len(rows):
            return FeatureSupport.count(
                transform.wide_ids(self._here(rows)), label, transform.wide_size
            )
        reads = self.spec.read_by(self.spec.fired)
        return FeatureSupport.total(rows.each(partial(_count_evidence, transform, label), reads))

    def _encoded(self, transform: Transform, rows: Held) -> EncodedRows:
        if not len(rows):
            return transform.encode(self._here(rows))
        met: list[Places] = []

        def blocks() -> Iterator[EncodedRows]:
            for block, places in rows.each(partial(_encode, transform), self.spec.history_columns):
                met.append(places)
                yield block

        encoded, places = EncodedRows.concatenate(blocks()), np.concatenate(met)
        return encoded if (np.diff(places) > 0).all() else encoded.select_rows(np.argsort(places))

    def _here(self, rows: Held) -> RawFeatures:
        """Rows that are so few that they are described in this process."""
        return InMemoryEngine(self.interactions, self.item_table, self.spec, self.prior).describe(
            rows.queries
        )

    def _normalisers(self, parts: Sequence[Held]) -> dict[str, QuantileNormaliser]:
        wanted = self.spec.quantiled()
        numbers = sorted({number for _, number, _ in wanted})
        reads = ColumnSelection(tuple(numbers), bags=())
        found = [each for part in parts for each in part.each(partial(_sample, numbers), reads)]
        brackets = {
            name: _brackets([sample[number] for sample in found], quantiles)
            for name, number, quantiles in wanted
        }
        sources = {name: number for name, number, _ in wanted}
        work = partial(_count_values, brackets, sources)
        counted = [each for part in parts for each in part.each(work, reads)]
        return {
            name: QuantileNormaliser.from_rank_values(bracket.values([part[name] for part in counted]))
            for name, bracket in brackets.items()
        }


def _frequent(transform: Transform, rows: BlockRows) -> list[Counts]:
    """Of each cross the combinations with its minimum support, and perhaps some others."""
    sizes = transform.cross_sizes
    few = [i for i in range(len(sizes)) if math.prod(sizes[i]) <= _FEW]
    many = [i for i in range(len(sizes)) if i not in few]
    found = dict(zip(few, _all_of(transform, rows, few), strict=True))
    shares = len(many) * len(rows) * _COMBINATIONS // _GATHERED + 1 if many else 0
    parts = [_frequent_of(transform, rows, many, (share, shares)) for share in range(shares)]
    for i, counted in zip(many, zip(*parts, strict=True), strict=True):
        keys, support = zip(*counted, strict=True)
        found[i] = np.concatenate(keys), np.concatenate(support)
    return [found[i] for i in range(len(sizes))]


def _all_of(transform: Transform, rows: BlockRows, which: list[int]) -> list[Counts]:
    """Of some crosses every combination."""
    counts = [RunningCounts() for _ in which]
    for counted in rows.each(partial(_count_all, transform, which), _read_by(transform, which)):
        for each, part in zip(counts, counted, strict=True):
            each.add(*part)
    return [each.total() for each in counts]


def _frequent_of(
    transform: Transform, rows: BlockRows, which: list[int], share: tuple[int, int]
) -> list[Counts]:
    """Of some crosses what is frequent in one `share` of so many of their combinations."""
    gathered: list[list[CrossCounter]] = [[] for _ in which]
    work = partial(_shared_out, transform, which, share)
    for found in rows.each(work, _read_by(transform, which)):
        for held, part in zip(gathered, found, strict=True):
            held.append(part)

    def count(i: int, held: list[CrossCounter]) -> Counts:
        halves = CrossCounter.drained(held)
        return halves.count(transform.cross_sizes[i], transform.spec.crosses[i].minimum_support)

    return parallel_map(count, which, gathered)


def _read_by(transform: Transform, which: list[int]) -> ColumnSelection:
    """What of a row's history some crosses are made of."""
    return transform.spec.read_by(parts_of(transform.spec.crosses[i] for i in which))


def _brackets(samples: list[RankSample], quantiles: int) -> RankBrackets:
    count = sum(sample.count for sample in samples)
    return RankBrackets.from_samples(boundary_ranks(count, quantiles), samples)


def _count_tokens(spec: FeatureSpec, rows: RawFeatures, _: Places) -> dict[str, Counts]:
    return count_ids(spec, rows)


def _sample(numbers: list[str], rows: RawFeatures, _: Places) -> dict[str, RankSample]:
    def sample(number: str) -> tuple[str, RankSample]:
        return number, RankSample.from_values(rows.number(number))

    return dict(parallel_map(sample, numbers))


def _count_values(
    brackets: dict[str, RankBrackets], sources: dict[str, str], rows: RawFeatures, _: Places
) -> dict[str, BracketCounts]:
    def count(name: str) -> tuple[str, BracketCounts]:
        return name, brackets[name].count(rows.number(sources[name]))

    return dict(parallel_map(count, brackets))


def _count_all(
    transform: Transform, which: list[int], rows: RawFeatures, _: Places
) -> list[Counts]:
    halves, sizes = transform.halves(rows, which), transform.cross_sizes
    return [each.count(sizes[i], 1) for i, each in zip(which, halves, strict=True)]


def _shared_out(
    transform: Transform, which: list[int], share: tuple[int, int], rows: RawFeatures, _: Places
) -> list[CrossCounter]:
    return parallel_map(lambda halves: halves.share(*share), transform.halves(rows, which))


def _encode(transform: Transform, rows: RawFeatures, places: Places) -> tuple[EncodedRows, Places]:
    return transform.encode(rows), places


def _count_evidence(
    transform: Transform, label: Labels, rows: RawFeatures, places: Places
) -> FeatureSupport:
    return FeatureSupport.count(transform.wide_ids(rows), label[places], transform.wide_size)


def _with_places(
    work: Callable[[RawFeatures], NDArray[Any]], rows: RawFeatures, places: Places
) -> tuple[NDArray[Any], Places]:
    return work(rows), places

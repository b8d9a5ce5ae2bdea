"""Features on Ray Data: time is cut into pieces, whose rows are described where there is room.

This process passes over time once and only observes; a piece goes on from the state at its border.
From described rows on each block stands for itself: counts are added up, and the boundaries of
quantiles found exactly in two passes (`order_statistics`), so nothing depends on the blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue
from widedeep.features.encoded import Encoded
from widedeep.features.evidence import Evidence
from widedeep.features.feature_engine import InMemory
from widedeep.features.history import Queries
from widedeep.features.history_pieces import history_pieces
from widedeep.features.order_statistics import Brackets, Counted, Sample
from widedeep.features.quantile_normaliser import QuantileNormaliser, deciding_ranks
from widedeep.features.raw_columns import RawColumns
from widedeep.features.raw_table import from_table, to_table
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Counts, Transform, token_counts, vocabularies_of
from widedeep.features.vocabulary import add_counts

Ints = NDArray[np.int64]
Found = TypeVar("Found")
Work = Callable[[RawColumns, Ints], Found]
"""What is done with some rows and their places among all."""

_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class RayColumns:
    """Described rows in the cluster's memory.

    Attributes:
        queries: Those of the chosen rows, in their order.
        blocks: All rows that were described, each with its number `row`.
        place: int64, by that number the place among the chosen; `_NOWHERE` for others.
        catalogue: A reference to it.
    """

    queries: Queries
    blocks: Any
    place: Ints
    catalogue: Any

    def __len__(self) -> int:
        """Number of chosen rows."""
        return len(self.queries)

    def take(self, rows: Ints) -> "RayColumns":
        """The named ones of the chosen rows, in that order, none of them twice."""
        back = np.full(len(self), _NOWHERE)
        back[rows] = np.arange(len(rows))
        place = np.where(self.place == _NOWHERE, _NOWHERE, back[self.place])
        return replace(self, queries=self.queries.take(rows), place=place)

    def each(self, work: Work[Found]) -> Iterator[Found]:
        """What `work` finds in each block that has chosen rows."""
        given = ray.put((work, self.place, self.catalogue))
        found = self.blocks.map_batches(
            _apply, fn_args=(given,), batch_size=None, batch_format="pyarrow"
        )
        for row in found.iter_rows():
            yield row["found"]

    def gathered(self, work: Callable[[RawColumns], NDArray[Any]]) -> NDArray[Any]:
        """One value a row, in the order of the rows."""
        parts = list(self.each(partial(_with_places, work)))
        values, places = (np.concatenate(of) for of in zip(*parts, strict=True))
        return values[np.argsort(places, kind="stable")]


@dataclass(frozen=True, slots=True)
class OnRay:
    """A `FeatureEngine` on the cluster; `pieces` of time are described apart."""

    log: RatingLog
    catalogue: Catalogue
    spec: FeatureSpec
    prior: float
    pieces: int

    def describe(self, asked: Queries) -> RayColumns:
        """See `RawColumns.describe`."""
        known = (self.log, asked, self.catalogue, self.spec.history, self.prior)
        cut = history_pieces(*known, count=self.pieces)
        held = [{"piece": ray.put((piece, asked.take(piece.rows)))} for piece in cut]
        catalogue = ray.put(self.catalogue)
        blocks = None
        if held:
            items = ray.data.from_items(held, override_num_blocks=len(held))
            blocks = items.map_batches(
                _described, fn_args=(catalogue,), batch_size=1, batch_format="numpy"
            ).materialize()
        return RayColumns(asked, blocks, np.arange(len(asked)), catalogue)

    def fit(
        self, fresh: RayColumns, stale: Sequence[RayColumns], previous: Transform | None
    ) -> Transform:
        """See `Transform.fit`."""
        counted = list(fresh.each(partial(_count_tokens, self.spec)))
        summed = {name: add_counts([part[name] for part in counted]) for name in counted[0]}
        normalisers = previous.normalisers if previous else self._normalisers((fresh, *stale))
        vocabularies = vocabularies_of(self.spec, summed)
        fitted = Transform(self.spec, self.prior, vocabularies, normalisers, ())
        crossed = list(fresh.each(partial(_count_crosses, fitted)))
        return fitted.with_crosses([add_counts(parts) for parts in zip(*crossed, strict=True)])

    def encode(self, transform: Transform, parts: list[RayColumns]) -> Encoded:
        """See `FeatureEngine.encode`."""
        encoded = [self._encoded(transform, rows) for rows in parts]
        parts.clear()
        return Encoded.concatenate(encoded)

    def _encoded(self, transform: Transform, rows: RayColumns) -> Encoded:
        if not len(rows):
            return transform.encode(self._here(rows))
        parts = list(rows.each(partial(_encode, transform)))
        encoded = Encoded.concatenate([encoded for encoded, _ in parts])
        places = np.concatenate([places for _, places in parts])
        return encoded if (np.diff(places) > 0).all() else encoded.take(np.argsort(places))

    def count(self, transform: Transform, rows: RayColumns, label: NDArray[np.bool_]) -> Evidence:
        """See `Evidence.count`."""
        if not len(rows):
            return Evidence.count(transform.fired(self._here(rows)), label, transform.wide_size)
        return Evidence.total(list(rows.each(partial(_count_evidence, transform, label))))

    def _here(self, rows: RayColumns) -> RawColumns:
        """Rows that are so few that they are described in this process."""
        return InMemory(self.log, self.catalogue, self.spec, self.prior).describe(rows.queries)

    def _normalisers(self, parts: Sequence[RayColumns]) -> dict[str, QuantileNormaliser]:
        wanted = self.spec.quantiled()
        numbers = sorted({number for _, number, _ in wanted})
        found = [each for part in parts for each in part.each(partial(_sample, numbers))]
        brackets = {
            name: _brackets([sample[number] for sample in found], quantiles)
            for name, number, quantiles in wanted
        }
        sources = {name: number for name, number, _ in wanted}
        work = partial(_count_values, brackets, sources)
        counted = [each for part in parts for each in part.each(work)]
        return {
            name: QuantileNormaliser.of_order(bracket.values([part[name] for part in counted]))
            for name, bracket in brackets.items()
        }


def _brackets(samples: list[Sample], quantiles: int) -> Brackets:
    count = sum(sample.count for sample in samples)
    return Brackets.around(deciding_ranks(count, quantiles), samples)


def _described(items: dict[str, Any], reference: Any) -> pa.Table:  # noqa: ANN401
    catalogue: Catalogue = ray.get(reference)
    piece, asked = ray.get(items["piece"][0])
    rows = RawColumns(asked, piece.columns(), catalogue, catalogue.rows(asked.movie))
    return to_table(rows).append_column("row", pa.array(piece.rows))


def _apply(block: pa.Table, reference: Any) -> dict[str, Any]:  # noqa: ANN401
    work, place, catalogue = ray.get(reference)
    places = place[block["row"].to_numpy()]
    chosen = places != _NOWHERE
    if not chosen.any():
        return {"found": np.empty(0, object)}
    rows = from_table(block.filter(pa.array(chosen)), ray.get(catalogue))
    found = np.empty(1, object)
    found[0] = work(rows, places[chosen])
    return {"found": found}


def _count_tokens(spec: FeatureSpec, rows: RawColumns, _: Ints) -> dict[str, Counts]:
    return token_counts(spec, rows)


def _sample(numbers: list[str], rows: RawColumns, _: Ints) -> dict[str, Sample]:
    return {number: Sample.of(rows.number(number)) for number in numbers}


def _count_values(
    brackets: dict[str, Brackets], sources: dict[str, str], rows: RawColumns, _: Ints
) -> dict[str, Counted]:
    return {name: brackets[name].count(rows.number(sources[name])) for name in brackets}


def _count_crosses(transform: Transform, rows: RawColumns, _: Ints) -> list[Counts]:
    return transform.cross_counts(rows)


def _encode(transform: Transform, rows: RawColumns, places: Ints) -> tuple[Encoded, Ints]:
    return transform.encode(rows), places


def _count_evidence(
    transform: Transform, label: NDArray[np.bool_], rows: RawColumns, places: Ints
) -> Evidence:
    return Evidence.count(transform.fired(rows), label[places], transform.wide_size)


def _with_places(
    work: Callable[[RawColumns], NDArray[Any]], rows: RawColumns, places: Ints
) -> tuple[NDArray[Any], Ints]:
    return work(rows), places

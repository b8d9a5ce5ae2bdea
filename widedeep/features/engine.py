"""Where raw columns are made, fitted and encoded; `InMemory` is here, others may be elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.encoded import EncodedRows, FeatureSupport
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform
from widedeep.parallel import drain

Labels = NDArray[np.bool_]

_BLOCK = 500_000
"""Rows that are encoded at once: what lies in between takes several times what they do."""


class DescribedRows(Protocol):
    """Described rows; only their queries need be here."""

    @property
    def queries(self) -> Queries:
        """The rows that are described."""

    def __len__(self) -> int:
        """Number of rows."""

    def select_rows(self, rows: NDArray[np.int64]) -> Self:
        """The named rows, in that order, none of them twice."""


RowsT = TypeVar("RowsT", bound=DescribedRows)


class FeatureEngine(Protocol[RowsT]):
    """All engines find the same, to the bit."""

    def describe(self, asked: Queries) -> RowsT:
        """History and attributes of each query."""

    def fit(self, fresh: RowsT, stale: Sequence[RowsT], previous: Transform | None) -> Transform:
        """See `Transform.fit`."""

    def encode(self, transform: Transform, parts: list[RowsT]) -> EncodedRows:
        """The rows of all parts, one after another, see `Transform.encode`.

        The list is emptied on the way: raw rows take more memory than encoded ones.
        """

    def count(self, transform: Transform, rows: RowsT, label: Labels) -> FeatureSupport:
        """What the wide features that fire in the rows rest on, see `FeatureSupport`."""


FeatureEngines = Callable[[Interactions, ItemTable, FeatureSpec, float], FeatureEngine[Any]]
"""Makes one for ratings, item table, spec and prior."""


@dataclass(frozen=True, slots=True)
class InMemoryEngine:
    """All rows at once, in this process."""

    interactions: Interactions
    item_table: ItemTable
    spec: FeatureSpec
    prior: float

    def describe(self, asked: Queries) -> RawFeatures:
        """See `RawFeatures.describe`."""
        known = (self.interactions, asked, self.item_table, self.spec.history, self.prior)
        return RawFeatures.describe(*known, wanted=self.spec.reads)

    def fit(
        self, fresh: RawFeatures, stale: Sequence[RawFeatures], previous: Transform | None
    ) -> Transform:
        """See `Transform.fit`."""
        return Transform.fit(self.spec, self.prior, fresh, previous, stale)

    def encode(self, transform: Transform, parts: list[RawFeatures]) -> EncodedRows:
        """See `FeatureEngine.encode`; by blocks, so that what lies in between stays small."""
        return EncodedRows.concatenate(_by_blocks(transform, parts))

    def count(self, transform: Transform, rows: RawFeatures, label: Labels) -> FeatureSupport:
        """See `FeatureSupport.count`; by blocks, as `encode` is."""
        return FeatureSupport.total(
            FeatureSupport.count(
                transform.fired(rows.select_rows(block)), label[block], transform.wide_size
            )
            for block in _blocks(len(rows))
        )


def _by_blocks(transform: Transform, parts: list[RawFeatures]) -> Iterator[EncodedRows]:
    for rows in drain(parts):
        for block in _blocks(len(rows)):
            yield transform.encode(rows.select_rows(block))


def _blocks(rows: int) -> list[NDArray[np.int64]]:
    return np.array_split(np.arange(rows), -(-rows // _BLOCK) or 1)

"""Where features are computed, fitted and encoded: the `FeatureEngine` protocol.

`InMemoryEngine` works in this process. Engines for data that does not fit into memory, or for a
cluster, live elsewhere and keep their rows there; all engines return the same, to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features.attributes import FeatureTables
from widedeep.features.encoded import EncodedRows, FeatureSupport
from widedeep.features.history import Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform
from widedeep.parallel import drain

Labels = NDArray[np.bool_]

_BLOCK = 500_000
"""Rows that are encoded at once: the intermediate results are several times their size."""


class FeatureRows(Protocol):
    """Rows whose raw features an engine has computed.

    Only their queries need be in this process; the features may be on disk or on a cluster.
    `RawFeatures` is the case where everything is here.
    """

    @property
    def queries(self) -> Queries:
        """The queries of the rows, in their order."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def select_rows(self, rows: NDArray[np.int64]) -> Self:
        """Return the given rows (n,), in that order; no row may be given twice."""


RowsT = TypeVar("RowsT", bound=FeatureRows)


class FeatureEngine(Protocol[RowsT]):
    """Computes, fits and encodes features, with rows of its own kind."""

    def compute_features(self, queries: Queries) -> RowsT:
        """Compute history and attributes of each query, see `RawFeatures.compute`."""

    def fit(self, fresh: RowsT, stale: Sequence[RowsT], previous: Transform | None) -> Transform:
        """Fit a transform on `fresh` rows and their `stale` copies, see `Transform.fit`."""

    def encode(self, transform: Transform, parts: list[RowsT]) -> EncodedRows:
        """Encode the rows of all parts, one part after another, see `Transform.encode`.

        The list is emptied on the way, because raw rows take more memory than encoded ones.
        """

    def count_support(self, transform: Transform, rows: RowsT, label: Labels) -> FeatureSupport:
        """Count the wide features that fire in the rows, whose labels are bool (rows,)."""


EngineFactory = Callable[[Interactions, FeatureTables, FeatureSpec, float], FeatureEngine[Any]]
"""Makes an engine for given interactions, tables, spec and prior."""


@dataclass(frozen=True, slots=True)
class InMemoryEngine:
    """The `FeatureEngine` that keeps all rows in this process."""

    interactions: Interactions
    tables: FeatureTables
    spec: FeatureSpec
    prior: float

    def compute_features(self, queries: Queries) -> RawFeatures:
        """Compute history and attributes of each query, see `RawFeatures.compute`."""
        history, columns = self.spec.history, self.spec.history_columns
        return RawFeatures.compute(
            self.interactions, queries, self.tables, history, self.prior, columns=columns
        )

    def fit(
        self, fresh: RawFeatures, stale: Sequence[RawFeatures], previous: Transform | None
    ) -> Transform:
        """Fit a transform, see `Transform.fit`."""
        return Transform.fit(self.spec, self.prior, fresh, previous, stale)

    def encode(self, transform: Transform, parts: list[RawFeatures]) -> EncodedRows:
        """Encode block by block, so that intermediate results stay small; empty `parts`."""
        return EncodedRows.concatenate(_encode_blocks(transform, parts))

    def count_support(
        self, transform: Transform, rows: RawFeatures, label: Labels
    ) -> FeatureSupport:
        """Count block by block the wide features that fire; `label` is bool (rows,)."""
        return FeatureSupport.total(
            FeatureSupport.count(
                transform.wide_ids(rows.select_rows(block)), label[block], transform.wide_size
            )
            for block in _blocks(len(rows))
        )


def _encode_blocks(transform: Transform, parts: list[RawFeatures]) -> Iterator[EncodedRows]:
    for rows in drain(parts):
        for block in _blocks(len(rows)):
            yield transform.encode(rows.select_rows(block))


def _blocks(rows: int) -> list[NDArray[np.int64]]:
    return np.array_split(np.arange(rows), -(-rows // _BLOCK) or 1)

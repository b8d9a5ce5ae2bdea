"""Where raw columns are made, fitted and encoded; `InMemory` is here, others may be elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue
from widedeep.features.encoded import Encoded
from widedeep.features.evidence import Evidence
from widedeep.features.history import Queries
from widedeep.features.one_by_one import emptied
from widedeep.features.raw_columns import RawColumns
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform

Labels = NDArray[np.bool_]

_BLOCK = 500_000
"""Rows that are encoded at once: what lies in between takes several times what they do."""


class Columns(Protocol):
    """Described rows; only their queries need be here."""

    @property
    def queries(self) -> Queries:
        """The rows that are described."""

    def __len__(self) -> int:
        """Number of rows."""

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The named rows, in that order, none of them twice."""


Held = TypeVar("Held", bound=Columns)


class FeatureEngine(Protocol[Held]):
    """All engines find the same, to the bit."""

    def describe(self, asked: Queries) -> Held:
        """History and attributes of each query."""

    def fit(self, fresh: Held, stale: Sequence[Held], previous: Transform | None) -> Transform:
        """See `Transform.fit`."""

    def encode(self, transform: Transform, parts: list[Held]) -> Encoded:
        """The rows of all parts, one after another, see `Transform.encode`.

        The list is emptied on the way: raw rows take more memory than encoded ones.
        """

    def count(self, transform: Transform, rows: Held, label: Labels) -> Evidence:
        """What the wide features that fire in the rows rest on, see `Evidence`."""


FeatureEngines = Callable[[RatingLog, Catalogue, FeatureSpec, float], FeatureEngine[Any]]
"""Makes one for ratings, catalogue, spec and prior."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """All rows at once, in this process."""

    log: RatingLog
    catalogue: Catalogue
    spec: FeatureSpec
    prior: float

    def describe(self, asked: Queries) -> RawColumns:
        """See `RawColumns.describe`."""
        known = (self.log, asked, self.catalogue, self.spec.history, self.prior)
        return RawColumns.describe(*known, wanted=self.spec.reads)

    def fit(
        self, fresh: RawColumns, stale: Sequence[RawColumns], previous: Transform | None
    ) -> Transform:
        """See `Transform.fit`."""
        return Transform.fit(self.spec, self.prior, fresh, previous, stale)

    def encode(self, transform: Transform, parts: list[RawColumns]) -> Encoded:
        """See `FeatureEngine.encode`; by blocks, so that what lies in between stays small."""
        return Encoded.concatenate(_by_blocks(transform, parts))

    def count(self, transform: Transform, rows: RawColumns, label: Labels) -> Evidence:
        """See `Evidence.count`; by blocks, as `encode` is."""
        return Evidence.total(
            Evidence.count(transform.fired(rows.take(block)), label[block], transform.wide_size)
            for block in _blocks(len(rows))
        )


def _by_blocks(transform: Transform, parts: list[RawColumns]) -> Iterator[Encoded]:
    for rows in emptied(parts):
        for block in _blocks(len(rows)):
            yield transform.encode(rows.take(block))


def _blocks(rows: int) -> list[NDArray[np.int64]]:
    return np.array_split(np.arange(rows), -(-rows // _BLOCK) or 1)

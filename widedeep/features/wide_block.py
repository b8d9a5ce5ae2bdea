"""The wide part's ids, read back: which block an id belongs to and which ids its parts have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WideBlock:
    """Consecutive wide ids that stand for one feature or one cross.

    Attributes:
        name: That of the feature or the cross.
        first: The block's first wide id.
        features: The features it combines, one for a raw feature.
        parts: For each of them its own ids, int64 (n,), by position within the block.
    """

    name: str
    first: int
    features: tuple[str, ...]
    parts: tuple[Ids, ...]

    def __len__(self) -> int:
        """Number of its wide ids."""
        return len(self.parts[0])

    @property
    def ids(self) -> slice:
        """Where it lies in arrays over all wide ids."""
        return slice(self.first, self.first + len(self))

    def is_memory(self, spec: FeatureSpec) -> bool:
        """Whether it pairs what a user met before with a candidate, as liked x movie does."""
        return self.features in {(bag.name, bag.vocabulary_of) for bag in spec.bags}


def wide_blocks(transform: Transform) -> tuple[WideBlock, ...]:
    """All blocks in the order of their ids."""
    spec, first = transform.spec, transform.wide_offsets
    ends = dict(zip(first, [*first.values()][1:], strict=False))
    raw = [
        WideBlock(name, first[name], (name,), (np.arange(ends[name] - first[name]),))
        for name in spec.wide
    ]
    crosses = [
        WideBlock(cross.name, first[cross.name], cross.parts, tuple(vocabulary.parts()))
        for cross, vocabulary in zip(spec.crosses, transform.crosses, strict=True)
    ]
    return (*raw, *crosses)

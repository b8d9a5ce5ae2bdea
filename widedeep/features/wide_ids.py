"""The wide part's ids, read back: which block an id belongs to and which ids its parts have.

Which wide features of two models are the same: by token, whatever became of the ids.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from widedeep.features.quantiles import QuantileNormaliser
from widedeep.features.ragged import Ragged
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import OUT_OF_VOCABULARY

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
        """Whether it pairs what a user met before with a candidate, as liked x item does."""
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


ABSENT = -1
"""The translation of a feature that the other model does not have."""


def match_wide_ids(old: Transform, new: Transform) -> Ids:
    """For each wide id of `old`, that of the same feature in `new`; int64 (old.wide_size,).

    A block is the same by its name, a value by its token, a bucket by its range, and a cross by
    all of its parts. The two may have different features.
    """
    found = np.full(old.wide_size, ABSENT, np.int64)
    there = {block.name: block for block in wide_blocks(new)}
    for block in wide_blocks(old):
        if block.name in there and there[block.name].features == block.features:
            found[block.ids] = _translate(block, there[block.name], old, new)
    return found


def _translate(block: WideBlock, there: WideBlock, old: Transform, new: Transform) -> Ids:
    parts = [
        _same(feature, old, new)[ids]
        for feature, ids in zip(block.features, block.parts, strict=True)
    ]
    if len(parts) == 1:
        places = parts[0]
    else:
        names = [cross.name for cross in new.spec.crosses]
        places = _crossed(parts, new, names.index(block.name))
    return np.where(places == ABSENT, ABSENT, places + there.first)


def _same(feature: str, old: Transform, new: Transform) -> Ids:
    """For each id of a feature in `old`, the id in `new`."""
    if feature in old.normalisers and feature in new.normalisers:
        return _same_ranges(old.normalisers[feature], new.normalisers[feature])
    found = new.vocabulary_of(feature).encode(old.vocabulary_of(feature).tokens)
    known = np.where(found == OUT_OF_VOCABULARY, ABSENT, found.astype(np.int64))
    return np.concatenate([[OUT_OF_VOCABULARY], known])


def _same_ranges(old: QuantileNormaliser, new: QuantileNormaliser) -> Ids:
    """By both ends of the range; no bucket (0) and the missing value (1) stay what they are."""
    place = {ends: i + 2 for i, ends in enumerate(_ends(new))}
    return np.array([0, 1, *(place.get(ends, ABSENT) for ends in _ends(old))], np.int64)


def _ends(normaliser: QuantileNormaliser) -> list[tuple[float, float]]:
    cuts = [-np.inf, *normaliser.boundaries.tolist(), np.inf]
    return [*pairwise(cuts)]


def _crossed(parts: list[NDArray[np.int64]], new: Transform, index: int) -> Ids:
    """Position of each combination of `new`'s ids within its cross."""
    vocabulary = new.crosses[index]
    known = np.all([ids != ABSENT for ids in parts], axis=0)
    found = vocabulary.encode([Ragged.singles(ids[known]) for ids in parts])
    places = np.full(len(known), ABSENT, np.int64)
    places[np.flatnonzero(known)[found.lengths > 0]] = found.values
    return places

"""Wide ids read back: the block each belongs to, and the codes of the features it stands for.

`wide_blocks` lists the blocks of a transform. `match_wide_ids` finds for each wide feature of one
model the same feature in another, by the ids in the data, whatever became of the codes.
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

Ints = NDArray[np.int64]

ABSENT = -1
"""The match of a feature that the other model does not have."""


@dataclass(frozen=True, slots=True)
class WideBlock:
    """Consecutive wide ids that stand for one feature or one cross.

    Attributes:
        name: Name of the feature or the cross.
        first: The block's first wide id.
        features: The features it combines; one for a raw feature.
        codes: For each of these features its codes, int64 (n,), by position within the block.
    """

    name: str
    first: int
    features: tuple[str, ...]
    codes: tuple[Ints, ...]

    def __len__(self) -> int:
        """Return the number of wide ids in the block."""
        return len(self.codes[0])

    @property
    def wide_ids(self) -> slice:
        """The block's wide ids, as a slice of arrays over all wide ids."""
        return slice(self.first, self.first + len(self))

    def is_memory(self, spec: FeatureSpec) -> bool:
        """Return whether it pairs a remembered item with the candidate, as liked x item does."""
        return self.features in {(bag.name, bag.vocabulary_of) for bag in spec.bags}


def wide_blocks(transform: Transform) -> tuple[WideBlock, ...]:
    """Return all blocks of a transform in the order of their wide ids."""
    spec, first = transform.spec, transform.wide_offsets
    ends = dict(zip(first, [*first.values()][1:], strict=False))
    raw = [
        WideBlock(name, first[name], (name,), (np.arange(ends[name] - first[name]),))
        for name in spec.wide
    ]
    crosses = [
        WideBlock(cross.name, first[cross.name], cross.parts, tuple(vocabulary.part_codes()))
        for cross, vocabulary in zip(spec.crosses, transform.crosses, strict=True)
    ]
    return (*raw, *crosses)


def match_wide_ids(old: Transform, new: Transform) -> Ints:
    """Return, for each wide id of `old`, that of the same feature in `new`; else `ABSENT`.

    int64 (old.wide_size,). Blocks match by name, values by their id in the data, buckets by their
    range, crosses by all of their parts. The two transforms may have different features.
    """
    wide_ids = np.full(old.wide_size, ABSENT, np.int64)
    new_blocks = {block.name: block for block in wide_blocks(new)}
    for block in wide_blocks(old):
        if block.name in new_blocks and new_blocks[block.name].features == block.features:
            wide_ids[block.wide_ids] = _match_block(block, new_blocks[block.name], old, new)
    return wide_ids


def _match_block(block: WideBlock, new_block: WideBlock, old: Transform, new: Transform) -> Ints:
    parts = [
        _match_codes(feature, old, new)[codes]
        for feature, codes in zip(block.features, block.codes, strict=True)
    ]
    if len(parts) == 1:
        positions = parts[0]
    else:
        names = [cross.name for cross in new.spec.crosses]
        positions = _match_cross(parts, new, names.index(block.name))
    return np.where(positions == ABSENT, ABSENT, positions + new_block.first)


def _match_codes(feature: str, old: Transform, new: Transform) -> Ints:
    """Return, for each code of a feature in `old`, its code in `new`."""
    if feature in old.normalisers and feature in new.normalisers:
        return _match_ranges(old.normalisers[feature], new.normalisers[feature])
    codes = new.vocabulary_of(feature).encode(old.vocabulary_of(feature).ids)
    matches = np.where(codes == OUT_OF_VOCABULARY, ABSENT, codes.astype(np.int64))
    return np.concatenate([[OUT_OF_VOCABULARY], matches])


def _match_ranges(old: QuantileNormaliser, new: QuantileNormaliser) -> Ints:
    """Match buckets by both ends of their range.

    The codes of an unknown bucket (0) and of a missing value (1) stay what they are.
    """
    codes = {ends: i + 2 for i, ends in enumerate(_ranges(new))}
    return np.array([0, 1, *(codes.get(ends, ABSENT) for ends in _ranges(old))], np.int64)


def _ranges(normaliser: QuantileNormaliser) -> list[tuple[float, float]]:
    return [*pairwise([-np.inf, *normaliser.boundaries.tolist(), np.inf])]


def _match_cross(parts: list[Ints], new: Transform, index: int) -> Ints:
    """Return the position of each combination of `new`'s codes within its cross."""
    is_known = np.all([codes != ABSENT for codes in parts], axis=0)
    matches = new.crosses[index].encode([Ragged.one_per_row(codes[is_known]) for codes in parts])
    positions = np.full(len(is_known), ABSENT, np.int64)
    positions[np.flatnonzero(is_known)[matches.lengths > 0]] = matches.values
    return positions

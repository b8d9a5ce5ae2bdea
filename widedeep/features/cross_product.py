"""Cross-product features: φ(x) = 1 where all of their parts are present (paper, equation 1).

A cross is keyed by the tuple of its parts' vocabulary ids, packed exactly into one integer, never
by joined text. Parts may be bags: a row then fires every combination it holds. A combination that
has an unknown part, or was seen too rarely, fires nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.errors import InputError
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import count_tokens

LARGEST_KEY = 2**63 - 1
Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CrossVocabulary:
    """`keys` (int64, sorted) of the kept combinations; `sizes` are the parts' vocabulary sizes."""

    keys: Keys
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        """Number of kept combinations; their ids are 0, 1, … in the order of the keys."""
        return len(self.keys)

    @classmethod
    def fit(cls, combinations: Ragged, sizes: tuple[int, ...], minimum_support: int) -> Self:
        """Keep combinations that stand in at least `minimum_support` rows (see `combine`)."""
        return cls.of_counts(*count_tokens(combinations.values), sizes, minimum_support)

    @classmethod
    def of_counts(
        cls, keys: Keys, support: NDArray[np.int64], sizes: tuple[int, ...], minimum_support: int
    ) -> Self:
        """Keep those of the distinct `keys` (n,) that have at least `minimum_support`."""
        return cls(np.sort(keys[support >= minimum_support]), sizes)

    def encode(self, combinations: Ragged) -> Ragged:
        """Ids (int32) of the kept combinations of each row; the others fall away."""
        if not len(self.keys):
            return Ragged(np.empty(0, np.int32), np.zeros(len(combinations) + 1, np.int64))
        place = np.searchsorted(self.keys, combinations.values).clip(max=len(self.keys) - 1)
        kept = self.keys[place] == combinations.values
        lengths = np.bincount(combinations.row_numbers()[kept], minlength=len(combinations))
        return Ragged.from_lengths(place[kept].astype(np.int32), lengths)

    def parts(self) -> list[NDArray[np.int64]]:
        """The ids of each part, one array of shape (len(self),) a part."""
        return unpack(self.keys, self.sizes)


def combine(parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Ragged:
    """Every combination of the parts' ids in each row, as packed keys (int64).

    `parts` hold ids ≥ 1 (0, the unknown, combines with nothing), each below its entry in `sizes`.
    The order within a row follows the parts' own order, so it does not depend on ids.
    """
    _check_room(sizes)
    known = _known(parts[0])
    combined = known.replace(known.values.astype(np.int64))
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        combined = _pair(combined, _known(part), size)
    return combined


def pack(parts: Sequence[NDArray[Any]], sizes: tuple[int, ...]) -> Keys:
    """The key of each tuple of ids: mixed-radix digits, exact and reversible."""
    _check_room(sizes)
    keys = parts[0].astype(np.int64)
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        keys = keys * size + part
    return keys


def unpack(keys: Keys, sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """The reverse of `pack`."""
    parts = []
    for size in sizes[:0:-1]:
        keys, part = np.divmod(keys, size)
        parts.append(part)
    return [keys, *reversed(parts)]


def _pair(left: Ragged, right: Ragged, size: int) -> Ragged:
    """All of `left` with all of `right` in each row."""
    lengths = left.lengths * right.lengths
    repeats = np.repeat(right.lengths, left.lengths)
    first = np.repeat(left.values, repeats)
    start = np.repeat(np.repeat(right.offsets[:-1], left.lengths), repeats)
    begin = np.repeat(np.cumsum(repeats) - repeats, repeats)
    second = right.values[start + np.arange(len(first)) - begin]
    return Ragged.from_lengths(first * size + second, lengths)


def _known(part: Ragged) -> Ragged:
    kept = part.values > 0
    if kept.all():
        return part
    lengths = np.bincount(part.row_numbers()[kept], minlength=len(part))
    return Ragged.from_lengths(part.values[kept], lengths)


def _check_room(sizes: tuple[int, ...]) -> None:
    room = 1
    for size in sizes:
        room *= size
    if room > LARGEST_KEY:
        raise InputError(
            f"a cross of vocabularies of {sizes} ids has {room} combinations, more than "
            f"{LARGEST_KEY}: raise a minimum count or cross fewer features"
        )

"""Keys of combinations: the tuple of their parts' vocabulary ids, packed into one integer.

Exact and reversible, never a joined text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widedeep.errors import InputError
from widedeep.features.ragged import Ragged

LARGEST_KEY = 2**63 - 1
Keys = NDArray[np.int64]


def combine(parts: Sequence[Ragged], sizes: tuple[int, ...]) -> Ragged:
    """Every combination of the parts' ids in each row, as packed keys (int64).

    `parts` hold ids ≥ 1 (0, the unknown, combines with nothing), each below its entry in `sizes`.
    The order within a row follows the parts' own order, so it does not depend on ids.
    """
    check_room(sizes)
    known = _known(parts[0])
    combined = known.replace(known.values.astype(np.int64))
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        combined = _pair(combined, _known(part), size)
    return combined


def pack(parts: Sequence[NDArray[Any]], sizes: tuple[int, ...]) -> Keys:
    """The key of each tuple of ids: mixed-radix digits, exact and reversible."""
    check_room(sizes)
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


def check_room(sizes: tuple[int, ...]) -> None:
    """Raise InputError if 64 bits have no room for the keys of parts of these vocabularies."""
    room = 1
    for size in sizes:
        room *= size
    if room > LARGEST_KEY:
        raise InputError(
            f"a cross of vocabularies of {sizes} ids has {room} combinations, more than "
            f"{LARGEST_KEY}: raise a minimum count or cross fewer features"
        )


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

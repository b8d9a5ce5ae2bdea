"""Vocabularies: which ids a feature knows, and the dense code of each (paper, section 4.1).

An id is a value as it stands in the data (int64 or str); its code is its index in a vocabulary. A
`Vocabulary` keeps the ids that occur often enough; all other ids share the code
`OUT_OF_VOCABULARY`. An `IndexedBag` holds rows of ids that repeat a lot: each distinct id once, and
in the rows only its position.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.compiled import compiled
from widedeep.features.ragged import Ragged

OUT_OF_VOCABULARY = 0
"""The code of every id that is not in a vocabulary; it is trained on the rare ids."""

Counts = tuple[NDArray[Any], NDArray[np.int64]]
"""Distinct ids (or keys of crosses) and the number of occurrences of each, (n,) both."""

_MAXIMUM_SPAN = 64
"""Integer ids get a lookup table if they span at most this many integers per id."""


@dataclass(frozen=True)
class Vocabulary:
    """`ids` (sorted, unique; int64 or str) have the codes 1, 2, …; all other ids have the code 0.

    Codes are int32. `len` counts the codes, the one for out-of-vocabulary ids included.
    """

    ids: NDArray[Any]

    def __len__(self) -> int:
        """Return the number of codes, including the one for out-of-vocabulary ids."""
        return len(self.ids) + 1

    @classmethod
    def fit(cls, ids: NDArray[Any], minimum_count: int) -> Self:
        """Keep the ids that occur at least `minimum_count` times in `ids`, shape (n,)."""
        return cls.from_counts(*count_distinct(ids), minimum_count)

    @classmethod
    def from_counts(cls, ids: NDArray[Any], counts: NDArray[np.int64], minimum_count: int) -> Self:
        """Keep those of the distinct `ids` (n,) whose count is at least `minimum_count`."""
        frequent = np.sort(_comparable(ids[counts >= minimum_count]))
        return cls(frequent.astype(ids.dtype))

    def encode(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        """Return the code of each id, int32 of the same shape (n,)."""
        if ids.dtype == np.int64 and self._table is not None:
            return _look_up_integers(ids, self._table, self.ids[0])
        positions, distinct = pd.factorize(ids)
        codes: NDArray[np.int32] = self._look_up(np.asarray(distinct, self.ids.dtype))[positions]
        return codes

    def decode(self, codes: NDArray[np.integer]) -> NDArray[Any]:
        """Return the id of each code (n,); codes must be at least 1."""
        ids: NDArray[Any] = self.ids[codes - 1]
        return ids

    @cached_property
    def _table(self) -> NDArray[np.int32] | None:
        """Code by integer, from the lowest id on; None if ids are no integers or too far apart."""
        if self.ids.dtype != np.int64 or not len(self.ids):
            return None
        span = int(self.ids[-1]) - int(self.ids[0]) + 1
        if span > _MAXIMUM_SPAN * len(self.ids):
            return None
        table = np.full(span, OUT_OF_VOCABULARY, np.int32)
        table[self.ids - self.ids[0]] = np.arange(1, len(self))
        return table

    def _look_up(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        if not len(self.ids):
            return np.zeros(len(ids), np.int32)
        ids, known_ids = _comparable(ids), _comparable(self.ids)
        positions = np.searchsorted(known_ids, ids).clip(max=len(known_ids) - 1)
        is_known = known_ids[positions] == ids
        return np.where(is_known, positions + 1, OUT_OF_VOCABULARY).astype(np.int32)


def count_distinct(ids: NDArray[Any], times: NDArray[np.int64] | None = None) -> Counts:
    """Count how often each distinct id (or key) occurs in `ids`, shape (n,).

    Args:
        ids: int64 or str, (n,).
        times: How many occurrences each entry of `ids` stands for, (n,); one each by default. An
            id without any occurrence is left out.
    """
    positions, distinct = pd.factorize(ids)
    counts = np.bincount(positions, times, len(distinct)).astype(np.int64)
    occurs = counts > 0
    return np.asarray(distinct, ids.dtype)[occurs], counts[occurs]


def _comparable(ids: NDArray[Any]) -> NDArray[Any]:
    """Turn numpy strings into Python strings.

    The search of numpy 2.4 reads wrong memory for strings of more than 15 bytes.
    """
    return ids.astype(object) if ids.dtype.kind == "T" else ids


@compiled
def _look_up_integers(
    ids: NDArray[np.int64], table: NDArray[np.int32], lowest: int
) -> NDArray[np.int32]:
    codes = np.full(len(ids), OUT_OF_VOCABULARY, np.int32)
    for i in range(len(ids)):
        position = ids[i] - lowest
        if 0 <= position < len(table):
            codes[i] = table[position]
    return codes


@dataclass(frozen=True, slots=True)
class IndexedBag:
    """Rows of ids: `codes` (int32 values) are positions in the distinct `ids`, int64.

    It takes half the memory of int64 rows, and a vocabulary looks up each distinct id once instead
    of once a row.
    """

    codes: Ragged
    ids: NDArray[np.int64]

    @classmethod
    def from_ragged(cls, bag: Ragged) -> Self:
        """Index rows of int64 ids: store each distinct id once."""
        ids, codes = np.unique(bag.values, return_inverse=True)
        return cls(bag.with_values(codes.astype(np.int32)), ids)

    @classmethod
    def empty(cls, rows: int) -> Self:
        """Return `rows` rows without any id."""
        codes = Ragged.from_lengths(np.empty(0, np.int32), np.zeros(rows, np.int64))
        return cls(codes, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    def select_rows(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "IndexedBag":
        """Return the given rows, see `Ragged.select_rows`."""
        return IndexedBag(self.codes.select_rows(rows), self.ids)

    def decode(self) -> Ragged:
        """Return the rows with their int64 ids as values."""
        return self.codes.with_values(np.take(self.ids, self.codes.values))

    def encode(self, vocabulary: Vocabulary) -> Ragged:
        """Return the rows in the codes of a vocabulary, int32."""
        return self.codes.with_values(np.take(vocabulary.encode(self.ids), self.codes.values))

    def count(self) -> Counts:
        """Count how often each id occurs in all rows; ids without an occurrence are left out."""
        return count_distinct(self.ids, np.bincount(self.codes.values, minlength=len(self.ids)))

"""String or integer token → dense id, for tokens seen often enough (paper, section 4.1).

Bags of tokens that a table holds once: a row has places in it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from widedeep.features.ragged import Ragged

OUT_OF_VOCABULARY = 0
"""The id of every token that is not in a vocabulary; it is trained on the rare tokens."""

Counts = tuple[NDArray[Any], NDArray[np.int64]]
"""Distinct tokens or keys, and how often each stands there; (n,) both."""

_SPARSE = 64
"""Numbers of which fewer than every so-manieth is a token are not looked up in a table."""


@dataclass(frozen=True)
class Vocabulary:
    """`tokens` (sorted, unique; int64 or str) have the ids 1, 2, …; all others the id 0."""

    tokens: NDArray[Any]

    def __len__(self) -> int:
        """Number of ids, with the one for out-of-vocabulary."""
        return len(self.tokens) + 1

    @classmethod
    def fit(cls, tokens: NDArray[Any], minimum_count: int) -> Self:
        """Keep the tokens that stand at least `minimum_count` times in `tokens`, shape (n,)."""
        return cls.of_counts(*count_tokens(tokens), minimum_count)

    @classmethod
    def of_counts(cls, tokens: NDArray[Any], counts: NDArray[np.int64], minimum_count: int) -> Self:
        """Keep those of the distinct `tokens` (n,) that have at least `minimum_count`."""
        kept = np.sort(_comparable(tokens[counts >= minimum_count]))
        return cls(kept.astype(tokens.dtype))

    def encode(self, tokens: NDArray[Any]) -> NDArray[np.int32]:
        """Ids, int32 of the shape of `tokens` (n,)."""
        if tokens.dtype == np.int64 and self._table is not None:
            return _from_table(tokens, self._table, self.tokens[0])
        codes, unique = pd.factorize(tokens)
        ids: NDArray[np.int32] = self._lookup(np.asarray(unique, self.tokens.dtype))[codes]
        return ids

    @cached_property
    def _table(self) -> NDArray[np.int32] | None:
        """The id of each number from the least token on, where tokens are numbers and dense."""
        if self.tokens.dtype != np.int64 or not len(self.tokens):
            return None
        span = int(self.tokens[-1]) - int(self.tokens[0]) + 1
        if span > _SPARSE * len(self.tokens):
            return None
        table = np.full(span, OUT_OF_VOCABULARY, np.int32)
        table[self.tokens - self.tokens[0]] = np.arange(1, len(self))
        return table

    def decode(self, ids: NDArray[np.integer]) -> NDArray[Any]:
        """Tokens of ids ≥ 1, shape (n,)."""
        tokens: NDArray[Any] = self.tokens[ids - 1]
        return tokens

    def _lookup(self, tokens: NDArray[Any]) -> NDArray[np.int32]:
        if not len(self.tokens):
            return np.zeros(len(tokens), np.int32)
        sought, held = _comparable(tokens), _comparable(self.tokens)
        place = np.searchsorted(held, sought).clip(max=len(held) - 1)
        known = held[place] == sought
        return np.where(known, place + 1, OUT_OF_VOCABULARY).astype(np.int32)


def count_tokens(tokens: NDArray[Any], times: NDArray[np.int64] | None = None) -> Counts:
    """The distinct tokens and how often each stands there, if each of (n,) stands for `times`."""
    codes, unique = pd.factorize(tokens)
    counts = np.bincount(codes, times, len(unique)).astype(np.int64)
    seen = counts > 0
    return np.asarray(unique, tokens.dtype)[seen], counts[seen]


class RunningCounts:
    """Counts of distinct tokens or keys, part by part.

    What came is added up whenever it is as much as there was, so little more is held than in the
    end, and each part is touched a few times only.
    """

    def __init__(self) -> None:
        """None yet."""
        self._held: list[Counts] = []
        self._total = 0

    def add(self, tokens: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """Each of the distinct `tokens` (n,) stands there `counts` times more."""
        self._held.append((tokens, counts))
        if sum(len(held) for held, _ in self._held) > 2 * self._total:
            self._total = len(self.total()[0])

    def total(self) -> Counts:
        """The distinct ones of all parts, and how often each stands there. There was a part."""
        if len(self._held) > 1:
            columns = zip(*self._held, strict=True)
            self._held = [count_tokens(*(np.concatenate(column) for column in columns))]
        return self._held[0]


def _comparable(tokens: NDArray[Any]) -> NDArray[Any]:
    """Strings as Python's own: numpy 2.4 looks up a long one (over 15 bytes) in wrong memory."""
    return tokens.astype(object) if tokens.dtype.kind == "T" else tokens


@njit(cache=True, nogil=True)
def _from_table(
    tokens: NDArray[np.int64], table: NDArray[np.int32], least: int
) -> NDArray[np.int32]:
    ids = np.full(len(tokens), OUT_OF_VOCABULARY, np.int32)
    for i in range(len(tokens)):
        place = tokens[i] - least
        if 0 <= place < len(table):
            ids[i] = table[place]
    return ids


@dataclass(frozen=True, slots=True)
class IndexedBag:
    """`codes` (int32 values) are places in `tokens` (int64, each at most once).

    Half the memory of tokens; and what is looked up is looked up once a token, not once a row.
    """

    codes: Ragged
    tokens: NDArray[np.int64]

    @classmethod
    def of(cls, bag: Ragged) -> Self:
        """Of rows of tokens."""
        tokens, codes = np.unique(bag.values, return_inverse=True)
        return cls(bag.replace(codes.astype(np.int32)), tokens)

    @classmethod
    def empty(cls, rows: int) -> Self:
        """So many rows without a token."""
        codes = Ragged.from_lengths(np.empty(0, np.int32), np.zeros(rows, np.int64))
        return cls(codes, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.codes)

    def select_rows(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "IndexedBag":
        """The named rows, see `Ragged.take`."""
        return IndexedBag(self.codes.select_rows(rows), self.tokens)

    def decoded(self) -> Ragged:
        """Rows of tokens."""
        return self.codes.replace(self.tokens[self.codes.values])

    def encode(self, vocabulary: Vocabulary) -> Ragged:
        """Rows of ids (int32)."""
        return self.codes.replace(vocabulary.encode(self.tokens)[self.codes.values])

    def count(self) -> Counts:
        """The distinct tokens of all rows, and how often each stands there."""
        return count_tokens(self.tokens, np.bincount(self.codes.values, minlength=len(self.tokens)))

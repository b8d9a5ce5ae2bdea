"""String or integer token → dense id, for tokens seen often enough (paper, section 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

OUT_OF_VOCABULARY = 0
"""The id of every token that is not in a vocabulary; it is trained on the rare tokens."""


@dataclass(frozen=True, slots=True)
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
        codes, unique = pd.factorize(tokens)
        ids: NDArray[np.int32] = self._lookup(np.asarray(unique, self.tokens.dtype))[codes]
        return ids

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


def count_tokens(tokens: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The distinct tokens and how often each stands there."""
    codes, unique = pd.factorize(tokens)
    return np.asarray(unique, tokens.dtype), np.bincount(codes, minlength=len(unique))


def add_counts(
    parts: Sequence[tuple[NDArray[Any], NDArray[np.int64]]],
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """What `count_tokens` finds in all parts together, from what it found in each of them."""
    tokens = np.concatenate([tokens for tokens, _ in parts])
    codes, unique = pd.factorize(tokens)
    counts = np.zeros(len(unique), np.int64)
    np.add.at(counts, codes, np.concatenate([counts for _, counts in parts]))
    return np.asarray(unique, tokens.dtype), counts


def _comparable(tokens: NDArray[Any]) -> NDArray[Any]:
    """Strings as Python's own: numpy 2.4 looks up a long one (over 15 bytes) in wrong memory."""
    return tokens.astype(object) if tokens.dtype.kind == "T" else tokens

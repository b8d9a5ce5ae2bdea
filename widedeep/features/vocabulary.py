"""String or integer token → dense id, for tokens seen often enough (paper, section 4.1)."""

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
        unique, counts = count_tokens(tokens)
        return cls(np.sort(unique[counts >= minimum_count]))

    def encode(self, tokens: NDArray[Any]) -> NDArray[np.int32]:
        """Ids, int32 of the shape of `tokens` (n,)."""
        codes, unique = pd.factorize(tokens)
        return self._lookup(np.asarray(unique, self.tokens.dtype))[codes]

    def decode(self, ids: NDArray[np.integer]) -> NDArray[Any]:
        """Tokens of ids ≥ 1, shape (n,)."""
        return self.tokens[ids - 1]

    def _lookup(self, tokens: NDArray[Any]) -> NDArray[np.int32]:
        if not len(self.tokens):
            return np.zeros(len(tokens), np.int32)
        place = np.searchsorted(self.tokens, tokens).clip(max=len(self.tokens) - 1)
        known = self.tokens[place] == tokens
        return np.where(known, place + 1, OUT_OF_VOCABULARY).astype(np.int32)


def count_tokens(tokens: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The distinct tokens and how often each stands there; counts of parts may be added up."""
    codes, unique = pd.factorize(tokens)
    return np.asarray(unique, tokens.dtype), np.bincount(codes, minlength=len(unique))

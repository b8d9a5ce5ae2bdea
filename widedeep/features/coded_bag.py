"""Bags of tokens that a table holds once: a row has places in it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import Counts, Vocabulary, count_tokens


@dataclass(frozen=True, slots=True)
class CodedBag:
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

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "CodedBag":
        """The named rows, see `Ragged.take`."""
        return CodedBag(self.codes.take(rows), self.tokens)

    def decoded(self) -> Ragged:
        """Rows of tokens."""
        return self.codes.replace(self.tokens[self.codes.values])

    def encode(self, vocabulary: Vocabulary) -> Ragged:
        """Rows of ids (int32)."""
        return self.codes.replace(vocabulary.encode(self.tokens)[self.codes.values])

    def count(self) -> Counts:
        """The distinct tokens of all rows, and how often each stands there."""
        return count_tokens(self.tokens, np.bincount(self.codes.values, minlength=len(self.tokens)))

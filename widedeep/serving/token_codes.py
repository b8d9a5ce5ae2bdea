"""Tokens ↔ consecutive codes, for tokens known at load and for those met since."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.features.catalogue import places_of

Ints = NDArray[np.int64]


class TokenCodes:
    """The n tokens of the base have the codes 0 … n - 1, in ascending order.

    n stands for every stranger. A token that is added gets the next code from n + 1 on.
    """

    def __init__(self, base: Ints) -> None:
        """`base` (n,) is in ascending order."""
        self._base = base
        self._added: dict[int, int] = {}

    @classmethod
    def of(cls, tokens: Ints) -> Self:
        """Begin with `tokens` in any order, repeats among them."""
        return cls(np.unique(tokens))

    def __len__(self) -> int:
        """Number of codes, with the stranger's."""
        return len(self._base) + 1 + len(self._added)

    @property
    def stranger(self) -> int:
        """The code of a token that is not known."""
        return len(self._base)

    @property
    def tokens(self) -> Ints:
        """All known tokens: the base in ascending order, then in the order in which they came."""
        return np.concatenate([self._base, np.array([*self._added], np.int64)])

    def code(self, token: int) -> int:
        """The code of one token."""
        place = int(self._base.searchsorted(token))
        if place < len(self._base) and self._base[place] == token:
            return place
        return self._added.get(token, self.stranger)

    def codes(self, tokens: Ints) -> Ints:
        """The code of each token, shape (n,)."""
        place = places_of(self._base, tokens)
        strange = place == self.stranger
        if self._added and strange.any():
            missed = tokens[strange].tolist()
            place[strange] = [self._added.get(token, self.stranger) for token in missed]
        return place

    def token(self, codes: Ints) -> Ints:
        """The tokens of codes that are not the stranger's, shape (n,)."""
        known = self.tokens
        found: Ints = known[np.where(codes > self.stranger, codes - 1, codes)]
        return found

    def add(self, token: int) -> int:
        """The code of a token that is known from now on."""
        code = self.code(token)
        if code == self.stranger:
            code = len(self)
            self._added[token] = code
        return code

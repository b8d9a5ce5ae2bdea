"""What a model reads of a user besides numbers: the id, and the movies liked and disliked."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.features.transform import Transform
from widedeep.serving.live_state import Reading

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UserSide:
    """Which of `user`, `liked` and `disliked` a model reads, and the ids of their tokens.

    `ids` are by code (see `LiveState`), the stranger's last: 0 for the out-of-vocabulary.
    """

    names: tuple[str, ...]
    ids: tuple[Ints, ...]

    @classmethod
    def of(cls, transform: Transform, users: Ints, movies: Ints) -> Self:
        """Look up tokens, those that have a code at the start; later ones are in no vocabulary."""
        spec = transform.spec
        names = [category.name for category in spec.categories if category.name == "user"]
        names += [bag.name for bag in spec.bags if bag.name in {"liked", "disliked"}]
        ids = [
            transform.vocabulary_of(name).encode(users if name == "user" else movies)
            for name in names
        ]
        return cls(tuple(names), tuple(np.append(known, 0).astype(np.int64) for known in ids))

    def read(self, reading: Reading) -> dict[str, Ints]:
        """The ids by name, of shape (1,) for the user, and as many as are remembered for bags."""
        codes = {
            "user": np.array([reading.user]),
            "liked": reading.liked,
            "disliked": reading.disliked,
        }
        return {
            name: ids[np.minimum(codes[name], len(ids) - 1)]
            for name, ids in zip(self.names, self.ids, strict=True)
        }

"""Nearest: films whose deep embedding lies closest to the mean of those the user liked."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.model.trained_model import TrainedModel
from widedeep.serving.weighted_lists import Ints, Scores

NAME = "nearest"
_TABLE = "movie"


@dataclass(frozen=True, slots=True)
class Nearest:
    """Embeddings of the movies, each of length 1, float32 (m, dimensions).

    `known` (m,): the model has learned an embedding of the movie's own. A model without a deep part
    or without the movie as a feature knows none.
    """

    embeddings: NDArray[np.float32]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, model: TrainedModel, movies: Ints) -> Self:
        """Read the model's table for the tokens `movies`, (m,)."""
        if _TABLE not in model.network.embeddings:
            return cls(np.zeros((len(movies), 1), np.float32), np.zeros(len(movies), np.bool_))
        ids = model.transform.vocabularies[_TABLE].encode(movies)
        vectors = model.network.embeddings[_TABLE].detach().cpu().numpy()[ids]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(vectors / np.maximum(lengths, 1e-12), ids > 0)

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """Cosine to the mean of the liked rows plus 1, in [0, 2]; 0 for movies that aren't known.

        All 0 where none of the liked ones is known.
        """
        held = self.known[liked]
        if not held.any():
            return np.zeros(len(self.known))
        mean = factors[held].astype(np.float32) @ self.embeddings[liked[held]]
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
        return np.where(self.known, 1.0 + self.embeddings @ mean, 0.0)

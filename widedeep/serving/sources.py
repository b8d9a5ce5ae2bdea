"""The sources of candidates, and what rules ask of the movies that they name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import pyarrow as pa

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue
from widedeep.model.trained_model import TrainedModel
from widedeep.serving import co_liked, nearest, shared_attributes
from widedeep.serving.co_liked import CoLiked
from widedeep.serving.nearest import Nearest
from widedeep.serving.popularity import Popularity
from widedeep.serving.retrieval_config import RetrievalConfig
from widedeep.serving.rules import Ruled
from widedeep.serving.shared_attributes import SharedAttributes
from widedeep.serving.weighted_lists import Ints, Scores


class OfTaste(Protocol):
    """A source that goes by what the user liked."""

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """How much each movie belongs to the liked rows, each with a factor; 0: not at all."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """By row of a catalogue; popularity grows by every like."""

    ruled: Ruled
    popular: Popularity
    co_liked: CoLiked
    similar: SharedAttributes
    nearest: Nearest

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        log: RatingLog,
        catalogue: Catalogue,
        movies: pa.Table,
        config: RetrievalConfig,
    ) -> Self:
        """Observe `log`; `movies` is the table the catalogue was read from.

        A rating is a like if it is a positive label to the model.
        """
        rows, count = catalogue.rows(log.movie), len(catalogue.movies)
        positive = model.transform.spec.history.positive(log.rate)
        likes = np.flatnonzero(positive & (rows < count))
        popular = Popularity.of(count, config.half_life)
        popular.take(rows[likes], log.time[likes])
        return cls(
            Ruled.of(catalogue, movies),
            popular,
            CoLiked.of(log.user[likes], rows[likes], count, config.co_liked),
            SharedAttributes.of(catalogue),
            Nearest.of(model, catalogue.movies),
        )

    def of_taste(self) -> Iterator[tuple[str, OfTaste]]:
        """Those that go by what a user liked, by name."""
        yield co_liked.NAME, self.co_liked
        yield shared_attributes.NAME, self.similar
        yield nearest.NAME, self.nearest

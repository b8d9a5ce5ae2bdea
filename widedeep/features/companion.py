"""What a registered model carries beside its weights, as `tasks.companion` writes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Companion:
    """What was known when the model was registered.

    Attributes:
        log: The ratings.
        movies: What is known of each movie, see `movies.MOVIE_COLUMNS`.
        people: Their names, see `movies.PEOPLE_COLUMNS`.
        catalogue: The movies' attributes.
    """

    log: RatingLog
    movies: pa.Table
    people: pa.Table
    catalogue: Catalogue

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a registered model's folder `history`."""
        movies = pq.read_table(folder / "movies.parquet")
        return cls(
            RatingLog.load(folder / "ratings.parquet"),
            movies,
            pq.read_table(folder / "people.parquet"),
            Catalogue.from_table(movies),
        )

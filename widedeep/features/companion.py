"""What a registered model carries beside its weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from widedeep.artifact_store import file_digest
from widedeep.columns import read_small
from widedeep.data.ratings import RatingLog
from widedeep.features.catalogue import Catalogue

_RATINGS, _MOVIES, _PEOPLE = "ratings.parquet", "movies.parquet", "people.parquet"


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
    def of(cls, log: RatingLog, movies: pa.Table, people: pa.Table) -> Self:
        """What is known, with its catalogue."""
        return cls(log, movies, people, Catalogue.from_table(movies))

    def save(self, folder: Path) -> None:
        """Write everything into `folder`."""
        self.log.save(folder / _RATINGS)
        pq.write_table(self.movies, folder / _MOVIES)
        pq.write_table(self.people, folder / _PEOPLE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a registered model's folder `history`."""
        return cls.of(RatingLog.load(folder / _RATINGS), *film_tables(folder))


def film_tables(folder: Path) -> tuple[pa.Table, pa.Table]:
    """Movies and people of a registered model's folder `history`, without its ratings."""
    return read_small(folder / _MOVIES), read_small(folder / _PEOPLE)


def film_digests(folder: Path) -> tuple[str, str]:
    """Those of the files that `film_tables` reads."""
    return file_digest(folder / _MOVIES), file_digest(folder / _PEOPLE)

"""A small world of ratings and films in the form that ingest leaves."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from widedeep.data.tables import MOVIE_COLUMNS, Interactions
from widedeep.features.history import Queries
from widedeep.features.items import Items
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec, Number

GENRES = ("드라마", "코미디", "액션", "애니메이션")
GRADES = ("전체 관람가", "12세 관람가", None, "PG-13")
SPEC = FeatureSpec(
    categories=(Category("user", 4), Category("movie", 8), Category("grade", 1)),
    bags=(
        Bag("genres", 2),
        Bag("leading", 12),
        Bag("liked", vocabulary_of="movie"),
        Bag("disliked", vocabulary_of="movie"),
    ),
    numbers=(Number("expected_logit", 10), Number("user_recency", 5), Number("film_age", 4)),
    buckets=(Bucket("expected_logit", 6), Bucket("user_recency", 3)),
    crosses=(
        Cross(("liked", "movie"), 2),
        Cross(("genres", "grade", "expected_logit_bucket"), 3),
        Cross(("genres", "leading"), 15),
    ),
    wide=("movie", "genres", "leading", "user_recency_bucket"),
)
PRIOR = 0.6


@dataclass(frozen=True)
class World:
    log: Interactions
    catalogue: Items
    spec: FeatureSpec = SPEC
    prior: float = PRIOR

    def queries(self, rows=slice(None)):
        time = self.log.time[rows]
        return Queries(self.log.user[rows], self.log.movie[rows], time, time)

    def describe(self, queries=None, log=None):
        asked = self.queries() if queries is None else queries
        return RawFeatures.describe(
            self.log if log is None else log, asked, self.catalogue, self.spec.history, self.prior
        )


def movie_table():
    """24 films; some lack a year, a grade, genres or a cast."""
    films = range(100, 124)
    return pa.table(
        {
            "movie": list(films),
            "title": [f"영화 {i}" for i in films],
            "title_eng": [f"Film {i}" for i in films],
            "release_year": [2019] * 24,
            "original_year": [None if i % 5 == 0 else 1980 + i % 30 for i in films],
            "grade": [GRADES[i % 4] for i in films],
            "genres": [list(dict.fromkeys((GENRES[i % 4], GENRES[i % 3])))[: i % 7] for i in films],
            "countries": [["한국"] for _ in films],
            "people": [[i, i + 1, 7] for i in films],
            "leading": [[i // 2, 7][: i % 3] for i in films],
        },
        schema=MOVIE_COLUMNS,
    )


def rating_log(seed=0, ratings=700):
    """Distinct pairs of 90 users and 26 films (2 unknown to the catalogue), in whole hours."""
    generator = np.random.default_rng(seed)
    pairs = generator.choice(90 * 26, ratings, replace=False)
    user, movie = pairs // 26 + 1, pairs % 26 + 100
    time = 1_200_000_000 + 3600 * generator.integers(0, 5000, ratings)
    rate = np.where(generator.random(ratings) < 0.6, 10, generator.integers(1, 10, ratings))
    order = np.lexsort((movie, user, time))
    return Interactions(user[order], movie[order], rate[order].astype(np.int8), time[order])


@pytest.fixture(scope="session")
def world():
    return World(rating_log(), Items.from_table(movie_table()))


@pytest.fixture
def movies():
    return movie_table()

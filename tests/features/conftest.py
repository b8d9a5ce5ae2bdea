"""A small world of ratings and items in the form that ingest leaves."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from widedeep.data.tables import ITEM_COLUMNS, Interactions
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec, Number

GENRES = ("드라마", "코미디", "액션", "애니메이션")
GRADES = ("전체 관람가", "12세 관람가", None, "PG-13")
SPEC = FeatureSpec(
    categories=(Category("user", 4), Category("item", 8), Category("grade", 1)),
    bags=(
        Bag("genres", 2),
        Bag("leading", 12),
        Bag("liked", vocabulary_of="item"),
        Bag("disliked", vocabulary_of="item"),
    ),
    numbers=(Number("expected_logit", 10), Number("user_recency", 5), Number("item_age", 4)),
    buckets=(Bucket("expected_logit", 6), Bucket("user_recency", 3)),
    crosses=(
        Cross(("liked", "item"), 2),
        Cross(("genres", "grade", "expected_logit_bucket"), 3),
        Cross(("genres", "leading"), 15),
    ),
    wide=("item", "genres", "leading", "user_recency_bucket"),
)
PRIOR = 0.6


@dataclass(frozen=True)
class World:
    interactions: Interactions
    item_table: ItemTable
    spec: FeatureSpec = SPEC
    prior: float = PRIOR

    def queries(self, rows=slice(None)):
        time = self.interactions.time[rows]
        return Queries(self.interactions.user[rows], self.interactions.item[rows], time, time)

    def compute_features(self, queries=None, interactions=None):
        return RawFeatures.compute(
            self.interactions if interactions is None else interactions,
            self.queries() if queries is None else queries,
            self.item_table,
            self.spec.history,
            self.prior,
        )


def items_table():
    """24 items; some lack a year, a grade, genres or a cast."""
    ids = range(100, 124)
    return pa.table(
        {
            "item": list(ids),
            "title": [f"영화 {i}" for i in ids],
            "title_eng": [f"Film {i}" for i in ids],
            "release_year": [2019] * 24,
            "original_year": [None if i % 5 == 0 else 1980 + i % 30 for i in ids],
            "grade": [GRADES[i % 4] for i in ids],
            "genres": [list(dict.fromkeys((GENRES[i % 4], GENRES[i % 3])))[: i % 7] for i in ids],
            "countries": [["한국"] for _ in ids],
            "people": [[i, i + 1, 7] for i in ids],
            "leading": [[i // 2, 7][: i % 3] for i in ids],
        },
        schema=ITEM_COLUMNS,
    )


def random_interactions(seed=0, ratings=700):
    """Distinct pairs of 90 users and 26 items (2 unknown to the item table), in whole hours."""
    generator = np.random.default_rng(seed)
    pairs = generator.choice(90 * 26, ratings, replace=False)
    user, item = pairs // 26 + 1, pairs % 26 + 100
    time = 1_200_000_000 + 3600 * generator.integers(0, 5000, ratings)
    value = np.where(generator.random(ratings) < 0.6, 10, generator.integers(1, 10, ratings))
    order = np.lexsort((item, user, time))
    return Interactions(user[order], item[order], value[order].astype(np.int8), time[order])


@pytest.fixture(scope="session")
def world():
    return World(random_interactions(), ItemTable.from_table(items_table()))


@pytest.fixture
def items():
    return items_table()

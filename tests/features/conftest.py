"""A small world of ratings and items in the form that ingest leaves."""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.worlds import KMRD_HISTORY, items_of, rated, tables_of
from widedeep.data.tables import Interactions
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
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
    history=KMRD_HISTORY,
)
PRIOR = 0.6


@dataclass(frozen=True)
class World:
    interactions: Interactions
    tables: FeatureTables
    spec: FeatureSpec = SPEC
    prior: float = PRIOR

    def queries(self, rows=slice(None)):
        time = self.interactions.time[rows]
        return Queries(self.interactions.user[rows], self.interactions.item[rows], time, time)

    def compute_features(self, queries=None, interactions=None):
        return RawFeatures.compute(
            self.interactions if interactions is None else interactions,
            self.queries() if queries is None else queries,
            self.tables,
            self.spec.history,
            self.prior,
        )


def items_table():
    """24 items; some lack a year, a grade, genres or a cast."""
    return items_of(
        *(
            {
                "item": i,
                "title_ko": f"영화 {i}",
                "title_en": f"Film {i}",
                "item_age": None if i % 5 == 0 else 1980 + i % 30,
                "grade": GRADES[i % 4],
                "genres": list(dict.fromkeys((GENRES[i % 4], GENRES[i % 3])))[: i % 7],
                "countries": ["한국"],
                "people": [i, i + 1, 7],
                "leading": [i // 2, 7][: i % 3],
            }
            for i in range(100, 124)
        )
    )


def random_interactions(seed=0, ratings=700):
    """Distinct pairs of 90 users and 26 items (2 unknown to the item table), in whole hours."""
    generator = np.random.default_rng(seed)
    pairs = generator.choice(90 * 26, ratings, replace=False)
    user, item = pairs // 26 + 1, pairs % 26 + 100
    time = 1_200_000_000 + 3600 * generator.integers(0, 5000, ratings)
    value = np.where(generator.random(ratings) < 0.6, 10, generator.integers(1, 10, ratings))
    order = np.lexsort((item, user, time))
    return rated(user[order], item[order], value[order], time[order])


@pytest.fixture(scope="session")
def world():
    return World(random_interactions(), tables_of(items_table()))


@pytest.fixture
def items():
    return items_table()

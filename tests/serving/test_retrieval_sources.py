"""Each source of candidates and the merging of their lists, against plain references."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data.tables import ITEM_COLUMNS
from widedeep.features.items import ItemTable
from widedeep.inputs import InputError
from widedeep.retrieval.eligibility import EligibilityRules, ItemEligibility, least_age
from widedeep.retrieval.retriever import SOURCES, RetrieverConfig
from widedeep.retrieval.sources import (
    DAY,
    CoLiked,
    CoLikedConfig,
    NearestItems,
    Popularity,
    SharedAttributes,
    contributing_sources,
    reciprocal_rank_fusion,
    top_k,
)

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), unique=True, max_size=30)


def table(rows):
    empty = {"genres": [], "countries": [], "people": [], "leading": []}
    return pa.Table.from_pylist([empty | row for row in rows], ITEM_COLUMNS)


def test_a_like_of_a_half_life_ago_counts_half():
    popular = Popularity.of(3, half_life=30.0)
    popular.take(np.array([0, 1, 1]), np.array([60, 30, 60]) * DAY)
    assert popular.counts[1] / popular.counts[0] == pytest.approx(1.5)
    assert popular.counts[2] == 0


@given(
    times=st.lists(st.integers(0, 2_000_000_000), max_size=30),
    half_life=st.sampled_from([30.0, 60.0, 365.0]),
    cut=st.integers(0, 30),
)
def test_likes_counted_one_by_one_are_those_counted_together(times, half_life, cut):
    rows, times = np.arange(len(times)) % 4, np.sort(np.array(times, np.int64))
    together, apart = Popularity.of(4, half_life), Popularity.of(4, half_life)
    together.take(rows, times)
    apart.take(rows[:cut], times[:cut])
    for row, time in zip(rows[cut:].tolist(), times[cut:].tolist(), strict=True):
        apart.add(row, time)
    assert together.counts.tolist() == apart.counts.tolist()


def test_popularity_stays_finite_over_any_span():
    popular = Popularity.of(2, half_life=0.5)
    popular.take(np.array([0]), np.array([0]))
    for year in range(0, 60, 5):
        popular.add(1, year * 365 * DAY)
        assert np.isfinite(popular.counts).all()
    assert popular.counts[1] > popular.counts[0]


@given(pairs=pairs, power=st.sampled_from([0.0, 0.35, 1.0]), shrinkage=st.sampled_from([0.0, 5.0]))
def test_neighbours_are_those_liked_by_the_same_users(pairs, power, shrinkage):
    users, rows = (np.array([pair[i] for pair in pairs], np.int64) for i in range(2))
    likes = np.zeros((6, 7))
    likes[users, rows] = 1
    together = likes.T @ likes
    popular = np.maximum(likes.sum(axis=0), 1)
    share = together / np.maximum(together + shrinkage, 1e-9)
    expected = share * together / np.outer(popular, popular) ** power
    np.fill_diagonal(expected, 0)
    config = CoLikedConfig(power=power, shrinkage=shrinkage)
    found = CoLiked.of(users, rows, 7, config)
    liked, factors = np.array([2, 4]), np.array([1.0, 0.5])
    np.testing.assert_allclose(
        found.scores(liked, factors), factors @ expected[liked], rtol=1e-5, atol=1e-7
    )


def test_only_the_best_neighbours_and_the_newest_likes_count():
    users = np.array([0, 0, 1, 1, 2, 2])
    rows = np.array([0, 1, 0, 1, 0, 2])
    one = CoLiked.of(users, rows, 3, CoLikedConfig(neighbours=1))
    scores = one.scores(np.array([0]), np.ones(1))
    assert scores[1] > 0 == scores[2]
    newest = CoLiked.of(np.zeros(3, np.int64), np.arange(3), 3, CoLikedConfig(likes=2))
    assert newest.scores(np.array([0]), np.ones(1)).tolist() == [0, 0, 0]
    assert newest.scores(np.array([1]), np.ones(1))[2] > 0


def test_rare_people_tell_more_than_common_genres():
    items = table(
        [
            {"item": 1, "genres": ["drama"], "people": [7]},
            {"item": 2, "genres": ["drama"], "people": [8]},
            {"item": 3, "genres": ["war"], "people": [7]},
            {"item": 4, "genres": ["drama"]},
            {"item": 5},
        ]
    )
    scores = SharedAttributes.of(ItemTable.from_table(items)).scores(np.array([0]), np.ones(1))
    assert scores[0] == pytest.approx(1.0), "a film is like itself"
    assert scores[2] > scores[1] > 0
    assert scores[4] == 0


def test_a_leading_role_counts_twice():
    items = table(
        [
            {"item": 1, "people": [7, 8], "leading": [7]},
            {"item": 2, "people": [7]},
            {"item": 3, "people": [8]},
        ]
    )
    scores = SharedAttributes.of(ItemTable.from_table(items)).scores(np.array([0]), np.ones(1))
    assert scores == pytest.approx([1.0, 2 / 5**0.5, 1 / 5**0.5])


def test_items_without_attributes_share_nothing():
    item_table = ItemTable.from_table(table([{"item": 1}, {"item": 2}]))
    shared = SharedAttributes.of(item_table)
    assert shared.scores(np.array([0]), np.ones(1)).tolist() == [0, 0]


def test_the_nearest_item_is_that_of_the_smallest_angle():
    vectors = np.array([[1, 0], [0.8, 0.6], [-1, 0], [0, 1]], np.float32)
    nearest = NearestItems(vectors, np.array([True, True, True, False]))
    assert nearest.scores(np.array([0]), np.ones(1)) == pytest.approx([2, 1.8, 0, 0])
    assert nearest.scores(np.array([3]), np.ones(1)).tolist() == [0] * 4, "it is not known"


@given(
    scores=st.lists(st.integers(-1, 3), max_size=12),
    limit=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_the_best_rows_come_in_order_and_equals_by_row(scores, limit, seed):
    allowed = np.random.default_rng(seed).random(len(scores)) < 0.7
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    expected = [i for i in ranked if allowed[i] and scores[i] > 0][:limit]
    assert top_k(np.array(scores, np.float64), allowed, limit).tolist() == expected


def test_lists_are_merged_by_the_sum_of_reciprocal_ranks():
    lists = {"a": np.array([5, 3, 9]), "b": np.array([3, 7]), "c": np.array([8])}
    rows, shares = reciprocal_rank_fusion(lists, {"a": 1.0, "b": 0.5, "c": 0.0}, 1.0, 3, 10)
    sources = contributing_sources([*lists], shares)
    # 3: 1/3 + .5/2 = .583, 5: 1/2, 9: 1/4, 7: .5/3; 8 has no share.
    assert rows.tolist() == [3, 5, 9]
    assert sources == [("a", "b"), ("a",), ("a",)]
    everything, shares = reciprocal_rank_fusion(lists, {"a": 1.0, "b": 0.5, "c": 0.0}, 1.0, 9, 10)
    named = contributing_sources([*lists], shares)
    assert (everything.tolist()[3:], named[3:]) == ([7], [("b",)])


@pytest.mark.parametrize(
    ("grade", "age"),
    [
        ("전체 관람가", 0),
        ("모든 관람객", 0),
        ("12세 관람가", 12),
        ("15세이상관람가", 15),
        ("청소년 관람불가", 18),
        ("제한상영가", 18),
        ("G", 0),
        ("PG", 12),
        ("PG-13", 13),
        ("pg-13 ", 13),
        ("R", 17),
        ("NR", 18),
        ("", 18),
        ("???", 18),
    ],
)
def test_a_grade_says_from_which_age_a_item_may_be_watched(grade, age):
    assert least_age(grade) == age


def test_rules_leave_out_what_they_say():
    items = table(
        [
            {"item": 1, "title": "가", "grade": "전체 관람가", "original_year": 1990},
            {"item": 2, "title": "나", "grade": "R", "original_year": 2015},
            {"item": 3, "title_eng": "C", "original_year": 2031},
            {"item": 4, "title": " ", "title_eng": None, "grade": "G"},
            {"item": 5, "title": "마", "grade": "15세 관람가"},
        ]
    )
    ruled = ItemEligibility.of(ItemTable.from_table(items), items)
    at = 1_577_000_000

    def shown(**rules):
        return ruled.items[ruled.allowed(EligibilityRules(**rules), at)].tolist()

    assert shown() == [1, 2, 5], "3 is of a later year, 4 has no title"
    assert ruled.items[ruled.allowed(EligibilityRules(), -1)].tolist() == [5], (
        "in 1969 the rest is to come"
    )
    assert shown(unreleased=True, untitled=True) == [1, 2, 3, 4, 5]
    assert shown(audience_age=15) == [1, 5]
    assert shown(audience_age=17) == [1, 2, 5]
    assert shown(audience_age=18, unreleased=True) == [1, 2, 3, 5]
    assert shown(audience_age=0, untitled=True) == [1, 4]
    assert shown(excluded=frozenset({2, 99})) == [1, 5]
    with pytest.raises(InputError, match="age of the audience is -1"):
        EligibilityRules(audience_age=-1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"half_life": 0.0},
        {"likes": 0},
        {"fading": 0.0},
        {"constant": -1.0},
        {"weights": {"popular": 1.0}},
        {"weights": dict.fromkeys(SOURCES, -1.0)},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        RetrieverConfig(**wrong)

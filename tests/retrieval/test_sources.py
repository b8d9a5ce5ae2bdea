"""Each source of candidates and the merging of their lists, against plain references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import KMRD, tables_of
from widedeep.features.sampling import DAY
from widedeep.inputs import InputError
from widedeep.retrieval.sources import (
    CoLiked,
    CoLikedConfig,
    NearestItems,
    Popularity,
    SharedAttributes,
    contributing_sources,
    groups_of,
    reciprocal_rank_fusion,
    top_k,
)

GROUPS = groups_of(KMRD, ("genres", "people"))
pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), unique=True, max_size=30)


def test_a_like_of_a_half_life_ago_counts_half():
    popular = Popularity.empty(3, half_life=30.0)
    popular.count_likes(np.array([0, 1, 1]), np.array([60, 30, 60]) * DAY)
    assert popular.counts[1] / popular.counts[0] == pytest.approx(1.5)
    assert popular.counts[2] == 0


@given(
    times=st.lists(st.integers(0, 2_000_000_000), max_size=30),
    half_life=st.sampled_from([30.0, 60.0, 365.0]),
    cut=st.integers(0, 30),
)
def test_likes_counted_one_by_one_are_those_counted_together(times, half_life, cut):
    rows, times = np.arange(len(times)) % 4, np.sort(np.array(times, np.int64))
    together, apart = Popularity.empty(4, half_life), Popularity.empty(4, half_life)
    together.count_likes(rows, times)
    apart.count_likes(rows[:cut], times[:cut])
    for row, time in zip(rows[cut:].tolist(), times[cut:].tolist(), strict=True):
        apart.add(row, time)
    assert together.counts.tolist() == apart.counts.tolist()


def test_popularity_stays_finite_over_any_span():
    popular = Popularity.empty(2, half_life=0.5)
    popular.count_likes(np.array([0]), np.array([0]))
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
    co_liked = CoLiked.from_likes(users, rows, 7, config)
    liked, factors = np.array([2, 4]), np.array([1.0, 0.5])
    np.testing.assert_allclose(
        co_liked.scores(liked, factors), factors @ expected[liked], rtol=1e-5, atol=1e-7
    )


def test_only_the_best_neighbours_count():
    users = np.array([0, 0, 1, 1, 2, 2])
    rows = np.array([0, 1, 0, 1, 0, 2])
    co_liked = CoLiked.from_likes(users, rows, 3, CoLikedConfig(neighbours=1))
    scores = co_liked.scores(np.array([0]), np.ones(1))
    assert scores[1] > 0 == scores[2]


def test_only_the_newest_likes_of_a_user_count():
    users, rows = np.zeros(3, np.int64), np.arange(3)
    co_liked = CoLiked.from_likes(users, rows, 3, CoLikedConfig(likes=2))
    assert co_liked.scores(np.array([0]), np.ones(1)).tolist() == [0, 0, 0]
    assert co_liked.scores(np.array([1]), np.ones(1))[2] > 0


@pytest.mark.parametrize(
    "wrong", [{"neighbours": 0}, {"likes": 0}, {"power": -0.1}, {"shrinkage": -1.0}]
)
def test_settings_of_neighbours_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        CoLikedConfig(**wrong)


def test_rare_people_say_more_than_common_genres(make_items):
    items = make_items(
        {"item": 1, "genres": ["drama"], "people": [7]},
        {"item": 2, "genres": ["drama"], "people": [8]},
        {"item": 3, "genres": ["war"], "people": [7]},
        {"item": 4, "genres": ["drama"]},
        {"item": 5},
    )
    shared = SharedAttributes.from_items(tables_of(items).items, GROUPS)
    scores = shared.scores(np.array([0]), np.ones(1))
    assert scores[0] == pytest.approx(1.0), "an item is like itself"
    assert scores[2] > scores[1] > 0
    assert scores[4] == 0


def test_a_leading_role_counts_twice(make_items):
    items = make_items(
        {"item": 1, "people": [7, 8], "leading": [7]},
        {"item": 2, "people": [7]},
        {"item": 3, "people": [8]},
    )
    shared = SharedAttributes.from_items(tables_of(items).items, GROUPS)
    scores = shared.scores(np.array([0]), np.ones(1))
    assert scores == pytest.approx([1.0, 2 / 5**0.5, 1 / 5**0.5])


def test_items_without_attributes_share_nothing(make_items):
    tables = tables_of(make_items({"item": 1}, {"item": 2}))
    shared = SharedAttributes.from_items(tables.items, GROUPS)
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
    weights = {"a": 1.0, "b": 0.5, "c": 0.0}
    rows, shares = reciprocal_rank_fusion(lists, weights, 1.0, 3, 10)
    # 3: 1/3 + .5/2 = .583, 5: 1/2, 9: 1/4, 7: .5/3; 8 has no share.
    assert rows.tolist() == [3, 5, 9]
    assert contributing_sources([*lists], shares) == [("a", "b"), ("a",), ("a",)]
    rows, shares = reciprocal_rank_fusion(lists, weights, 1.0, 9, 10)
    assert rows.tolist()[3:] == [7]
    assert contributing_sources([*lists], shares)[3:] == [("b",)]

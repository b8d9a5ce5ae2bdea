"""The lists of ten that a model shows, and how far the lists of many users differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import NOW, one_user_a_day, rated, score_by_id
from widedeep.evaluation.lists import (
    LIST_LENGTH,
    USERS,
    Exposure,
    TopLists,
    gini,
    ranked_catalogue,
    self_information,
)

CATALOGUE = np.arange(100, 120)
LISTS = st.lists(
    st.lists(st.sampled_from(CATALOGUE.tolist()), min_size=3, max_size=3, unique=True),
    min_size=2,
    max_size=12,
)


@pytest.fixture(scope="module")
def interactions():
    return one_user_a_day()


def test_items_are_ranked_best_first_and_rated_items_are_not_shown(interactions):
    lists = TopLists.compute(interactions, NOW, score_by_id)
    for user, shown in zip(lists.user, lists.item, strict=True):
        rated = set(interactions.item[interactions.user == user].tolist())
        expected = [item for item in range(129, 99, -1) if item not in rated][:LIST_LENGTH]
        assert shown.tolist() == expected


def test_the_users_seen_last_are_shown_the_items_rated_lately(interactions):
    lists = TopLists.compute(interactions, NOW, score_by_id)
    assert lists.user.tolist() == list(range(150 - USERS, 150))
    assert 999 not in lists.item


def test_lists_are_ranked_at_the_moment_with_all_that_is_known_by_then(interactions):
    queries = []
    TopLists.compute(interactions, NOW, lambda asked: queries.append(asked) or score_by_id(asked))
    assert set(queries[0].time.tolist()) == set(queries[0].known_until.tolist()) == {NOW}


def test_churn_is_the_share_of_items_no_longer_shown(interactions):
    best = TopLists.compute(interactions, NOW, score_by_id)
    worst = TopLists.compute(interactions, NOW, lambda queries: 1 - score_by_id(queries))
    assert best.churn(best) == 0
    assert best.churn(worst) == 1
    half = TopLists(best.user, np.hstack([best.item[:, :5], worst.item[:, :5]]))
    assert best.churn(half) == 0.5


def test_lists_are_loaded_as_they_were_saved(interactions, tmp_path):
    lists = TopLists.compute(interactions, NOW, score_by_id)
    lists.save(tmp_path / "lists.parquet")
    loaded = TopLists.load(tmp_path / "lists.parquet")
    assert loaded.user.tolist() == lists.user.tolist()
    assert loaded.item.tolist() == lists.item.tolist()


def measure(lists, catalogue=CATALOGUE, information=None, chunk=5):
    """The figures of lists, each an array of items, counted some lists at a time."""
    exposure = Exposure.empty(catalogue)
    for start in range(0, len(lists), chunk):
        part = lists[start : start + chunk]
        exposure.add(len(part), np.concatenate(part).astype(np.int64))
    return exposure.measure(np.ones(len(catalogue)) if information is None else information)


def test_the_figures_of_three_lists_by_hand():
    catalogue = np.array([1, 2, 3, 4, 9])
    figures = measure([[1, 2], [2, 1], [1, 4]], catalogue, np.array([1.0, 2.0, 8.0, 4.0, 8.0]))
    assert (figures.lists, figures.items, figures.coverage) == (3, 3, 3 / 5)
    assert figures.most_shown == 1.0, "item 1 stands in each"
    assert figures.overlap == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    # Counts 0 0 1 2 3: mean difference of two is (0+1+2+3+1+2+3+1+2+1) * 2 / 25, their mean 6 / 5.
    assert figures.gini == pytest.approx(16 * 2 / 25 / (2 * 6 / 5))
    assert figures.novelty == pytest.approx((3 * 1 + 2 * 2 + 1 * 4) / 6)


def test_identical_lists_overlap_wholly_and_disjoint_ones_not_at_all():
    same = measure([CATALOGUE[:4]] * 7)
    assert (same.overlap, same.most_shown, same.items) == (1.0, 1.0, 4)
    apart = measure(CATALOGUE.reshape(5, 4))
    assert (apart.overlap, apart.most_shown, apart.gini) == (0.0, 1 / 5, 0.0)
    assert apart.coverage == 1.0


@given(LISTS)
def test_overlap_is_the_mean_over_all_pairs_of_lists(lists):
    pairs = [(a, b) for i, a in enumerate(lists) for j, b in enumerate(lists) if i != j]
    shared = np.mean([len({*a} & {*b}) / 3 for a, b in pairs])
    figures = measure([np.array(items) for items in lists])
    assert figures.overlap == pytest.approx(shared)
    assert figures.items == len({item for items in lists for item in items})
    assert 0 <= figures.gini < 1
    assert figures.coverage == figures.items / len(CATALOGUE)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any), st.integers(2, 9))
def test_gini_is_half_the_relative_mean_difference_whatever_the_scale(counts, times):
    counts = np.array(counts)
    difference = np.abs(counts[:, None] - counts[None, :]).mean()
    assert gini(counts) == pytest.approx(difference / (2 * counts.mean()))
    assert gini(counts * times) == pytest.approx(gini(counts))
    assert gini(np.full_like(counts, times)) == 0.0


def test_gini_is_largest_if_one_item_fills_all_lists():
    counts = np.zeros(40, np.int64)
    counts[7] = 3
    assert gini(counts) == pytest.approx(1 - 1 / 40)


def test_figures_of_nothing_are_none():
    nothing = Exposure.empty(CATALOGUE).measure(np.ones(len(CATALOGUE)))
    assert (nothing.items, nothing.gini, nothing.overlap, nothing.novelty) == (0, None, None, None)
    assert nothing.to_text() == "no item is shown"
    one = measure([CATALOGUE[:3]])
    assert (one.overlap, one.most_shown) == (None, 1.0)


def test_self_information_is_high_for_what_few_users_know():
    user = np.array([1, 2, 3, 1, 2, 1, 1])
    item = np.array([5, 5, 5, 7, 7, 7, 8])
    log = rated(user, item, np.full(7, 10), np.arange(7))
    bits = self_information(log, np.array([5, 6, 7, 8]))
    assert bits.tolist() == [0.0, 2.0, pytest.approx(np.log2(4 / 3)), 1.0]
    assert self_information(log.select_rows(slice(0)), np.array([5])).tolist() == [0.0]


def test_a_models_lists_are_measured_on_the_items_that_were_ranked(interactions):
    best = TopLists.compute(interactions, NOW, score_by_id).personalisation(
        *ranked_catalogue(interactions, NOW)
    )
    assert best.lists == USERS
    assert best.coverage == best.items / 30
    assert LIST_LENGTH <= best.items <= LIST_LENGTH + 4, "each user has rated two of the best"
    assert 0.8 < best.overlap < 1
    assert best.novelty == pytest.approx(np.log2(152 / 11), abs=0.2), "150 of 152 users rated"

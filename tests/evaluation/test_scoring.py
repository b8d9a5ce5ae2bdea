"""Lists of ten: the best unseen items of the users seen last, and how much of them changes."""

import numpy as np
import pytest

from widedeep.data.tables import Interactions
from widedeep.evaluation.scoring import LENGTH, USERS, TopLists

DAY = 86_400
NOW = 2000 * DAY


def log_of(rows):
    time, user, item = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Interactions(user, item, np.full(len(time), 10, np.int8), time * DAY)


@pytest.fixture(scope="module")
def interactions():
    """150 users rate two of 30 items each, one a day; item 999 was rated long ago."""
    rows = [(1800 + u, u, 100 + (u * 7 + k) % 30) for u in range(150) for k in range(2)]
    return log_of([*rows, (3, 500, 999), (3, 501, 999)])


def by_id(asked):
    return asked.item / 1000.0


def test_items_are_ranked_best_first_and_what_was_rated_is_not_shown(interactions):
    found = TopLists.of(interactions, NOW, by_id)
    for user, shown in zip(found.user, found.item, strict=True):
        rated = set(interactions.item[interactions.user == user].tolist())
        wanted = [m for m in range(129, 99, -1) if m not in rated][:LENGTH]
        assert shown.tolist() == wanted


def test_the_users_seen_last_are_asked_about_what_is_rated_lately(interactions):
    found = TopLists.of(interactions, NOW, by_id)
    assert found.user.tolist() == list(range(150 - USERS, 150))
    assert 999 not in found.item


def test_lists_are_asked_for_at_the_moment_with_all_that_is_known_by_then(interactions):
    seen = []
    TopLists.of(interactions, NOW, lambda asked: seen.append(asked) or by_id(asked))
    assert set(seen[0].time.tolist()) == set(seen[0].known_until.tolist()) == {NOW}


def test_churn_is_the_share_of_items_no_longer_shown(interactions):
    best = TopLists.of(interactions, NOW, by_id)
    worst = TopLists.of(interactions, NOW, lambda asked: 1 - by_id(asked))
    assert best.churn(best) == 0
    assert best.churn(worst) == 1
    half = TopLists(best.user, np.hstack([best.item[:, :5], worst.item[:, :5]]))
    assert best.churn(half) == 0.5


def test_what_was_saved_is_loaded_equal(interactions, tmp_path):
    lists = TopLists.of(interactions, NOW, by_id)
    lists.save(tmp_path / "lists.parquet")
    found = TopLists.load(tmp_path / "lists.parquet")
    assert found.user.tolist() == lists.user.tolist()
    assert found.item.tolist() == lists.item.tolist()

"""What a ranking promises: the best candidates in order, each once, knowing every rating taken."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.serving.random_models import (
    EVERYTHING,
    LEAST,
    SMALL,
    World,
    rows_of,
    scores_of_the_model,
)
from tests.worlds import event
from widedeep.inputs import InputError, Precision
from widedeep.serving.ranker import RankedItem, Ranker


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    return World.ingest(simulated, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def model(world):
    return world.model(EVERYTHING, SMALL)


@pytest.fixture
def ranker(world, model):
    return Ranker.from_interactions(model, world.interactions, world.tables, Precision.FLOAT32)


def test_a_ranking_is_the_best_candidates_each_once(ranker, world):
    items = np.repeat(world.tables.items.ids, 2)
    scores = dict(zip(items.tolist(), ranker.scores(1, items, 2 * 10**9).tolist(), strict=True))
    best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    assert ranker.rank(1, items, 2 * 10**9, 10) == tuple(RankedItem(*pair) for pair in best)
    assert len(ranker.rank(1, items, 2 * 10**9, 10**6)) == len(scores)


def test_of_equal_items_the_lower_id_comes_first(ranker):
    unknown = np.array([-2, -9, -4, -9])
    ranking = ranker.rank(1, unknown, 2 * 10**9, 5)
    assert [entry.item for entry in ranking] == [-9, -4, -2]
    assert len({entry.probability for entry in ranking}) == 1


def test_a_ranking_of_no_items_is_refused(ranker):
    with pytest.raises(InputError, match="k is 0"):
        ranker.rank(1, np.array([1]), 5, 0)


def test_a_rating_changes_scores_and_seen_at_once(ranker, world):
    items, at = world.tables.items.ids, ranker.known_until
    before = ranker.scores(-1, items, at)
    assert ranker.update(event(-1, int(items[0]), 10, at))
    assert not ranker.update(event(-1, int(items[0]), 3, at))
    np.testing.assert_array_equal(ranker.scores(-1, items, at), before)
    assert (ranker.scores(-1, items, ranker.known_until) != before).any()
    assert ranker.state.seen(-1).tolist() == [items[0]]
    assert -1 in ranker.state.users.ids
    assert ranker.update(event(-1, 10**15, 10, at))
    assert 10**15 in ranker.items


def test_many_may_ask_while_ratings_come_in(world, model):
    earlier = world.interactions.select_rows(slice(6000))
    ranker = Ranker.from_interactions(model, earlier, world.tables, Precision.FLOAT32)
    users, items = world.users(), world.candidates()

    def write():
        for rating in rows_of(world.interactions, slice(6000, None)):
            ranker.update(event(*rating, least=LEAST))

    def ask(user):
        return [ranker.scores(user, items, 2 * 10**9) for _ in range(150)]

    with ThreadPoolExecutor(4) as pool:
        writing, *asking = [pool.submit(write), *(pool.submit(ask, user) for user in users)]
        writing.result()
        assert all(np.isfinite(scores).all() for asked in asking for scores in asked.result())
    for user in users:
        expected = scores_of_the_model(
            model, world.interactions, world.tables, user, items, 2 * 10**9
        )
        np.testing.assert_allclose(ranker.scores(user, items, 2 * 10**9), expected, atol=1e-5)

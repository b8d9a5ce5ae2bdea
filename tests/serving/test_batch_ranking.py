"""Lists for many users at one moment are the rankings of each user alone."""

import numpy as np
import pytest

from tests.serving.random_models import EVERYTHING, SMALL, World
from tests.worlds import event, ingest
from widedeep.data.tables import IngestedData
from widedeep.inputs import InputError, Precision
from widedeep.model.compute import torch_threads
from widedeep.retrieval.retriever import Retriever
from widedeep.serving import batch_ranking
from widedeep.serving.batch_ranking import BatchRanking, CandidateLists
from widedeep.serving.ranker import Ranker
from widedeep.store import ArtifactStore


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    return World.ingest(simulated, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def model(world):
    return world.model(EVERYTHING, SMALL)


@pytest.fixture(scope="module")
def ranker(world, model):
    return Ranker.from_interactions(model, world.interactions, world.tables, Precision.FLOAT32)


@pytest.fixture
def retriever(world, model, simulated, tmp_path):
    side = IngestedData(ingest(simulated, ArtifactStore(tmp_path), 1_800_000_000)).side_tables()
    return Retriever.from_interactions(model, world.interactions, world.tables, side)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("limit", [None, 20])
def test_lists_are_the_rankings_of_each_user_alone(
    world, ranker, retriever, monkeypatch, threads, limit
):
    monkeypatch.setattr(batch_ranking, "USERS_PER_CHUNK", 40)
    monkeypatch.setattr(batch_ranking, "ROWS_PER_BATCH", 500)
    at, items = ranker.known_until, world.tables.items.ids
    shortlist = limit and CandidateLists(retriever, retriever.eligible(at), limit)
    users = np.append(np.unique(world.interactions.user)[::3], [-9, -8])
    batch = BatchRanking.prepare(ranker, items, at, 5, shortlist)
    with torch_threads(1):
        chunks = list(batch.lists(users, threads))
    assert len(chunks) == -(-len(users) // 40)
    columns = ("user", "rank", "item", "probability")
    user, rank, item, probability = (
        np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in columns
    )
    assert list(dict.fromkeys(user.tolist())) == users.tolist()
    for one_user in users.tolist():
        candidates = np.setdiff1d(items, ranker.state.seen(one_user))
        if limit:
            candidates = np.array([c.item for c in retriever.candidates(one_user, at, limit)])
        rows = user == one_user
        assert rank[rows].tolist() == [1, 2, 3, 4, 5]
        assert set(item[rows].tolist()) <= set(candidates.tolist())
        ranking = ranker.rank(one_user, candidates, at, 5)
        expected = [entry.probability for entry in ranking]
        np.testing.assert_allclose(probability[rows], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("personalisation", [0.3, 0.8])
def test_personalised_lists_are_ordered_by_what_the_user_adds(world, ranker, personalisation):
    """The score is the user's logit minus a part of a new user's; probabilities stay."""
    at, items = ranker.known_until, world.tables.items.ids
    users = np.append(np.unique(world.interactions.user)[::20], -9)
    batch = BatchRanking.prepare(ranker, items, at, 6, personalisation=personalisation)
    for user, lists in zip(users, np.split(*rows_by_user(batch, users)), strict=True):
        own, new = (logit(ranker.scores(key, items, at)) for key in (user, -9))
        score = own - personalisation * new
        score[np.isin(items, ranker.state.seen(user))] = -np.inf
        positions = np.searchsorted(items, lists["item"])
        best = np.sort(score)[::-1][:6]
        np.testing.assert_allclose(score[positions], best, rtol=0, atol=1e-4)
        np.testing.assert_allclose(logit(lists["probability"]), own[positions], rtol=0, atol=1e-4)


def logit(probability):
    probability = probability.astype(np.float64)
    return np.log(probability / (1 - probability))


def rows_by_user(batch, users):
    """The rows of all lists, and where the list of each user but the first begins."""
    (lists,) = batch.lists(users)
    rows = np.rec.fromarrays([lists.item, lists.probability], names="item,probability")
    return rows, np.flatnonzero(np.diff(lists.user)) + 1


@pytest.mark.parametrize("personalisation", [-0.1, 1.0, float("nan")])
def test_a_personalisation_that_leaves_no_order_is_refused(world, ranker, personalisation):
    items = world.tables.items.ids
    with pytest.raises(InputError, match="personalisation is"):
        BatchRanking.prepare(ranker, items, 5, 1, personalisation=personalisation)


def test_a_batch_of_nothing_is_refused(world, ranker):
    with pytest.raises(InputError, match="k is 0"):
        BatchRanking.prepare(ranker, world.tables.items.ids, 5, 0)
    with pytest.raises(InputError, match="no item to rank"):
        BatchRanking.prepare(ranker, world.tables.items.ids[:0], 5, 1)


def test_users_with_the_same_ratings_share_the_candidates_of_each_alone(world, retriever):
    items, now = world.tables.items.ids.tolist(), int(world.interactions.time[-1]) + 1
    for user, values in ((-1, (10, 10)), (-2, (10, 10)), (-3, (10, 1)), (-4, (1, 10)), (-5, ())):
        for item, value in zip(items[::41], values, strict=False):
            retriever.update(event(user, item, value, now, least=7))
    lists = CandidateLists(retriever, retriever.eligible(now), 10)
    users = [-1, -2, -3, -4, -5, -6, *np.unique(world.interactions.user)[:50].tolist()]
    for user in users * 2:
        candidates = [candidate.item for candidate in retriever.candidates(user, now, 10)]
        assert lists.for_user(user).tolist() == sorted(candidates)
    assert lists.for_user(-1) is lists.for_user(-2)
    assert len({tuple(lists.for_user(user)) for user in (-1, -3, -4, -5)}) == 4

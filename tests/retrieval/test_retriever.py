"""Retrieval: what a list of candidates promises, whatever was rated before."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.data.ingest import ingest
from widedeep.data.tables import ITEM_COLUMNS, IngestedData, Interactions
from widedeep.features.encoded import FeatureSupport
from widedeep.features.items import ItemTable
from widedeep.inputs import InputError
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.retrieval.eligibility import EligibilityRules, least_age
from widedeep.retrieval.retriever import ITEM_TABLE, SOURCES, Retriever, RetrieverConfig
from widedeep.serving.batch_ranking import CandidateLists
from widedeep.store import ArtifactStore

STRANGER = -9
QUICK = settings(max_examples=15)


@dataclass(frozen=True)
class World:
    interactions: Interactions
    items: pa.Table
    item_table: ItemTable
    model: TrainedModel

    @property
    def now(self):
        return int(self.interactions.time[-1]) + 1

    def retrieval(self, interactions=None, items=None, model=None):
        listed = self.items if items is None else items
        item_table = ItemTable.from_table(listed)
        return Retriever.of(
            model or self.model,
            self.interactions if interactions is None else interactions,
            item_table,
            listed,
        )


def cut(interactions, rows):
    return Interactions(*(getattr(interactions, name)[rows] for name in Interactions.__slots__))


def model_of(transform, **config):
    network = NetworkConfig(embedding=4, hidden=(8,), **config)
    net = WideDeep(network, InputShape.of(transform), torch.Generator().manual_seed(3))
    none = np.zeros(transform.wide_size, np.int64)
    return TrainedModel(transform, net, TrainingConfig(), {}, 0, FeatureSupport(none, none, 0, 0))


def ratings_of(interactions, rows):
    for i in rows:
        yield tuple(int(getattr(interactions, name)[i]) for name in Interactions.__slots__)


@pytest.fixture(scope="module")
def world(simulated, make_transform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrieval")
    ratings = IngestedData(ingest(simulated, ArtifactStore(folder), 1_800_000_000))
    items = ratings.items()
    tokens = items["item"].to_pylist()
    transform = make_transform(items=tokens[:-5], liked=())
    return World(ratings.load(), items, ItemTable.from_table(items), model_of(transform))


@pytest.fixture
def retrieval(world):
    return world.retrieval()


def frequent(interactions, place=0):
    users, counts = np.unique(interactions.user, return_counts=True)
    return int(users[np.argsort(-counts, kind="stable")[place]])


def items_of(candidates):
    return [one.item for one in candidates]


@QUICK
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 59), st.integers(1, 10)), max_size=40))
def test_nothing_is_shown_that_the_user_has_rated_and_nothing_twice(world, ratings):
    retrieval, items = world.retrieval(), world.item_table.items
    users = [frequent(world.interactions), frequent(world.interactions, 100), STRANGER, 10**12]
    rated = {
        user: set(world.interactions.item[world.interactions.user == user].tolist())
        for user in users
    }
    for i, (user, shown, value) in enumerate(ratings):
        item = int(items[shown % len(items)])
        news = retrieval.observe(users[user], item, value, world.now + i)
        assert news == (item not in rated[users[user]])
        rated[users[user]].add(item)
    for user in users:
        shown = items_of(
            retrieval.candidates(user, world.now + 100, rules=EligibilityRules(untitled=True))
        )
        assert len(set(shown)) == len(shown)
        assert set(shown) == set(items.tolist()) - rated[user] or len(shown) == 100


@QUICK
@given(age=st.integers(0, 18), excluded=st.sets(st.integers(0, 59), max_size=9), data=st.data())
def test_rules_hold_in_the_list_and_in_every_source(world, retrieval_once, age, excluded, data):
    user = data.draw(st.sampled_from([*np.unique(world.interactions.user).tolist(), STRANGER]))
    left_out = frozenset(world.item_table.items[list(excluded)].tolist())
    rules = EligibilityRules(audience_age=age, excluded=left_out)
    grades = dict(
        zip(world.item_table.items.tolist(), world.item_table.categories["grade"], strict=False)
    )
    lists = retrieval_once.lists(user, world.now, 30, rules)
    shown = items_of(retrieval_once.candidates(user, world.now, 30, rules))
    for item in [*shown, *np.concatenate(list(lists.values())).tolist()]:
        assert item not in left_out
        assert least_age(str(grades[item])) <= age


@pytest.fixture(scope="module")
def retrieval_once(world):
    return world.retrieval()


def test_a_cold_user_gets_what_is_popular(world, retrieval):
    found = retrieval.candidates(STRANGER, world.now, 10)
    liked = dict(zip(retrieval.items.tolist(), retrieval.popularity.tolist(), strict=True))
    assert len(found) == 10
    assert {one.sources for one in found} == {("popular",)}
    shown = [liked[one.item] for one in found]
    assert shown == sorted(liked.values(), reverse=True)[:10]


def test_a_liked_item_changes_the_list_at_once(world, retrieval):
    before = retrieval.candidates(STRANGER, world.now, 30)
    item = int(world.item_table.items[3])
    assert retrieval.observe(STRANGER, item, 10, world.now)
    after = retrieval.candidates(STRANGER, world.now, 30)
    assert items_of(after) != [m for m in items_of(before) if m != item]
    assert item not in items_of(after)
    assert {source for one in after for source in one.sources} == set(SOURCES)
    assert retrieval.liked(STRANGER).tolist() == [item]


def test_a_user_is_known_by_the_newest_likes_first(world):
    columns = ([7, 5, 7, 7], [1, 1, 2, 3], [10, 10, 3, 10], [1, 2, 3, 4])
    user, item, value, time = (np.array(column) for column in columns)
    interactions = Interactions(user, item, value.astype(np.int8), time)
    newest = RetrieverConfig(likes=2)
    rated = Retriever.of(world.model, interactions, world.item_table, world.items, newest)
    assert rated.observe(7, 9, 10, world.now)
    assert not rated.observe(7, 2, 10, world.now), "a repeat is nothing"
    assert not rated.observe(7, 9, 3, world.now)
    assert rated.observe(8, 2, 3, world.now)
    assert rated.seen(7).tolist() == [1, 2, 3, 9]
    assert rated.liked(7).tolist() == [9, 3]
    assert (rated.seen(8).tolist(), rated.liked(8).tolist()) == ([2], [])
    assert rated.seen(6).tolist() == []


def test_a_disliked_item_only_goes(world, retrieval):
    before = items_of(retrieval.candidates(STRANGER, world.now, 60))
    assert retrieval.observe(STRANGER, before[0], 2, world.now)
    assert items_of(retrieval.candidates(STRANGER, world.now, 60)) == before[1:]
    assert retrieval.seen(STRANGER).tolist() == before[:1]


def test_a_repeat_changes_nothing(world, retrieval):
    user, item = (int(column[-1]) for column in (world.interactions.user, world.interactions.item))
    popular, shown = retrieval.popularity.copy(), retrieval.candidates(user, world.now)
    assert not retrieval.observe(user, item, 10, world.now)
    assert retrieval.candidates(user, world.now) == shown
    assert (retrieval.popularity == popular).all()


def test_likes_of_others_move_popularity_at_once(world, retrieval):
    last = int(retrieval.items[retrieval.popularity.argmin()])
    for user in range(-500, -100):
        retrieval.observe(user, last, 10, world.now)
    assert retrieval.candidates(STRANGER, world.now)[0].item == last


def test_sources_say_who_named_a_item(world, retrieval):
    user = frequent(world.interactions, 150)
    lists = retrieval.lists(user, world.now, 20)
    assert tuple(lists) == SOURCES
    for one in retrieval.candidates(user, world.now, 20):
        named = {name for name, items in lists.items() if one.item in items}
        assert set(one.sources) == named


@QUICK
@given(st.data())
def test_the_future_is_not_used(world, data):
    """A log cut at a moment gives the same lists, whatever comes at that moment and after."""
    at = int(world.interactions.time[data.draw(st.integers(1000, len(world.interactions) - 1))])
    later = world.interactions.time >= at
    seed = data.draw(st.integers(0, 99))
    value = world.interactions.value.copy()
    value[later] = np.random.default_rng(seed).integers(1, 11, later.sum())
    other = Interactions(
        world.interactions.user, world.interactions.item, value, world.interactions.time
    )
    before, changed = (
        world.retrieval(cut(interactions, ~later)) for interactions in (world.interactions, other)
    )
    for user in (frequent(world.interactions), STRANGER):
        assert before.candidates(user, at) == changed.candidates(user, at)


@settings(max_examples=6)
@given(st.integers(100, 1000))
def test_what_is_observed_live_counts_as_if_it_had_been_there_at_load(world, rows):
    """All but who likes what together, which is counted at load."""
    start = len(world.interactions) - rows
    live = world.retrieval(cut(world.interactions, np.arange(len(world.interactions)) < start))
    for rating in ratings_of(world.interactions, range(start, len(world.interactions))):
        assert live.observe(*rating)
    anew = world.retrieval()
    assert live.popularity.tolist() == anew.popularity.tolist()
    for user in (frequent(world.interactions), frequent(world.interactions, 50), STRANGER):
        assert live.seen(user).tolist() == anew.seen(user).tolist()
        ours, theirs = (one.lists(user, world.now) for one in (live, anew))
        for name in set(SOURCES) - {"co-liked"}:
            assert ours[name].tolist() == theirs[name].tolist()


def test_a_item_of_a_later_year_is_not_shown_before(world):
    items = world.items.to_pylist()
    items[0] |= {"original_year": 2018}
    retrieval = world.retrieval(items=pa.Table.from_pylist(items, ITEM_COLUMNS))
    item = items[0]["item"]
    assert item not in retrieval.allowed(STRANGER, 1_500_000_000)
    assert item in retrieval.allowed(STRANGER, 1_520_000_000)


def test_no_ratings_no_items_and_neither_are_answered(world):
    nothing = cut(world.interactions, np.zeros(len(world.interactions), np.bool_))
    unrated = world.retrieval(nothing)
    found = unrated.candidates(STRANGER, world.now)
    assert len(found) == len(unrated.allowed(STRANGER, world.now)) > 0
    assert {one.sources for one in found} == {(ITEM_TABLE,)}
    empty = ITEM_COLUMNS.empty_table()
    for interactions in (nothing, world.interactions):
        retrieval = world.retrieval(interactions, empty)
        assert retrieval.candidates(STRANGER, world.now) == ()
        assert retrieval.observe(STRANGER, 5, 10, world.now)
        assert retrieval.candidates(STRANGER, world.now) == ()
        assert retrieval.candidates(frequent(world.interactions), world.now) == ()


def test_fewer_items_than_the_limit_are_all_shown_the_liked_ones_first(world, retrieval):
    found = retrieval.candidates(STRANGER, world.now, 1000)
    assert set(items_of(found)) == set(retrieval.allowed(STRANGER, world.now).tolist())
    sources = [one.sources for one in found]
    assert sources == sorted(sources, key=lambda names: names == (ITEM_TABLE,))


def test_the_short_list_of_one_of_many_users_holds_the_candidates_of_the_user_alone(
    world, retrieval
):
    items = world.item_table.items.tolist()
    for user, rates in ((-1, (10, 10)), (-2, (10, 10)), (-3, (10, 1)), (-4, (1, 10)), (-5, ())):
        for item, value in zip(items, rates, strict=False):
            retrieval.observe(user, item, value, world.now)
    short = CandidateLists(retrieval, retrieval.ruled(world.now), 20)
    users = [-1, -2, -3, -4, -5, -6, *np.unique(world.interactions.user)[:50].tolist()]
    for user in users * 2:
        found = items_of(retrieval.candidates(user, world.now, 20))
        assert short.of(user).tolist() == sorted(found)
    assert short.of(-1) is short.of(-2)
    assert len({tuple(short.of(user)) for user in (-1, -3, -4, -5)}) == 4


@pytest.mark.parametrize("config", [{"deep": False}, {"wide": False}])
def test_a_model_of_one_part_retrieves(world, config):
    retrieval = world.retrieval(model=model_of(world.model.transform, **config))
    user = frequent(world.interactions, 150)
    assert len(retrieval.candidates(user, world.now, 20)) == 20
    assert bool(len(retrieval.lists(user, world.now)["nearest"])) == ("wide" in config)


def test_a_item_the_model_has_no_embedding_for_is_near_nothing(world, retrieval):
    unknown = set(world.item_table.items.tolist()[-5:])
    retrieval.observe(STRANGER, int(world.item_table.items[0]), 10, world.now)
    lists = retrieval.lists(STRANGER, world.now)
    assert set(lists["nearest"].tolist()).isdisjoint(unknown)
    assert set(lists["nearest"].tolist()) <= set(world.item_table.items.tolist())


def test_a_limit_below_one_is_refused(world, retrieval):
    with pytest.raises(InputError, match="the limit is 0; at least 1"):
        retrieval.candidates(STRANGER, world.now, 0)


def test_readers_and_a_writer_work_side_by_side(world, retrieval):
    user, items = frequent(world.interactions, 150), world.item_table.items.tolist()
    unseen = [m for m in items if m not in retrieval.seen(user)]

    def read(_):
        return [items_of(retrieval.candidates(user, world.now)) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        reading = pool.map(read, range(3))
        for item in unseen[:20]:
            retrieval.observe(user, item, 10, world.now)
        lengths = [[len(shown) for shown in part] for part in reading]
    for part in lengths:
        assert part == sorted(part, reverse=True), "a film that has gone does not come back"
    assert set(items_of(retrieval.candidates(user, world.now))).isdisjoint(unseen[:20])


def test_a_request_takes_less_than_a_few_milliseconds(world, retrieval):
    user = frequent(world.interactions, 150)
    seconds = []
    for _ in range(50):
        began = time.perf_counter()
        retrieval.candidates(user, world.now)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.003

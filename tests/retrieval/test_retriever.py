"""What the candidates of retrieval promise, whatever was rated before."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import ITEM_COLUMNS, event, ingest, rated, side_of, tables_of
from widedeep.data.tables import IngestedData, Interactions
from widedeep.features.attributes import FeatureTables
from widedeep.features.encoded import FeatureSupport
from widedeep.inputs import InputError
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.retrieval.eligibility import EligibilityRules, minimum_age
from widedeep.retrieval.retriever import (
    CATALOGUE,
    NO_RULES,
    SOURCES,
    Retriever,
    RetrieverConfig,
)
from widedeep.store import ArtifactStore

UNKNOWN_USER = -9
QUICK = settings(max_examples=15)


@dataclass(frozen=True)
class World:
    """Ratings, their items, and a model of random weights that lacks the last 5 items."""

    interactions: Interactions
    items: pa.Table
    tables: FeatureTables
    model: TrainedModel

    @property
    def now(self):
        return int(self.interactions.time[-1]) + 1

    def retriever(self, interactions=None, items=None, model=None):
        interactions = self.interactions if interactions is None else interactions
        items = self.items if items is None else items
        tables = tables_of(items)
        return Retriever.from_interactions(
            model or self.model, interactions, tables, side_of(items)
        )


@pytest.fixture(scope="module")
def world(simulated, make_transform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrieval")
    ingested = IngestedData(ingest(simulated, ArtifactStore(folder), 1_800_000_000))
    items = ingested.side_tables().items
    transform = make_transform(items=items["item"].to_pylist()[:-5], liked=())
    model = random_model(transform)
    return World(ingested.interactions(), items, tables_of(items), model)


def random_model(transform, **config):
    config = NetworkConfig(embedding=4, hidden=(8,), **config)
    generator = torch.Generator().manual_seed(3)
    network = WideDeep(config, InputShape.from_transform(transform), generator)
    none = np.zeros(transform.wide_size, np.int64)
    support = FeatureSupport(none, none, 0, 0)
    return TrainedModel(transform, network, TrainingConfig(), {}, 0, support)


@pytest.fixture
def retriever(world):
    return world.retriever()


@pytest.fixture(scope="module")
def unchanged(world):
    """A retriever that no test updates."""
    return world.retriever()


def frequent_user(interactions, position=0):
    """The user at a position of all users, the one with the most ratings first."""
    users, counts = np.unique(interactions.user, return_counts=True)
    return int(users[np.argsort(-counts, kind="stable")[position]])


def items_of(candidates):
    return [candidate.item for candidate in candidates]


def allowed_rows(retriever, user, at, rules=NO_RULES):
    return retriever.unseen(user, retriever.eligible(at, rules))


def allowed_items(retriever, user, at):
    return retriever.items[allowed_rows(retriever, user, at)].tolist()


def lists_of(retriever, user, at, limit=100, rules=NO_RULES):
    """The items that each source names."""
    lists = retriever.lists(user, allowed_rows(retriever, user, at, rules), limit)
    return {name: retriever.items[rows].tolist() for name, rows in lists.items()}


@QUICK
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 59), st.integers(1, 10)), max_size=40))
def test_nothing_is_shown_that_the_user_has_rated_and_nothing_twice(world, ratings):
    retriever, items = world.retriever(), world.tables.items.ids.tolist()
    interactions = world.interactions
    users = [frequent_user(interactions), frequent_user(interactions, 100), UNKNOWN_USER, 10**12]
    rated = {user: set(interactions.item[interactions.user == user].tolist()) for user in users}
    for i, (user_row, item_row, value) in enumerate(ratings):
        user, item = users[user_row], items[item_row % len(items)]
        assert retriever.update(event(user, item, value, world.now + i)) == (
            item not in rated[user]
        )
        rated[user].add(item)
    untitled = EligibilityRules(untitled=True)
    for user in users:
        shown = items_of(retriever.candidates(user, world.now + 100, rules=untitled))
        assert len(set(shown)) == len(shown)
        assert set(shown) == set(items) - rated[user] or len(shown) == 100


@QUICK
@given(age=st.integers(0, 18), excluded=st.sets(st.integers(0, 59), max_size=9), data=st.data())
def test_rules_hold_in_the_list_and_in_every_source(world, unchanged, age, excluded, data):
    user = data.draw(st.sampled_from([*np.unique(world.interactions.user).tolist(), UNKNOWN_USER]))
    left_out = frozenset(world.tables.items.ids[list(excluded)].tolist())
    rules = EligibilityRules(audience_age=age, excluded=left_out)
    grades = world.tables.items.categories["grade"]
    grade_of = dict(zip(world.tables.items.ids.tolist(), grades, strict=False))
    lists = lists_of(unchanged, user, world.now, 30, rules)
    shown = items_of(unchanged.candidates(user, world.now, 30, rules))
    for item in [*shown, *chain.from_iterable(lists.values())]:
        assert item not in left_out
        assert minimum_age(str(grade_of[item])) <= age


def test_a_new_user_gets_what_is_popular(world, retriever):
    candidates = retriever.candidates(UNKNOWN_USER, world.now, 10)
    likes = dict(
        zip(retriever.items.tolist(), retriever.sources.popular.counts.tolist(), strict=True)
    )
    assert len(candidates) == 10
    assert {candidate.sources for candidate in candidates} == {("popular",)}
    shown = [likes[item] for item in items_of(candidates)]
    assert shown == sorted(likes.values(), reverse=True)[:10]


def test_a_liked_item_changes_the_list_at_once(world, retriever):
    before = items_of(retriever.candidates(UNKNOWN_USER, world.now, 30))
    item = int(world.tables.items.ids[3])
    assert retriever.update(event(UNKNOWN_USER, item, 10, world.now))
    after = retriever.candidates(UNKNOWN_USER, world.now, 30)
    assert items_of(after) != [other for other in before if other != item]
    assert item not in items_of(after)
    assert {source for candidate in after for source in candidate.sources} == set(SOURCES)
    assert retriever.liked(UNKNOWN_USER).tolist() == [item]


def test_a_user_is_described_by_the_newest_likes_first(world):
    columns = ([7, 5, 7, 7], [1, 1, 2, 3], [10, 10, 3, 10], [1, 2, 3, 4])
    user, item, value, time_ = (np.array(column) for column in columns)
    interactions = rated(user, item, value, time_)
    retriever = Retriever.from_interactions(
        world.model, interactions, world.tables, side_of(world.items), RetrieverConfig(likes=2)
    )
    assert retriever.update(event(7, 9, 10, world.now))
    assert not retriever.update(event(7, 2, 10, world.now)), "a repeat changes nothing"
    assert not retriever.update(event(7, 9, 3, world.now))
    assert retriever.update(event(8, 2, 3, world.now))
    assert retriever.user_history.seen(7).tolist() == [1, 2, 3, 9]
    assert retriever.liked(7).tolist() == [9, 3]
    assert (retriever.user_history.seen(8).tolist(), retriever.liked(8).tolist()) == ([2], [])
    assert retriever.user_history.seen(6).tolist() == []


def test_a_disliked_item_only_disappears(world, retriever):
    before = items_of(retriever.candidates(UNKNOWN_USER, world.now, 60))
    assert retriever.update(event(UNKNOWN_USER, before[0], 2, world.now))
    assert items_of(retriever.candidates(UNKNOWN_USER, world.now, 60)) == before[1:]
    assert retriever.user_history.seen(UNKNOWN_USER).tolist() == before[:1]


def test_a_repeat_changes_nothing(world, retriever):
    user, item = (int(column[-1]) for column in (world.interactions.user, world.interactions.item))
    popularity, shown = (
        retriever.sources.popular.counts.copy(),
        retriever.candidates(user, world.now),
    )
    assert not retriever.update(event(user, item, 10, world.now))
    assert retriever.candidates(user, world.now) == shown
    assert (retriever.sources.popular.counts == popularity).all()


def test_likes_of_others_move_popularity_at_once(world, retriever):
    last = int(retriever.items[retriever.sources.popular.counts.argmin()])
    for user in range(-500, -100):
        retriever.update(event(user, last, 10, world.now))
    assert retriever.candidates(UNKNOWN_USER, world.now)[0].item == last


def test_a_candidate_names_every_source_that_has_it(world, retriever):
    user = frequent_user(world.interactions, 150)
    lists = lists_of(retriever, user, world.now, 20)
    assert tuple(lists) == SOURCES
    for candidate in retriever.candidates(user, world.now, 20):
        sources = {name for name, items in lists.items() if candidate.item in items}
        assert set(candidate.sources) == sources


@QUICK
@given(st.data())
def test_the_future_is_not_used(world, data):
    """Ratings cut at a moment give the same lists, whatever comes at that moment and after."""
    interactions = world.interactions
    at = int(interactions.time[data.draw(st.integers(1000, len(interactions) - 1))])
    later = interactions.time >= at
    values = interactions.value.copy()
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    values[later] = generator.integers(1, 11, later.sum())
    other = rated(interactions.user, interactions.item, values, interactions.time)
    before, changed = (
        world.retriever(ratings.select_rows(~later)) for ratings in (interactions, other)
    )
    for user in (frequent_user(interactions), UNKNOWN_USER):
        assert before.candidates(user, at) == changed.candidates(user, at)


@settings(max_examples=6)
@given(st.integers(100, 1000))
def test_ratings_taken_live_count_as_if_known_at_load(world, rows):
    """All but which items are liked together, which is counted at load."""
    interactions = world.interactions
    start = len(interactions) - rows
    live = world.retriever(interactions.select_rows(slice(start)))
    columns = (
        getattr(interactions, name)[start:].tolist() for name in ("user", "item", "value", "time")
    )
    for rating in zip(*columns, strict=True):
        assert live.update(event(*rating))
    anew = world.retriever()
    assert live.sources.popular.counts.tolist() == anew.sources.popular.counts.tolist()
    for user in (frequent_user(interactions), frequent_user(interactions, 50), UNKNOWN_USER):
        assert live.user_history.seen(user).tolist() == anew.user_history.seen(user).tolist()
        live_lists, new_lists = (lists_of(retriever, user, world.now) for retriever in (live, anew))
        for name in set(SOURCES) - {"co-liked"}:
            assert live_lists[name] == new_lists[name]


def test_an_item_of_a_later_year_is_not_shown_before(world):
    items = world.items.to_pylist()
    items[0] |= {"item_age": 2018}
    retriever = world.retriever(items=pa.Table.from_pylist(items, ITEM_COLUMNS))
    item = items[0]["item"]
    assert item not in allowed_items(retriever, UNKNOWN_USER, 1_500_000_000)
    assert item in allowed_items(retriever, UNKNOWN_USER, 1_520_000_000)


def test_no_ratings_no_items_and_neither_are_answered(world):
    no_ratings = world.interactions.select_rows(slice(0))
    unrated = world.retriever(no_ratings)
    candidates = unrated.candidates(UNKNOWN_USER, world.now)
    assert len(candidates) == len(allowed_items(unrated, UNKNOWN_USER, world.now)) > 0
    assert {candidate.sources for candidate in candidates} == {("catalogue",)}
    no_items = ITEM_COLUMNS.empty_table()
    for interactions in (no_ratings, world.interactions):
        retriever = world.retriever(interactions, no_items)
        assert retriever.candidates(UNKNOWN_USER, world.now) == ()
        assert retriever.update(event(UNKNOWN_USER, 5, 10, world.now))
        assert retriever.candidates(UNKNOWN_USER, world.now) == ()
        assert retriever.candidates(frequent_user(world.interactions), world.now) == ()


def test_fewer_items_than_the_limit_are_all_shown_the_liked_ones_first(world, retriever):
    candidates = retriever.candidates(UNKNOWN_USER, world.now, 1000)
    assert set(items_of(candidates)) == set(allowed_items(retriever, UNKNOWN_USER, world.now))
    sources = [candidate.sources for candidate in candidates]
    assert sources == sorted(sources, key=lambda names: names == (CATALOGUE,))


@pytest.mark.parametrize("config", [{"deep": False}, {"wide": False}])
def test_a_model_of_one_part_retrieves(world, config):
    retriever = world.retriever(model=random_model(world.model.transform, **config))
    user = frequent_user(world.interactions, 150)
    assert len(retriever.candidates(user, world.now, 20)) == 20
    assert bool(len(lists_of(retriever, user, world.now)["nearest"])) == ("wide" in config)


def test_an_item_the_model_has_no_embedding_for_is_near_nothing(world, retriever):
    items = world.tables.items.ids.tolist()
    retriever.update(event(UNKNOWN_USER, items[0], 10, world.now))
    nearest = set(lists_of(retriever, UNKNOWN_USER, world.now)["nearest"])
    assert nearest.isdisjoint(items[-5:])
    assert nearest <= set(items)


def test_a_limit_below_1_is_refused(world, retriever):
    with pytest.raises(InputError, match="limit is 0"):
        retriever.candidates(UNKNOWN_USER, world.now, 0)


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
    with pytest.raises(InputError, match=next(iter(wrong))):
        RetrieverConfig(**wrong)


def test_readers_and_a_writer_work_side_by_side(world, retriever):
    user, items = frequent_user(world.interactions, 150), world.tables.items.ids.tolist()
    unseen = [item for item in items if item not in retriever.user_history.seen(user)]

    def read(_):
        return [items_of(retriever.candidates(user, world.now)) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        readers = pool.map(read, range(3))
        for item in unseen[:20]:
            retriever.update(event(user, item, 10, world.now))
        lengths = [[len(shown) for shown in lists] for lists in readers]
    for lengths_of_reader in lengths:
        assert lengths_of_reader == sorted(lengths_of_reader, reverse=True), (
            "an item that has disappeared does not come back"
        )
    assert set(items_of(retriever.candidates(user, world.now))).isdisjoint(unseen[:20])


def test_a_request_takes_less_than_a_few_milliseconds(world, retriever):
    user = frequent_user(world.interactions, 150)
    seconds = []
    for _ in range(50):
        began = time.perf_counter()
        retriever.candidates(user, world.now)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.003

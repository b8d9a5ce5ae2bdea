"""The live state: bit-identical with the batch features, whatever the order of arrival."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.data.ingest import ingest
from widedeep.data.tables import IngestedData, Interactions
from widedeep.features.history.columns import compute_history
from widedeep.features.history.config import HistoryConfig
from widedeep.features.history.numbers import NUMERIC
from widedeep.features.history.queries import Queries
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError
from widedeep.serving.live_state import LiveState
from widedeep.store import ArtifactStore

CONFIG = HistoryConfig(length=4)
PRIOR = 0.6
USERS, ITEMS = (-3, 0, 7, 2**40), (10, 11, 12, 99)
patient = settings(max_examples=60)


def item_table():
    """Items 10 to 12; 99 is not among them."""
    strings = np.dtypes.StringDType()
    return ItemTable(
        np.array([10, 11, 12]),
        {},
        {"original_year": np.full(4, 2000.0)},
        {
            "genres": Ragged.from_lists([["a", "b"], ["b"], [], []], strings),
            "people": Ragged.from_lists([[1, 2], [2], [3], []], np.int64),
        },
    )


def log_of(rows):
    """Rows of (time, user, item, rate) as ingest leaves them: pairs once, in order."""
    first = {(user, item): (time, user, item, value) for time, user, item, value in rows[::-1]}
    kept = sorted(first.values())
    time, user, item, value = (np.array([row[i] for row in kept], np.int64) for i in range(4))
    return Interactions(user, item, value.astype(np.int8), time)


def cut(interactions, rows):
    return Interactions(
        interactions.user[rows],
        interactions.item[rows],
        interactions.value[rows],
        interactions.time[rows],
    )


EMPTY = log_of([])

rating = st.tuples(
    st.integers(0, 4).map(lambda hour: 10**9 + 3600 * hour),
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.integers(1, 10),
)
ratings = st.lists(rating, max_size=16).map(log_of)


def empty_state(items=None, interactions=EMPTY, config=CONFIG):
    return LiveState.from_interactions(interactions, item_table() if items is None else items, config, PRIOR)


def feed(state, interactions, rows=None):
    for i in range(len(interactions)) if rows is None else rows:
        state.update(
            int(interactions.user[i]),
            int(interactions.item[i]),
            int(interactions.value[i]),
            int(interactions.time[i]),
        )


def assert_as_in_batch(state, interactions, user, items, at, candidates=None, config=CONFIG):
    """The reading is, bit for bit, what the batch knows of these pairs strictly before `at`."""
    found = state.read(user, np.array(items), at)
    asked = Queries.for_every_pair(np.array([user]), np.array(items), at)
    batch = compute_history(
        interactions, asked, item_table() if candidates is None else candidates, config, PRIOR
    )
    numeric = found.values[:, : len(NUMERIC)].astype(np.float32)
    np.testing.assert_array_equal(numeric, batch.numeric)
    bags = batch.liked.decode(), batch.disliked.decode()
    for codes, bag in zip((found.liked, found.disliked), bags, strict=True):
        np.testing.assert_array_equal(state.items.ids_of(codes), bag.values[: bag.offsets[1]])


@patient
@given(ratings, st.sampled_from((*USERS, 5)), st.integers(-1, 3))
def test_a_log_fed_one_by_one_is_read_as_the_batch_reads_it(interactions, user, later):
    state = empty_state()
    feed(state, interactions)
    newest = int(interactions.time[-1]) if len(interactions) else 10**9
    at = newest + max(later, 0)
    assert_as_in_batch(state, interactions, user, [*ITEMS, 55], at)


@patient
@given(ratings, st.data())
def test_reads_between_ratings_are_those_of_the_batch_and_leave_no_trace(interactions, data):
    """Just before a rating, and of later moments while its instant goes on."""
    state = empty_state()
    for i in range(len(interactions)):
        user, item, at = (
            int(interactions.user[i]),
            int(interactions.item[i]),
            int(interactions.time[i]),
        )
        if data.draw(st.booleans()):
            assert_as_in_batch(state, interactions, user, [item], at)
        feed(state, interactions, [i])
        if data.draw(st.booleans()):
            assert_as_in_batch(state, cut(interactions, slice(i + 1)), user, [*ITEMS], at + 1)


@patient
@given(ratings, st.randoms(use_true_random=False))
def test_ratings_of_one_instant_may_come_in_any_order(interactions, random):
    order = sorted(range(len(interactions)), key=lambda i: (interactions.time[i], random.random()))
    state = empty_state()
    feed(state, interactions, order)
    for user in USERS:
        assert_as_in_batch(
            state, interactions, user, ITEMS, state.known_until if len(interactions) else 10**9
        )


@patient
@given(ratings, st.integers(0, 16))
def test_a_log_at_the_start_and_ratings_after_it_are_one_history(interactions, start):
    state = empty_state(interactions=cut(interactions, slice(start)))
    feed(state, interactions, range(min(start, len(interactions)), len(interactions)))
    for user in USERS:
        assert_as_in_batch(state, interactions, user, ITEMS, 2 * 10**9)


@patient
@given(ratings)
def test_a_read_of_the_newest_instant_knows_nothing_of_it(interactions):
    if not len(interactions):
        return
    state, at = empty_state(), int(interactions.time[-1])
    feed(state, interactions)
    for user in USERS:
        assert_as_in_batch(state, interactions, user, ITEMS, at + 7)
        assert_as_in_batch(state, cut(interactions, interactions.time < at), user, ITEMS, at)


def test_a_rating_counts_from_known_until_on():
    state = empty_state()
    state.update(7, 10, 10, 500)
    assert state.known_until == 501
    assert not len(state.read(7, np.array([11]), 500).liked)
    assert state.items.ids_of(state.read(7, np.array([11]), 501).liked).tolist() == [10]


def test_a_rating_that_comes_late_counts_as_one_of_the_newest_instant():
    late, in_time = empty_state(), empty_state()
    for state, time in ((late, 400), (in_time, 500)):
        state.update(0, 10, 9, 500)
        state.update(7, 10, 10, time)
    assert late.known_until == in_time.known_until == 501
    for at in (400, 500, 501):
        one, other = (s.read(7, np.array(ITEMS), at) for s in (late, in_time))
        np.testing.assert_array_equal(one.values[:, :-1], other.values[:, :-1])
        np.testing.assert_array_equal(one.liked, other.liked)


def test_a_reading_of_the_past_is_one_of_the_newest_instant():
    state = empty_state()
    state.update(0, 10, 9, 500)
    old, new = (state.read(0, np.array([10]), at) for at in (3, 500))
    assert old.time == new.time == 500
    np.testing.assert_array_equal(old.values[:, :-1], new.values[:, :-1])


def test_a_repeat_of_a_pair_changes_nothing():
    interactions = log_of([(100, 7, 10, 10)])
    state = empty_state(interactions=interactions)
    before = state.read(7, np.array(ITEMS), 900)
    assert not state.update(7, 10, 1, 800)
    assert state.update(7, 11, 1, 800)
    assert not state.update(7, 11, 2, 801)
    assert state.seen(7).tolist() == [10, 11]
    assert state.known_until == 801
    assert before.values[0, 0] != state.read(7, np.array(ITEMS), 900).values[0, 0]


def test_what_a_user_has_rated_is_known_at_once():
    state = empty_state(interactions=log_of([(100, 7, 12, 3), (50, 7, 10, 3), (60, 0, 11, 1)]))
    state.update(7, 99, 5, 200)
    assert state.seen(7).tolist() == [10, 12, 99]
    assert state.seen(0).tolist() == [11]
    assert state.seen(12345).tolist() == []
    state.update(12345, 99, 5, 200)
    assert state.seen(12345).tolist() == [99]


def test_thousands_of_new_users_and_items_find_room():
    generator = np.random.default_rng(0)
    items = ItemTable(np.empty(0, np.int64), {}, {"original_year": np.array([np.nan])}, no_bags())
    rows = [
        (1000 + i // 2, int(u), int(m), int(r))
        for i, (u, m, r) in enumerate(
            zip(
                generator.permutation(6000),
                generator.integers(0, 3000, 6000),
                generator.integers(1, 11, 6000),
                strict=True,
            )
        )
    ]
    interactions, state = log_of(rows), empty_state(items)
    feed(state, interactions)
    assert len(state.users.ids) == 6000
    for user in (int(interactions.user[0]), int(interactions.user[-1]), -1):
        assert_as_in_batch(
            state, interactions, user, interactions.item[::500].tolist(), 9000, items
        )


def no_bags():
    return {name: Ragged.from_lists([[]], np.int64) for name in ("genres", "people")}


def test_a_log_out_of_order_is_refused():
    interactions = Interactions(
        np.array([1, 2]), np.array([1, 2]), np.array([1, 2], np.int8), np.array([5, 4])
    )
    with pytest.raises(InputError, match="order of time"):
        empty_state(interactions=interactions)


def test_readers_never_see_half_an_instant():
    """While one thread writes, the user's count and liked items always belong together."""
    state = empty_state()
    items, last = np.array([10]), 2000
    done = []

    def look():
        seen = 0
        while not done:
            found = state.read(7, items, 10**9)
            seen = max(seen, len(found.liked))
            assert found.values[0, NUMERIC.index("user_count")] >= len(found.liked)
            assert len(found.liked) == min(found.values[0, NUMERIC.index("user_count")], 4)
        return seen

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for i in range(last):
            state.update(7, 1000 + i, 10, 5000 + i // 3)
        done.append(True)
        assert all(future.result() <= 4 for future in looking)


def replayed(folder, tmp_path, start, config):
    """Feed the ratings from place `start` on; each is read just before it comes."""
    ratings = IngestedData(ingest(folder, ArtifactStore(tmp_path), 1_800_000_000))
    interactions, items = ratings.interactions(), ItemTable.from_table(ratings.items())
    state = LiveState.from_interactions(cut(interactions, slice(start)), items, config, PRIOR)
    values, bags = [], ([], [])
    for i in range(start, len(interactions)):
        user, time = int(interactions.user[i]), int(interactions.time[i])
        found = state.read(user, interactions.item[i : i + 1], time)
        values.append(found.values[0, : len(NUMERIC)])
        for bag, codes in zip(bags, (found.liked, found.disliked), strict=True):
            bag.append(state.items.ids_of(codes).tolist())
        state.update(user, int(interactions.item[i]), int(interactions.value[i]), time)
    asked = Queries(
        interactions.user[start:],
        interactions.item[start:],
        interactions.time[start:],
        interactions.time[start:],
    )
    batch = compute_history(interactions, asked, items, config, PRIOR)
    np.testing.assert_array_equal(np.array(values, np.float32), batch.numeric)
    remembered = batch.liked.decode(), batch.disliked.decode()
    for bag, wanted in zip(bags, remembered, strict=True):
        np.testing.assert_array_equal(np.concatenate([*map(np.array, bag)]), wanted.values)
        assert [*map(len, bag)] == wanted.lengths.tolist()


def test_simulated_ratings_fed_live_have_the_features_of_the_batch(simulated, tmp_path):
    replayed(simulated, tmp_path, 0, HistoryConfig())


def test_the_last_ratings_of_kmrd_fed_live_have_the_features_of_the_batch(kmrd_small, tmp_path):
    replayed(kmrd_small, tmp_path, 132_000, HistoryConfig())

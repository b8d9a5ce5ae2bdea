"""The live state: bit-identical with the batch features, whatever the order of arrival."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import KMRD_HISTORY, event, ingest, rated
from widedeep.data.tables import IngestedData
from widedeep.features.attributes import AttributeTable, FeatureTables
from widedeep.features.history import NUMERIC, HistoryConfig, Queries, compute_history
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError
from widedeep.serving.history_snapshot import CodedEvent, HistorySnapshot, TiedEvents
from widedeep.serving.live_state import LiveState
from widedeep.store import ArtifactStore

CONFIG = HistoryConfig(
    length=4, user_attributes=("genres", "grade"), attributes=("people", "grade")
)
NUMBERS = len(NUMERIC) + len(CONFIG.attribute_numbers)
PRIOR = 0.6
USERS, ITEMS = (-3, 0, 7, 2**40), (10, 11, 12, 99)
ITEM_TABLE = FeatureTables(
    AttributeTable(
        np.array([10, 11, 12]),  # 99 is not among them
        {"grade": np.array(["PG", "", "R", ""], np.dtypes.StringDType())},
        {},
        {
            "genres": Ragged.from_lists([["a", "b"], ["b"], [], []], np.dtypes.StringDType()),
            "people": Ragged.from_lists([[1, 2], [2], [3], []], np.int64),
        },
    )
)
NO_ITEMS = FeatureTables(
    AttributeTable(
        np.empty(0, np.int64),
        {"grade": np.array([""], np.dtypes.StringDType())},
        {},
        {name: Ragged.from_lists([[]], np.int64) for name in ("genres", "people")},
    )
)
patient = settings(max_examples=60)


def interactions_of(rows):
    """Rows of (time, user, item, value) as ingest leaves them: pairs once, in order."""
    first = {(user, item): (time, user, item, value) for time, user, item, value in rows[::-1]}
    columns = [[row[i] for row in sorted(first.values())] for i in range(4)]
    time, user, item, value = (np.array(column, np.int64) for column in columns)
    return rated(user, item, value, time)


EMPTY = interactions_of([])

rating = st.tuples(
    st.integers(0, 4).map(lambda hour: 10**9 + 3600 * hour),
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.integers(1, 10),
)
ratings = st.lists(rating, max_size=16).map(interactions_of)


def live_state(interactions=EMPTY, tables=ITEM_TABLE, config=CONFIG):
    return LiveState.from_interactions(interactions, tables, config, PRIOR)


def feed(state, interactions, rows=None):
    for i in range(len(interactions)) if rows is None else rows:
        user, item, value, time = (
            int(getattr(interactions, name)[i]) for name in ("user", "item", "value", "time")
        )
        state.update(event(user, item, value, time))


def assert_as_in_batch(state, interactions, user, items, at, tables=ITEM_TABLE):
    """The read is, bit for bit, what the batch knows of these pairs strictly before `at`."""
    row = state.read(user, np.array(items), at)
    queries = Queries.for_every_pair(np.array([user]), np.array(items), at)
    batch = compute_history(interactions, queries, tables.items, CONFIG, PRIOR)
    numeric = row.values[:, :NUMBERS].astype(np.float32)
    np.testing.assert_array_equal(numeric, batch.numeric)
    bags = batch.liked.decode(), batch.disliked.decode()
    for codes, bag in zip((row.liked, row.disliked), bags, strict=True):
        np.testing.assert_array_equal(state.items.ids_of(codes), bag.values[: bag.offsets[1]])


def assert_equal_rows(row, other):
    np.testing.assert_array_equal(row.values, other.values)
    np.testing.assert_array_equal(row.liked, other.liked)
    np.testing.assert_array_equal(row.disliked, other.disliked)


@patient
@given(ratings, st.sampled_from((*USERS, 5)), st.integers(-1, 3))
def test_ratings_fed_one_by_one_are_read_as_the_batch_reads_them(interactions, user, later):
    state = live_state()
    feed(state, interactions)
    newest = int(interactions.time[-1]) if len(interactions) else 10**9
    assert_as_in_batch(state, interactions, user, [*ITEMS, 55], newest + max(later, 0))


@patient
@given(ratings, st.data())
def test_reads_between_ratings_are_those_of_the_batch_and_leave_no_trace(interactions, data):
    """Just before a rating, and of later moments while its moment goes on."""
    state = live_state()
    for i in range(len(interactions)):
        user, item, at = (int(getattr(interactions, name)[i]) for name in ("user", "item", "time"))
        if data.draw(st.booleans()):
            assert_as_in_batch(state, interactions, user, [item], at)
        feed(state, interactions, [i])
        if data.draw(st.booleans()):
            so_far = interactions.select_rows(slice(i + 1))
            assert_as_in_batch(state, so_far, user, [*ITEMS], at + 1)


@patient
@given(ratings, st.randoms(use_true_random=False))
def test_ratings_of_one_moment_may_come_in_any_order(interactions, random):
    order = sorted(range(len(interactions)), key=lambda i: (interactions.time[i], random.random()))
    state = live_state()
    feed(state, interactions, order)
    at = state.known_until if len(interactions) else 10**9
    for user in USERS:
        assert_as_in_batch(state, interactions, user, ITEMS, at)


@patient
@given(ratings, st.integers(0, 16))
def test_ratings_known_at_the_start_and_those_after_it_are_one_history(interactions, start):
    state = live_state(interactions.select_rows(slice(start)))
    feed(state, interactions, range(min(start, len(interactions)), len(interactions)))
    for user in USERS:
        assert_as_in_batch(state, interactions, user, ITEMS, 2 * 10**9)


@patient
@given(ratings)
def test_a_read_of_the_newest_moment_knows_nothing_of_it(interactions):
    if not len(interactions):
        return
    state, at = live_state(), int(interactions.time[-1])
    feed(state, interactions)
    before = interactions.select_rows(interactions.time < at)
    for user in USERS:
        assert_as_in_batch(state, interactions, user, ITEMS, at + 7)
        assert_as_in_batch(state, before, user, ITEMS, at)


@patient
@given(ratings, st.sampled_from((*USERS, 5)), st.sampled_from((*USERS, 5)))
def test_another_user_reads_the_same_with_the_item_numbers_of_an_earlier_read(
    interactions, first_user, other_user
):
    state, at = live_state(interactions), 2 * 10**9
    row = state.read(first_user, np.array([*ITEMS, 55]), at)
    expected = state.read(other_user, np.array([*ITEMS, 55]), at)

    assert_equal_rows(state.read_other_user(other_user, row), expected)


def test_every_item_is_read_by_code_and_the_unknown_one_last():
    interactions = interactions_of([(100, 7, 12, 3), (50, 7, 10, 3), (60, 0, 99, 1)])
    state = live_state(interactions)
    row = state.read_every_item(900)

    assert row.items.tolist() == [0, 1, 2, 3, 4]
    assert_equal_rows(row, state.read(12345, np.array([10, 11, 12, 99, -1]), 900))


def test_a_rating_counts_from_known_until_on():
    state = live_state()
    state.update(event(7, 10, 10, 500))
    assert state.known_until == 501
    assert not len(state.read(7, np.array([11]), 500).liked)
    assert state.items.ids_of(state.read(7, np.array([11]), 501).liked).tolist() == [10]


def test_a_rating_that_comes_late_counts_as_one_of_the_newest_moment():
    late, in_time = live_state(), live_state()
    for state, time in ((late, 400), (in_time, 500)):
        state.update(event(0, 10, 9, 500))
        state.update(event(7, 10, 10, time))
    assert late.known_until == in_time.known_until == 501
    for at in (400, 500, 501):
        assert_equal_rows(*(state.read(7, np.array(ITEMS), at) for state in (late, in_time)))


def test_a_read_of_the_past_is_one_of_the_newest_moment():
    state = live_state()
    state.update(event(0, 10, 9, 500))
    past, newest = (state.read(0, np.array([10]), at) for at in (3, 500))
    assert past.time == newest.time == 500
    assert_equal_rows(past, newest)


def test_a_repeat_of_a_pair_changes_nothing():
    state = live_state(interactions_of([(100, 7, 10, 10)]))
    before = state.read(7, np.array(ITEMS), 900)
    assert not state.update(event(7, 10, 1, 800))
    assert state.update(event(7, 11, 1, 800))
    assert not state.update(event(7, 11, 2, 801))
    assert state.seen(7).tolist() == [10, 11]
    assert state.known_until == 801
    assert before.values[0, 0] != state.read(7, np.array(ITEMS), 900).values[0, 0]


def test_what_a_user_has_rated_is_known_at_once():
    state = live_state(interactions_of([(100, 7, 12, 3), (50, 7, 10, 3), (60, 0, 11, 1)]))
    state.update(event(7, 99, 5, 200))
    assert state.seen(7).tolist() == [10, 12, 99]
    assert state.seen(0).tolist() == [11]
    assert state.seen(12345).tolist() == []
    state.update(event(12345, 99, 5, 200))
    assert state.seen(12345).tolist() == [99]


def test_thousands_of_new_users_and_items_find_room():
    generator = np.random.default_rng(0)
    users, items = generator.permutation(6000), generator.integers(0, 3000, 6000)
    values, times = generator.integers(1, 11, 6000), 1000 + np.arange(6000) // 2
    rows = [tuple(map(int, row)) for row in zip(times, users, items, values, strict=True)]
    interactions, state = interactions_of(rows), live_state(tables=NO_ITEMS)
    feed(state, interactions)
    assert len(state.users.ids) == 6000
    candidates = interactions.item[::500].tolist()
    for user in (int(interactions.user[0]), int(interactions.user[-1]), -1):
        assert_as_in_batch(state, interactions, user, candidates, 9000, NO_ITEMS)


def test_ratings_out_of_order_are_refused():
    interactions = rated(np.array([1, 2]), np.array([1, 2]), np.array([1, 2]), np.array([5, 4]))
    with pytest.raises(InputError, match="order of time"):
        live_state(interactions)


def test_a_snapshot_gives_further_ids_a_code():
    more = np.array([55, 7]), np.array([77])
    snapshot = HistorySnapshot.from_interactions(
        interactions_of([(100, 7, 10, 10)]), ITEM_TABLE.items, CONFIG, PRIOR, more
    )
    assert snapshot.users.tolist() == [7, 55]
    assert snapshot.items.tolist() == [10, 11, 12, 77]
    assert snapshot.newest.user.tolist() == [7]


def test_tied_events_that_are_applied_must_be_taken_back_before_one_is_added():
    state = live_state(interactions_of([(100, 7, 10, 10)]))
    tied, coded = TiedEvents(500), CodedEvent(7, 10, 0, 0, 1.0, 1.0)
    tied.add(coded)
    tied.apply(state._history)
    with pytest.raises(RuntimeError, match="take them back"):
        tied.add(coded)
    tied.take_back(state._history.state)
    tied.add(coded)


def test_readers_never_see_half_a_moment():
    """While one thread writes, the user's count and liked items always belong together."""
    state = live_state()
    items, done = np.array([10]), []
    user_count = NUMERIC.index("user_count")

    def read():
        longest = 0
        while not done:
            row = state.read(7, items, 10**9)
            longest = max(longest, len(row.liked))
            assert len(row.liked) == min(row.values[0, user_count], 4)
        return longest

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for i in range(2000):
            state.update(event(7, 1000 + i, 10, 5000 + i // 3))
        done.append(True)
        assert all(reader.result() <= 4 for reader in readers)


def assert_live_as_in_batch(folder, tmp_path, start, config):
    """Feed the ratings from row `start` on, reading each just before it comes."""
    ingested = IngestedData(ingest(folder, ArtifactStore(tmp_path), 1_800_000_000))
    interactions = ingested.interactions()
    tables = FeatureTables.from_side_tables(ingested.side_tables())
    state = live_state(interactions.select_rows(slice(start)), tables, config)
    values, bags = [], ([], [])
    for i in range(start, len(interactions)):
        user, time = int(interactions.user[i]), int(interactions.time[i])
        row = state.read(user, interactions.item[i : i + 1], time)
        values.append(row.values[0, : len(NUMERIC) + len(config.attribute_numbers)])
        for bag, codes in zip(bags, (row.liked, row.disliked), strict=True):
            bag.append(state.items.ids_of(codes).tolist())
        feed(state, interactions, [i])
    rest = interactions.select_rows(slice(start, None))
    queries = Queries(rest.user, rest.item, rest.time, rest.time)
    batch = compute_history(interactions, queries, tables.items, config, PRIOR)
    np.testing.assert_array_equal(np.array(values, np.float32), batch.numeric)
    for bag, expected in zip(bags, (batch.liked.decode(), batch.disliked.decode()), strict=True):
        np.testing.assert_array_equal(np.concatenate([*map(np.array, bag)]), expected.values)
        assert [*map(len, bag)] == expected.lengths.tolist()


def test_simulated_ratings_fed_live_have_the_features_of_the_batch(simulated, tmp_path):
    assert_live_as_in_batch(simulated, tmp_path, 0, KMRD_HISTORY)


def test_the_last_ratings_of_kmrd_fed_live_have_the_features_of_the_batch(kmrd_small, tmp_path):
    assert_live_as_in_batch(kmrd_small, tmp_path, 132_000, KMRD_HISTORY)

"""A server knows of its event log what the next retrain will know of it.

Ratings by user: those of a log, and every one since.
"""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.data.feedback_log import FEEDBACK_FILE, FEEDBACK_HEADER, FeedbackEvent, read_feedback
from widedeep.data.ingest import ingest
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.explain import DataSnapshot
from widedeep.retrieval.user_index import InteractionsByUser, UserHistory, merge_feedback
from widedeep.store import ArtifactStore

NOW = 1_800_000_000
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 9_000_000, 9_000_001]),
        st.sampled_from([10001, 10002, 10003, 404]),
        st.integers(0, 11),
        st.sampled_from([1_000_000_000, 1_400_000_000, 1_400_000_000, NOW - 1, NOW]),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def companion(versions):
    return DataSnapshot.load(versions[0].history)


@settings(max_examples=15)
@given(events=EVENTS)
def test_it_is_what_ingest_makes_of_it(companion, tiny, tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("events")
    path = folder / FEEDBACK_FILE
    path.write_text(FEEDBACK_HEADER + "".join(f"{','.join(map(str, event))}\n" for event in events))
    learned = IngestedData(ingest(tiny, ArtifactStore(folder / "store"), NOW, path)).load()
    known = merge_feedback(companion, read_feedback(path))
    for name in Interactions.__slots__:
        assert getattr(known, name).tolist() == getattr(learned, name).tolist(), name


def test_a_book_gives_a_users_ratings_in_order_of_time(companion):
    columns = {"user": [5, 5], "item": [10002, 10001], "value": [1, 9], "time": [NOW, NOW - 5]}
    interactions = merge_feedback(companion, pa.table(columns))
    book = UserHistory(InteractionsByUser.of(interactions))
    for user in (*set(companion.interactions.user[:40].tolist()), 5, -1):
        found = [(one.item, one.value, one.time) for one in book.of_user(user)]
        rows = interactions.user == user
        wanted = zip(
            interactions.item[rows], interactions.value[rows], interactions.time[rows], strict=True
        )
        assert found == [tuple(map(int, row)) for row in wanted]


USERS, ITEMS = (-1, 3, 2**40), (1, 2, 3, 4)
pairs = st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS), st.integers(1, 10))


def log_of(rows):
    """Rows of (user, item, rate), a second each."""
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    user, item, value = (np.array(column, np.int64) for column in columns)
    return Interactions(user, item, value.astype(np.int8), np.arange(len(rows)))


@given(
    st.lists(pairs, unique_by=lambda row: row[:2], max_size=12),
    st.lists(pairs, max_size=12),
)
def test_of_each_pair_the_first_rating_stands_in_the_order_of_time(rows, since):
    book, wanted = UserHistory(InteractionsByUser.of(log_of(rows))), {}
    for time, (user, item, value) in enumerate([*rows, *since]):
        news = (user, item) not in wanted
        if time >= len(rows):
            assert book.add(FeedbackEvent(user, item, value, time)) == news
        if news:
            wanted[user, item] = FeedbackEvent(user, item, value, time)
    for user in (*USERS, 0):
        events = [event for event in wanted.values() if event.user == user]
        assert list(book.of_user(user)) == events
        items, rates = book.rates(user)
        assert (items.dtype, rates.dtype) == (np.int64, np.int8)
        assert items.tolist() == book.seen(user).tolist() == [event.item for event in events]
        assert rates.tolist() == [event.value for event in events]

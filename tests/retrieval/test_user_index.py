"""Ratings by user: those known at load, those added since, and those of a feedback log."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import KMRD, event, ingest, log_line, rated
from widedeep.data.feedback_log import FEEDBACK_FILE, FEEDBACK_HEADER, read_feedback
from widedeep.data.ingest import check_locally
from widedeep.data.ingest import ingest as ingest_with
from widedeep.data.tables import IngestedData
from widedeep.evaluation.snapshot import DataSnapshot
from widedeep.retrieval.user_index import (
    IdCodes,
    InteractionsByUser,
    UserHistory,
    merge_feedback,
)
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
def snapshot(tiny, tmp_path_factory):
    ingested = IngestedData(ingest(tiny, ArtifactStore(tmp_path_factory.mktemp("stages")), NOW))
    return DataSnapshot.from_tables(ingested.interactions(), ingested.side_tables())


@settings(max_examples=15)
@given(events=EVENTS)
def test_merged_feedback_is_what_ingest_makes_of_it(snapshot, tiny, tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("events")
    path = folder / FEEDBACK_FILE
    path.write_text(FEEDBACK_HEADER + "".join(log_line(*row) for row in events))
    ingested = IngestedData(ingest(tiny, ArtifactStore(folder / "store"), NOW, path))
    merged, learned = merge_feedback(snapshot, read_feedback(path, KMRD)), ingested.interactions()
    for name in ("user", "item", "value", "time", "label"):
        assert getattr(merged, name).tolist() == getattr(learned, name).tolist(), name


def test_feedback_that_was_ingested_since_counts_once_where_repeats_count(tiny, tmp_path):
    spec = replace(KMRD, interactions=replace(KMRD.interactions, repeats="all"))
    path = tmp_path / FEEDBACK_FILE
    rows = [(1, 10001, 9, NOW - 9), (1, 10001, 9, NOW - 9), (1, 10001, 2, NOW - 5)]
    path.write_text(FEEDBACK_HEADER + "".join(log_line(*row) for row in rows))
    merged = []
    for events in (None, path):
        data = ingest_with(
            tiny, spec, ArtifactStore(tmp_path / "store"), NOW, events, check_locally
        )
        ingested = IngestedData(data)
        snapshot = DataSnapshot.from_tables(ingested.interactions(), ingested.side_tables())
        merged.append(merge_feedback(snapshot, read_feedback(path, spec)))
    assert merged[0].to_table().equals(merged[1].to_table())
    assert (merged[0].time >= NOW - 9).sum() == 3


def test_a_users_events_come_in_order_of_time(snapshot):
    columns = ([5, 5], [10002, 10001], [1, 9], [NOW, NOW - 5])
    feedback = rated(*(np.array(column) for column in columns))
    interactions = merge_feedback(snapshot, feedback)
    history = UserHistory(InteractionsByUser.from_interactions(interactions))
    for user in (*set(snapshot.interactions.user[:40].tolist()), 5, -1):
        rows = interactions.select_rows(interactions.user == user)
        columns = (rows.item.tolist(), rows.value.tolist(), rows.time.tolist())
        events = [(known.item, known.value, known.time) for known in history.events(user)]
        assert events == [*zip(*columns, strict=True)]


USERS, ITEMS = (-1, 3, 2**40), (1, 2, 3, 4)
ratings = st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS), st.integers(1, 10))


def interactions_of(rows):
    """Interactions of rows of (user, item, value), a second each."""
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    user, item, value = (np.array(column, np.int64) for column in columns)
    return rated(user, item, value, np.arange(len(rows)))


@given(
    st.lists(ratings, unique_by=lambda row: row[:2], max_size=12),
    st.lists(ratings, max_size=12),
)
def test_of_each_pair_the_first_rating_is_kept_in_the_order_of_time(loaded, added):
    history = UserHistory(InteractionsByUser.from_interactions(interactions_of(loaded)))
    first = {}
    for time, (user, item, value) in enumerate([*loaded, *added]):
        new_event, is_new = event(user, item, value, time), (user, item) not in first
        if time >= len(loaded):
            assert history.add(new_event) == is_new
        if is_new:
            first[user, item] = new_event
    for user in (*USERS, 0):
        events = [known for known in first.values() if known.user == user]
        assert list(history.events(user)) == events
        items, labels = history.labels(user)
        assert (items.dtype, labels.dtype) == (np.int64, np.bool_)
        assert items.tolist() == history.seen(user).tolist() == [known.item for known in events]
        assert labels.tolist() == [known.label for known in events]


@given(st.lists(st.integers(-9, 9)), st.lists(st.integers(-12, 12)))
def test_codes_are_those_of_the_ids_and_back(base, added):
    codes = IdCodes.from_ids(np.array(base, np.int64))
    known = sorted(set(base))
    assert codes.unknown_code == len(known)
    new = [id_ for id_ in dict.fromkeys(added) if id_ not in known]
    assert [codes.code(id_) for id_ in new] == [len(known)] * len(new)
    for id_ in added:
        codes.add(id_)
    ids = np.array([*known, *new], np.int64)
    expected = [*range(len(known)), *range(len(known) + 1, len(ids) + 1)]
    assert len(codes) == len(ids) + 1
    assert codes.ids.tolist() == ids.tolist()
    assert codes.codes(ids).tolist() == [codes.code(id_) for id_ in ids.tolist()] == expected
    assert codes.ids_of(np.array(expected, np.int64)).tolist() == ids.tolist()
    assert codes.codes(np.array([99])).tolist() == [codes.unknown_code]

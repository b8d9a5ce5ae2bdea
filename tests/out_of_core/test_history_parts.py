"""History in parts is history as a whole, to the bit, however time is cut."""

from dataclasses import replace

import numpy as np
import pytest

from tests.worlds import ingest
from widedeep.data.tables import IngestedData
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import (
    ColumnSelection,
    HistoryColumns,
    HistoryConfig,
    all_columns,
    compute_history,
    start_pass,
)
from widedeep.features.history.columns import copy_pass
from widedeep.features.training_data import example_queries
from widedeep.inputs import InputError
from widedeep.out_of_core.history_parts import history_in_batches, split_history
from widedeep.store import ArtifactStore

PRIOR = 0.6
CONFIG = HistoryConfig(length=3, user_attributes=("genres", "grade"), attributes=("people",))
ALL = all_columns(CONFIG), CONFIG.attribute_numbers
KINDS = ["fresh", "stale", "frozen", "unknown"]


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory):
    store = ArtifactStore(tmp_path_factory.mktemp("stages"))
    ingested = IngestedData(ingest(tiny, store, 1_800_000_000))
    return ingested.interactions(), FeatureTables.from_side_tables(ingested.side_tables()).items


def queries_of(interactions, kind):
    fresh = example_queries(interactions, np.ones(len(interactions), np.bool_))
    if kind == "fresh":
        return fresh
    if kind == "frozen":
        start = int(interactions.time[3000])
        return example_queries(interactions, interactions.time >= start, start)
    if kind == "unknown":
        return replace(fresh, user=-fresh.user, item=fresh.item + 1_000_000)
    cuts = np.random.default_rng(1).integers(0, 800 * 86_400, len(interactions))
    return fresh.known_earlier(cuts)


def inputs_of(world, kind):
    interactions, tables = world
    return interactions, queries_of(interactions, kind), tables, CONFIG, PRIOR


def assert_identical(history, expected):
    assert np.array_equal(history.numeric, expected.numeric, equal_nan=True)
    for name in ("liked", "disliked"):
        bag, expected_bag = (getattr(columns, name).decode() for columns in (history, expected))
        assert np.array_equal(bag.values, expected_bag.values)
        assert np.array_equal(bag.offsets, expected_bag.offsets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [2, 5])
def test_many_workers_compute_what_one_computes(world, kind, workers):
    histories = []
    for count in (1, workers):
        history_pass, items = start_pass(*inputs_of(world, kind))
        order = np.argsort(history_pass.known_until, kind="stable")
        passes = copy_pass(history_pass, count)
        histories.append(HistoryColumns.compute(passes, order, items, *ALL))
    assert_identical(*histories)


def test_only_selected_columns_are_computed(world):
    inputs = inputs_of(world, "fresh")
    names = ("user_genres_residual", "item_mean")

    whole = compute_history(*inputs)
    some = compute_history(*inputs, selection=ColumnSelection(names, bags=()))

    assert some.numeric.shape == (len(whole.numeric), 2)
    for name in names:
        assert np.array_equal(some.column(name), whole.column(name), equal_nan=True)
    assert not some.liked.codes.lengths.any()
    assert len(some.disliked) == len(whole.numeric)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_parts_in_any_order_are_the_whole(world, kind, count):
    inputs = inputs_of(world, kind)
    whole, rows = compute_history(*inputs), []
    for part in reversed(list(split_history(*inputs, count=count))):
        assert_identical(part.compute(), whole.select_rows(part.rows))
        rows.append(part.rows)
    assert len(rows) == count
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(len(inputs[1])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [700, 10**6])
def test_batches_one_after_another_are_the_whole(world, kind, size):
    inputs = inputs_of(world, kind)
    whole, rows = compute_history(*inputs), []
    for positions, history in history_in_batches(*inputs, rows=size):
        assert len(positions) <= size
        assert_identical(history, whole.select_rows(positions))
        rows.append(positions)
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(len(inputs[1])))


def test_a_part_holds_only_the_users_that_it_meets(world):
    inputs = inputs_of(world, "fresh")
    for part in split_history(*inputs, count=20):
        users = len(part.history_pass.history.state.user)
        assert users == len(np.unique(inputs[1].user[part.rows]))
        assert users < len(np.unique(inputs[0].user)) / 2


def test_a_part_can_be_computed_again(world):
    *_, last = split_history(*inputs_of(world, "fresh"), count=2)
    first, again = (last.compute().numeric for _ in range(2))
    assert np.array_equal(first, again, equal_nan=True)


def test_there_are_no_more_parts_than_rows(world):
    interactions, queries, *rest = inputs_of(world, "fresh")
    few, none = (queries.select_rows(np.arange(count)) for count in (3, 0))
    assert len(list(split_history(interactions, few, *rest, count=8))) == 3
    assert not list(split_history(interactions, none, *rest, count=8))


def test_ratings_out_of_order_are_an_error(world):
    interactions, *rest = inputs_of(world, "fresh")
    backwards = interactions.select_rows(np.arange(len(interactions))[::-1])
    with pytest.raises(InputError, match="order of time"):
        next(split_history(backwards, *rest, count=2))
    with pytest.raises(InputError, match="order of time"):
        next(history_in_batches(backwards, *rest, rows=100))

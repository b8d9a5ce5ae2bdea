"""History in pieces is history as a whole, to the bit, however time is cut."""

from dataclasses import replace

import numpy as np
import pytest

from widedeep.data.ingest import ingest
from widedeep.data.tables import IngestedData
from widedeep.features.history.columns import HistoryColumns, compute_history, copy_pass, start_pass
from widedeep.features.history.config import HistoryConfig
from widedeep.features.history.queries import ColumnSelection
from widedeep.features.items import ItemTable
from widedeep.features.training_data import example_queries
from widedeep.out_of_core.history_parts import split_history
from widedeep.store import ArtifactStore

PRIOR = 0.6
CONFIG = HistoryConfig(length=3)


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory):
    store = ArtifactStore(tmp_path_factory.mktemp("stages"))
    ratings = IngestedData(ingest(tiny, store, 1_800_000_000))
    return ratings.interactions(), ItemTable.from_table(ratings.items())


def asked(interactions, how):
    fresh = example_queries(interactions, np.ones(len(interactions), np.bool_))
    if how == "fresh":
        return fresh
    if how == "frozen":
        return example_queries(
            interactions, interactions.time >= interactions.time[3000], int(interactions.time[3000])
        )
    if how == "strangers":
        return replace(fresh, user=-fresh.user, item=fresh.item + 1_000_000)
    cuts = np.random.default_rng(1).integers(0, 800 * 86_400, len(interactions))
    return fresh.known_earlier(cuts)


def same(found, wanted):
    assert np.array_equal(found.numeric, wanted.numeric, equal_nan=True)
    for bag in ("liked", "disliked"):
        one, other = (getattr(of, bag).decode() for of in (found, wanted))
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.offsets, other.offsets)


@pytest.mark.parametrize("how", ["fresh", "stale", "frozen", "strangers"])
@pytest.mark.parametrize("many", [2, 5])
def test_many_walkers_find_what_one_finds(world, how, many):
    interactions, item_table = world
    found = []
    for count in (1, many):
        sweep, items = start_pass(interactions, asked(interactions, how), item_table, CONFIG, PRIOR)
        order = np.argsort(sweep.known_until, kind="stable")
        found.append(HistoryColumns.of_walk(copy_pass(sweep, count), order, items))
    same(*found)


def test_only_what_is_wanted_is_kept(world):
    interactions, item_table = world
    known = (interactions, asked(interactions, "fresh"), item_table, CONFIG, PRIOR)
    names = ("user_genre_residual", "item_mean")
    whole, some = (
        compute_history(*known),
        compute_history(*known, selection=ColumnSelection(names, bags=())),
    )
    assert some.numeric.shape == (len(interactions), 2)
    for name in names:
        assert np.array_equal(some.column(name), whole.column(name), equal_nan=True)
    assert not some.liked.codes.lengths.any()
    assert len(some.disliked) == len(interactions)


@pytest.mark.parametrize("how", ["fresh", "stale", "frozen", "strangers"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_pieces_are_the_whole(world, how, count):
    interactions, item_table = world
    known = (interactions, asked(interactions, how), item_table, CONFIG, PRIOR)
    whole, rows = compute_history(*known), []
    for piece in reversed(list(split_history(*known, count=count))):
        same(piece.columns(), whole.take(piece.rows))
        rows.append(piece.rows)
    assert len(rows) == count
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(len(known[1])))


def test_a_piece_holds_only_those_whom_it_meets(world):
    interactions, item_table = world
    fresh = asked(interactions, "fresh")
    for piece in split_history(interactions, fresh, item_table, CONFIG, PRIOR, count=20):
        assert len(piece.sweep.state.user) == len(np.unique(fresh.user[piece.rows]))
        assert len(piece.sweep.state.user) < len(np.unique(interactions.user)) / 2


def test_a_piece_can_be_described_again(world):
    interactions, item_table = world
    fresh = asked(interactions, "fresh")
    *_, last = split_history(interactions, fresh, item_table, CONFIG, PRIOR, count=2)
    first, again = (last.columns().numeric for _ in range(2))
    assert np.array_equal(first, again, equal_nan=True)


def test_more_pieces_than_rows_are_as_many_as_there_are_rows(world):
    interactions, item_table = world
    few = asked(interactions, "fresh").take(np.arange(3))
    assert len(list(split_history(interactions, few, item_table, CONFIG, PRIOR, count=8))) == 3
    none = few.take(np.arange(0))
    assert not list(split_history(interactions, none, item_table, CONFIG, PRIOR, count=8))

"""What a model carries beside its weights is loaded as it was saved."""

import numpy as np
import pytest

from widedeep.data.tables import Interactions
from widedeep.evaluation.snapshot import (
    UNKNOWN_ID,
    DataSnapshot,
    GoldenRequests,
    item_table_digests,
    load_item_tables,
)


@pytest.fixture
def interactions():
    rows = np.arange(300)
    return Interactions(rows % 7, rows % 5 + 1, (rows % 10 + 1).astype(np.int8), 1000 + rows)


def test_a_snapshot_is_loaded_as_it_was_saved(interactions, item_tables, tmp_path):
    DataSnapshot.from_tables(interactions, *item_tables).save(tmp_path)
    loaded = DataSnapshot.load(tmp_path)
    for name in Interactions.__slots__:
        assert np.array_equal(getattr(loaded.interactions, name), getattr(interactions, name))
    items, people = load_item_tables(tmp_path)
    assert loaded.items.equals(items)
    assert items.equals(item_tables[0])
    assert people.equals(item_tables[1])
    assert loaded.item_table.ids.tolist() == item_tables[0]["item"].to_pylist()


def test_digests_change_with_items_or_people_and_not_with_ratings(
    interactions, item_tables, tmp_path
):
    items, people = item_tables

    def digests(*tables):
        DataSnapshot.from_tables(*tables).save(tmp_path)
        return item_table_digests(tmp_path)

    whole = digests(interactions, items, people)
    assert digests(interactions.select_rows(slice(9)), items, people) == whole
    assert digests(interactions, items.slice(1), people)[0] != whole[0]
    assert digests(interactions, items, people.slice(1)) != whole


def test_golden_requests_follow_the_last_ratings_and_include_unknown_ids(interactions, tmp_path):
    golden = GoldenRequests.compute(interactions, lambda queries: queries.item / 10)
    assert len(golden.user) == 200
    assert set(golden.time.tolist()) == {interactions.time[-1] + 1}
    unknown = (golden.user == UNKNOWN_ID) | (golden.item == UNKNOWN_ID)
    assert (golden.user == UNKNOWN_ID).sum() == (golden.item == UNKNOWN_ID).sum() == 20
    last = interactions.select_rows(slice(-200, None))
    assert np.array_equal(golden.user[~unknown], last.user[~unknown])
    assert np.array_equal(golden.item[~unknown], last.item[~unknown])
    golden.save(tmp_path / "golden.parquet")
    assert np.array_equal(
        GoldenRequests.load(tmp_path / "golden.parquet").probability, golden.item / 10
    )

"""What a model carries beside its weights is loaded as it was saved."""

from dataclasses import replace

import numpy as np
import pytest

from tests.worlds import rated
from widedeep.evaluation.snapshot import (
    UNKNOWN_ID,
    DataSnapshot,
    GoldenRequests,
    side_table_digests,
)


@pytest.fixture
def interactions():
    rows = np.arange(300)
    return rated(rows % 7, rows % 5 + 1, (rows % 10 + 1), 1000 + rows)


def test_a_snapshot_is_loaded_as_it_was_saved(interactions, side, tmp_path):
    DataSnapshot.from_tables(interactions, side).save(tmp_path)
    loaded = DataSnapshot.load(tmp_path)
    for name in ("user", "item", "value", "time", "label"):
        assert np.array_equal(getattr(loaded.interactions, name), getattr(interactions, name))
    assert loaded.side.items.equals(side.items)
    assert loaded.side.names.equals(side.names)
    assert loaded.side.spec == side.spec
    assert loaded.tables.items.ids.tolist() == side.items["item"].to_pylist()


def test_digests_change_with_the_tables_and_not_with_interactions(interactions, side, tmp_path):
    def digests(interactions, side):
        DataSnapshot.from_tables(interactions, side).save(tmp_path)
        return side_table_digests(tmp_path)

    whole = digests(interactions, side)
    assert digests(interactions.select_rows(slice(9)), side) == whole
    assert digests(interactions, replace(side, items=side.items.slice(1))) != whole
    assert digests(interactions, replace(side, names=side.names.slice(1))) != whole


def test_golden_requests_follow_the_last_ratings_and_include_unknown_ids(
    interactions, side, tmp_path
):
    golden = GoldenRequests.compute(interactions, lambda queries: queries.item / 10)
    assert len(golden.user) == 200
    assert set(golden.time.tolist()) == {interactions.time[-1] + 1}
    unknown = (golden.user == UNKNOWN_ID) | (golden.item == UNKNOWN_ID)
    assert (golden.user == UNKNOWN_ID).sum() == (golden.item == UNKNOWN_ID).sum() == 20
    last = interactions.select_rows(slice(-200, None))
    assert np.array_equal(golden.user[~unknown], last.user[~unknown])
    assert np.array_equal(golden.item[~unknown], last.item[~unknown])
    golden.save(tmp_path / "golden.parquet", side)
    assert np.array_equal(
        GoldenRequests.load(tmp_path / "golden.parquet").probability, golden.item / 10
    )

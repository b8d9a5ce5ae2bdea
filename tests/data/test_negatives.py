"""Sampled negatives are items that existed then and that their user had not met."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data.negatives import sample_negatives

ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8), st.integers(0, 20)), min_size=1, max_size=40
)


def positives(rows):
    frame = pd.DataFrame(sorted(rows, key=lambda row: (row[2], row[0], row[1])))
    frame.columns = ["user", "item", "time"]
    frame = frame.astype(np.int64).assign(device=[f"d{i}" for i in range(len(frame))])
    return pa.Table.from_pandas(frame.assign(label=True, value=np.float32(1)), preserve_index=False)


@given(ROWS, st.integers(1, 4))
def test_a_negative_could_have_been_chosen_and_was_not(rows, per_positive):
    table = positives(rows)
    both = sample_negatives(table, per_positive).to_pandas()
    happened = both[~both.sampled].reset_index(drop=True)
    assert happened.drop(columns="sampled").equals(table.to_pandas())
    for row in both[both.sampled].itertuples():
        earlier = happened[happened.time < row.time]
        known = happened[(happened.time <= row.time) & (happened.user == row.user)]
        assert row.item in {*earlier.item}
        assert row.item not in {*known.item}
        assert (row.label, row.value) == (False, 0)
        (own,) = happened[happened.device == row.device].itertuples()
        assert (own.user, own.time) == (row.user, row.time)
    assert both.groupby("device").sampled.sum().max() <= per_positive


@given(ROWS)
def test_later_rows_change_no_earlier_negative(rows):
    later = [(user, item, time + 21) for user, item, time in rows]
    before = sample_negatives(positives(rows), 2).to_pandas()
    after = sample_negatives(positives([*rows, *later]), 2).to_pandas()
    columns = ["user", "item", "time", "label", "sampled"]
    pd.testing.assert_frame_equal(before[columns], after[after.time <= 20][columns])


def test_popular_items_are_drawn_as_often_as_they_are_chosen():
    rng = np.random.default_rng(0)
    items = rng.choice(4, 4000, p=[0.6, 0.2, 0.15, 0.05])
    rows = [(user, int(item), user) for user, item in enumerate(items)]
    both = sample_negatives(positives(rows), 4).to_pandas()
    shares = both[both.sampled & (both.time > 200)].item.value_counts(normalize=True).sort_index()
    # Each draw leaves out the item that its user chose.
    chosen = np.array([0.6, 0.2, 0.15, 0.05])
    expected = sum(
        share * np.where(np.arange(4) == own, 0, chosen) / (1 - share)
        for own, share in enumerate(chosen)
    )
    assert shares.to_numpy() == pytest.approx(expected, abs=0.02)

"""Encoded rows: what was written is read back equal, and rows stay together.

What stands behind a wide feature is counted, not estimated.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.encoded import EncodedRows, FeatureSupport, safe_ratio
from widedeep.features.quantiles import QuantisedNumbers
from widedeep.features.ragged import Ragged

BAGS = [[], [3], [1, 1, 0]]
FULL = EncodedRows(
    np.array([[1, 0], [2, 9], [2**31 - 1, 4]], np.int32),
    (Ragged.from_lists(BAGS, np.int32), Ragged.from_lists([[], [], []], np.int32)),
    QuantisedNumbers(np.array([[9, 1], [100, 0], [0, 1]], np.uint8), np.array([100, 1])),
    Ragged.from_lists([[5, 2], [], [7]], np.int32),
    np.array([-0.5, 1 / 3, 2], np.float32),
)
MANY = EncodedRows(
    np.arange(2 * 12, dtype=np.int32).reshape(2, 12),
    tuple(Ragged.from_lists([[i], []], np.int32) for i in range(12)),
    QuantisedNumbers(np.arange(24, dtype=np.uint16).reshape(2, 12), np.full(12, 300)),
    Ragged.from_lists([[], []], np.int32),
    np.zeros(2, np.float32),
)
BARE = EncodedRows(
    np.empty((2, 0), np.int32),
    (),
    QuantisedNumbers.empty(2, []),
    Ragged.from_lists([[1], []], np.int32),
    np.ones(2, np.float32),
)
NO_ROWS = FULL.take(np.empty(0, np.int64))
CASES = {"full": FULL, "more than ten of each": MANY, "wide alone": BARE, "no rows": NO_ROWS}


def arrays(rows):
    ragged = [*rows.bags, rows.wide]
    return [
        rows.categories,
        rows.numbers.quantile,
        rows.numbers.counts,
        rows.prior_logit,
        *(a for r in ragged for a in (r.values, r.offsets)),
    ]


def assert_equal(found, wanted):
    assert len(found.bags) == len(wanted.bags)
    for one, other in zip(arrays(found), arrays(wanted), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_what_was_saved_is_loaded_equal_and_can_be_written_to(rows, tmp_path):
    rows.save(tmp_path / "rows.parquet")

    found = EncodedRows.load(tmp_path / "rows.parquet")

    assert_equal(found, rows)
    assert all(array.flags.writeable for array in arrays(found))


def test_taking_keeps_each_rows_parts_together():
    taken = FULL.take(np.array([2, 0, 2]))

    assert taken.categories[:, 1].tolist() == [4, 0, 4]
    assert taken.numbers.quantile[:, 0].tolist() == [0, 9, 0]
    assert taken.offset.tolist() == [2, -0.5, 2]
    assert taken.bags[0].lengths.tolist() == [3, 0, 3]
    assert taken.wide.values.tolist() == [7, 5, 2, 7]
    assert len(taken) == 3


def test_a_mask_takes_the_rows_it_marks():
    mask = np.array([True, False, True])

    assert_equal(FULL.take(mask), FULL.take(np.array([0, 2])))


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_parts_joined_are_the_whole(rows):
    parts = [rows.take(np.array([i])) for i in range(len(rows))]

    assert_equal(EncodedRows.concatenate([*parts, rows.take(np.empty(0, np.int64))]), rows)


SIZE = 6
ROWS = st.lists(st.tuples(st.lists(st.integers(0, SIZE - 1), max_size=5), st.booleans()))


def count(rows):
    wide = Ragged.from_lists([fired for fired, _ in rows], np.int32)
    return FeatureSupport.count(wide, np.array([label for _, label in rows], bool), SIZE)


@given(ROWS)
def test_support_and_positives_are_counts_of_rows_however_often_an_id_stands_in_one(rows):
    found = count(rows)
    support = Counter(i for fired, _ in rows for i in set(fired))
    positives = Counter(i for fired, label in rows for i in set(fired) if label)
    assert found.support.tolist() == [support[i] for i in range(SIZE)]
    assert found.positives.tolist() == [positives[i] for i in range(SIZE)]
    assert found.rows == len(rows)
    assert found.positive_rows == sum(label for _, label in rows)


def test_the_positive_rate_is_unknown_where_nothing_fired():
    found = count([([0, 1], True), ([0], False), ([1], True)])
    assert found.positive_rate[:2].tolist() == [0.5, 1.0]
    assert np.isnan(found.positive_rate[2:]).all()
    assert found.overall_rate == 2 / 3
    assert np.isnan(count([]).overall_rate)


def test_a_share_of_nothing_is_unknown():
    found = safe_ratio(np.array([1, 0]), np.array([4, 0]))
    assert found[0] == 0.25
    assert np.isnan(found[1])


def test_evidence_is_read_back_as_it_was_written(tmp_path):
    wanted = count([([0, 1], True), ([0], False)])
    wanted.save(tmp_path / "evidence.safetensors")
    found = FeatureSupport.load(tmp_path / "evidence.safetensors")
    assert np.array_equal(found.support, wanted.support)
    assert np.array_equal(found.positives, wanted.positives)
    assert (found.rows, found.positive_rows) == (wanted.rows, wanted.positive_rows) == (2, 1)

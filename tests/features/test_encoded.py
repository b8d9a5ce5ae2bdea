"""Encoded rows are read back equal and stay together; the support of wide features is counted."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.encoded import EncodedRows, FeatureSupport, safe_ratio
from widedeep.features.quantiles import QuantisedNumbers
from widedeep.features.ragged import Ragged

FULL = EncodedRows(
    np.array([[1, 0], [2, 9], [2**31 - 1, 4]], np.int32),
    (
        Ragged.from_lists([[], [3], [1, 1, 0]], np.int32),
        Ragged.from_lists([[], [], []], np.int32),
    ),
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
NO_ROWS = FULL.select_rows(np.empty(0, np.int64))
CASES = {"full": FULL, "more than ten of each": MANY, "wide alone": BARE, "no rows": NO_ROWS}


def arrays(rows):
    return [
        rows.categories,
        rows.numbers.quantile,
        rows.numbers.counts,
        rows.prior_logit,
        *(a for ragged in (*rows.bags, rows.wide) for a in (ragged.values, ragged.offsets)),
    ]


def assert_equal(rows, expected):
    assert len(rows.bags) == len(expected.bags)
    for array, expected_array in zip(arrays(rows), arrays(expected), strict=True):
        assert array.dtype == expected_array.dtype
        assert array.shape == expected_array.shape
        assert array.tobytes() == expected_array.tobytes()


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_what_was_saved_is_loaded_equal_and_can_be_written_to(rows, tmp_path):
    rows.save(tmp_path / "rows.parquet")

    loaded = EncodedRows.load(tmp_path / "rows.parquet")

    assert_equal(loaded, rows)
    assert all(array.flags.writeable for array in arrays(loaded))


def test_selecting_keeps_each_rows_parts_together():
    selected = FULL.select_rows(np.array([2, 0, 2]))

    assert selected.categories[:, 1].tolist() == [4, 0, 4]
    assert selected.numbers.quantile[:, 0].tolist() == [0, 9, 0]
    assert selected.prior_logit.tolist() == [2, -0.5, 2]
    assert selected.bags[0].lengths.tolist() == [3, 0, 3]
    assert selected.wide.values.tolist() == [7, 5, 2, 7]
    assert len(selected) == 3


def test_a_mask_selects_the_rows_it_marks():
    mask = np.array([True, False, True])

    assert_equal(FULL.select_rows(mask), FULL.select_rows(np.array([0, 2])))


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_parts_joined_are_the_whole(rows):
    parts = [rows.select_rows(np.array([i])) for i in range(len(rows))]
    parts.append(rows.select_rows(np.empty(0, np.int64)))

    assert_equal(EncodedRows.concatenate(parts), rows)


WIDE_SIZE = 6
FIRED_ROWS = st.lists(st.tuples(st.lists(st.integers(0, WIDE_SIZE - 1), max_size=5), st.booleans()))


def count_support(rows):
    wide = Ragged.from_lists([fired for fired, _ in rows], np.int32)
    return FeatureSupport.count(wide, np.array([label for _, label in rows], bool), WIDE_SIZE)


@given(FIRED_ROWS)
def test_support_and_positives_count_rows_however_often_an_id_stands_in_one(rows):
    support = count_support(rows)

    counts = Counter(i for fired, _ in rows for i in set(fired))
    positives = Counter(i for fired, label in rows for i in set(fired) if label)
    assert support.counts.tolist() == [counts[i] for i in range(WIDE_SIZE)]
    assert support.positives.tolist() == [positives[i] for i in range(WIDE_SIZE)]
    assert support.rows == len(rows)
    assert support.positive_rows == sum(label for _, label in rows)


def test_the_positive_rate_is_unknown_where_nothing_fired():
    support = count_support([([0, 1], True), ([0], False), ([1], True)])

    assert support.positive_rate[:2].tolist() == [0.5, 1.0]
    assert np.isnan(support.positive_rate[2:]).all()
    assert support.overall_rate == 2 / 3
    assert np.isnan(count_support([]).overall_rate)


def test_a_share_of_nothing_is_unknown():
    ratio = safe_ratio(np.array([1, 0]), np.array([4, 0]))

    assert ratio[0] == 0.25
    assert np.isnan(ratio[1])


def test_support_is_read_back_as_it_was_written(tmp_path):
    support = count_support([([0, 1], True), ([0], False)])

    support.save(tmp_path / "support.safetensors")

    loaded = FeatureSupport.load(tmp_path / "support.safetensors")
    assert np.array_equal(loaded.counts, support.counts)
    assert np.array_equal(loaded.positives, support.positives)
    assert (loaded.rows, loaded.positive_rows) == (support.rows, support.positive_rows) == (2, 1)

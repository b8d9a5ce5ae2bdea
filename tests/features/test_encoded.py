"""Encoded rows: what was written is read back equal, and rows stay together."""

import numpy as np
import pytest

from widedeep.features.encoded import Encoded
from widedeep.features.number_quantiles import NumberQuantiles
from widedeep.features.ragged import Ragged

BAGS = [[], [3], [1, 1, 0]]
FULL = Encoded(
    np.array([[1, 0], [2, 9], [2**31 - 1, 4]], np.int32),
    (Ragged.from_lists(BAGS, np.int32), Ragged.from_lists([[], [], []], np.int32)),
    NumberQuantiles(np.array([[9, 1], [100, 0], [0, 1]], np.uint8), np.array([100, 1])),
    Ragged.from_lists([[5, 2], [], [7]], np.int32),
    np.array([-0.5, 1 / 3, 2], np.float32),
)
MANY = Encoded(
    np.arange(2 * 12, dtype=np.int32).reshape(2, 12),
    tuple(Ragged.from_lists([[i], []], np.int32) for i in range(12)),
    NumberQuantiles(np.arange(24, dtype=np.uint16).reshape(2, 12), np.full(12, 300)),
    Ragged.from_lists([[], []], np.int32),
    np.zeros(2, np.float32),
)
BARE = Encoded(
    np.empty((2, 0), np.int32),
    (),
    NumberQuantiles.empty(2, []),
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
        rows.offset,
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

    found = Encoded.load(tmp_path / "rows.parquet")

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

    assert_equal(Encoded.concatenate([*parts, rows.take(np.empty(0, np.int64))]), rows)

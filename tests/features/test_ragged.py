"""Ragged rows behave as a list of lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.ragged import Ragged

STRINGS = np.dtypes.StringDType()
NUMBERS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4), max_size=8)
WORDS = st.lists(st.lists(st.text("가나다 -ab", max_size=3), max_size=3), max_size=6)

patient = settings(max_examples=60)


def as_lists(ragged):
    return [
        ragged.values[start:stop].tolist()
        for start, stop in zip(ragged.offsets, ragged.offsets[1:], strict=False)
    ]


@patient
@given(NUMBERS)
def test_rows_come_back_as_they_were_given(rows):
    ragged = Ragged.from_lists(rows, np.int32)

    assert as_lists(ragged) == rows
    assert len(ragged) == len(rows)
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert ragged.row_numbers().tolist() == [i for i, row in enumerate(rows) for _ in row]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, STRINGS])
def test_dtypes_stay_whatever_is_selected(dtype):
    ragged = Ragged.from_lists([[], []], dtype)
    selections = [np.array([1]), np.empty(0, np.int64)]

    for rows in (ragged, *(ragged.select_rows(selection) for selection in selections)):
        assert rows.values.dtype == np.dtype(dtype)
        assert rows.offsets.dtype == np.int64


@patient
@given(NUMBERS.filter(len), st.data())
def test_selecting_rows_is_indexing_the_list_also_from_the_end(rows, data):
    row_numbers = st.integers(-len(rows), len(rows) - 1)
    selection = data.draw(st.lists(row_numbers, max_size=10))

    selected = Ragged.from_lists(rows, np.int64).select_rows(np.array(selection, np.int64))

    assert as_lists(selected) == [rows[i] for i in selection]


@patient
@given(WORDS, st.data())
def test_korean_rows_are_selected_by_a_mask(rows, data):
    mask = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))

    selected = Ragged.from_lists(rows, STRINGS).select_rows(np.array(mask, bool))

    assert as_lists(selected) == [row for row, chosen in zip(rows, mask, strict=True) if chosen]


def test_a_row_that_is_not_there_is_an_error():
    with pytest.raises(IndexError):
        Ragged.from_lists([[1], [2]], np.int64).select_rows(np.array([2]))


@patient
@given(NUMBERS, NUMBERS)
def test_concatenating_joins_the_lists(first, second):
    parts = [Ragged.from_lists(rows, np.int64) for rows in (first, second)]

    assert as_lists(Ragged.concatenate(parts)) == first + second


@patient
@given(NUMBERS)
def test_other_values_keep_the_shape(rows):
    ragged = Ragged.from_lists(rows, np.int64)

    doubled = ragged.with_values(ragged.values * 2)

    assert as_lists(doubled) == [[2 * value for value in row] for row in rows]

"""Ragged rows behave as a list of lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.ragged import Ragged

STRINGS = np.dtypes.StringDType()
patient = settings(max_examples=60)
numbers = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4), max_size=8)
words = st.lists(st.lists(st.text("가나다 -ab", max_size=3), max_size=3), max_size=6)


def as_lists(ragged):
    return [
        ragged.values[start:stop].tolist()
        for start, stop in zip(ragged.offsets, ragged.offsets[1:], strict=False)
    ]


@patient
@given(numbers)
def test_rows_come_back_as_they_were_given(rows):
    ragged = Ragged.from_lists(rows, np.int32)

    assert as_lists(ragged) == rows
    assert len(ragged) == len(rows)
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert ragged.row_numbers().tolist() == [i for i, row in enumerate(rows) for _ in row]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, STRINGS])
def test_dtypes_stay_whatever_is_taken(dtype):
    ragged = Ragged.from_lists([[], []], dtype)

    for taken in (ragged, ragged.take(np.array([1])), ragged.take(np.empty(0, np.int64))):
        assert taken.values.dtype == np.dtype(dtype)
        assert taken.offsets.dtype == np.int64


@patient
@given(numbers.filter(len), st.data())
def test_taking_rows_is_indexing_the_list_also_from_the_end(rows, data):
    place = st.integers(-len(rows), len(rows) - 1)
    places = data.draw(st.lists(place, max_size=10))

    taken = Ragged.from_lists(rows, np.int64).take(np.array(places, np.int64))

    assert as_lists(taken) == [rows[i] for i in places]


@patient
@given(words, st.data())
def test_korean_rows_are_taken_by_a_mask(rows, data):
    mask = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))

    taken = Ragged.from_lists(rows, STRINGS).take(np.array(mask, bool))

    assert as_lists(taken) == [row for row, kept in zip(rows, mask, strict=True) if kept]


def test_a_row_that_is_not_there_is_an_error():
    with pytest.raises(IndexError):
        Ragged.from_lists([[1], [2]], np.int64).take(np.array([2]))


@patient
@given(numbers, numbers)
def test_concatenating_joins_the_lists(first, second):
    parts = [Ragged.from_lists(rows, np.int64) for rows in (first, second)]

    assert as_lists(Ragged.concatenate(parts)) == first + second


@patient
@given(numbers)
def test_replacing_values_keeps_the_shape(rows):
    ragged = Ragged.from_lists(rows, np.int64)

    doubled = ragged.replace(ragged.values * 2)

    assert as_lists(doubled) == [[2 * value for value in row] for row in rows]

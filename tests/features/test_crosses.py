"""Crosses: every combination of known codes, keyed exactly, kept by support."""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.crosses import (
    LARGEST_KEY,
    CrossVocabulary,
    combine_codes,
    pack_keys,
    unpack_keys,
)
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError

SIZES = (5, 4, 6)

patient = settings(max_examples=60)


def codes_below(size):
    """Rows of distinct codes; 0 is out of vocabulary and may stand there more than once."""
    known = st.lists(st.integers(1, size - 1), unique=True, max_size=3)
    return st.tuples(known, st.integers(0, 2)).flatmap(
        lambda row: st.permutations(row[0] + [0] * row[1])
    )


ROWS = st.lists(st.tuples(*(codes_below(size) for size in SIZES)), max_size=8)
SIZED_CODES = st.lists(st.integers(1, 2**15), min_size=1, max_size=4).flatmap(
    lambda sizes: st.tuples(
        st.just(tuple(sizes)),
        st.lists(st.tuples(*(st.integers(0, size - 1) for size in sizes)), min_size=1),
    )
)


def columns(rows, width=3):
    return [Ragged.from_lists([row[i] for row in rows], np.int32) for i in range(width)]


def split(values, offsets):
    return [values[a:b] for a, b in pairwise(offsets)]


def tuples_of(keys, sizes):
    return [*zip(*(part.tolist() for part in unpack_keys(keys, sizes)), strict=True)]


def known_combinations(row):
    return [combination for combination in product(*row) if all(combination)]


@patient
@given(ROWS, st.integers(1, 3))
def test_each_row_combines_all_its_known_codes_in_the_order_of_the_parts(rows, width):
    sizes = SIZES[:width]

    combined = combine_codes(columns(rows, width), sizes)

    combinations = split(tuples_of(combined.values, sizes), combined.offsets)
    assert combinations == [known_combinations(row[:width]) for row in rows]
    assert combined.values.dtype == np.int64


@patient
@given(ROWS, st.integers(1, 3), st.integers(2, 3))
def test_combinations_are_kept_by_the_number_of_rows_they_stand_in(rows, minimum, width):
    vocabulary = CrossVocabulary.fit(columns(rows, width), SIZES[:width], minimum)

    support = Counter(c for row in rows for c in set(known_combinations(row[:width])))
    combinations = {*tuples_of(vocabulary.keys, SIZES[:width])}
    assert combinations == {c for c, count in support.items() if count >= minimum}
    assert (np.diff(vocabulary.keys) > 0).all()


@patient
@given(ROWS, ROWS, st.integers(1, 3), st.integers(2, 3))
def test_rows_fire_exactly_the_kept_combinations_in_their_order(fitted, rows, minimum, width):
    vocabulary = CrossVocabulary.fit(columns(fitted, width), SIZES[:width], minimum)

    fired = vocabulary.encode(columns(rows, width))

    combinations = [*zip(*(part.tolist() for part in vocabulary.part_codes()), strict=True)]
    expected = [
        [combinations.index(c) for c in known_combinations(row[:width]) if c in combinations]
        for row in rows
    ]
    assert split(fired.values.tolist(), fired.offsets) == expected
    assert fired.values.dtype == np.int32


@patient
@given(SIZED_CODES)
def test_packing_is_exact_and_reversible(drawn):
    sizes, codes = drawn
    parts = [np.array(part, np.int32) for part in zip(*codes, strict=True)]

    keys = pack_keys(parts, sizes)

    assert [part.tolist() for part in unpack_keys(keys, sizes)] == [part.tolist() for part in parts]
    assert len(set(keys.tolist())) == len(set(codes))


def test_the_largest_key_space_is_used_to_its_last_key():
    sizes = (LARGEST_KEY // 2**32, 2**32)
    last = [np.array([size - 1], np.int64) for size in sizes]

    key = pack_keys(last, sizes)

    assert key.tolist() == [sizes[0] * sizes[1] - 1]
    assert [part.tolist() for part in unpack_keys(key, sizes)] == [part.tolist() for part in last]


def test_more_combinations_than_keys_are_refused_with_their_number():
    sizes = (2**32, 2**32)
    bag = Ragged.from_lists([[1]], np.int32)

    for attempt in (
        lambda: combine_codes([bag, bag], sizes),
        lambda: CrossVocabulary.fit([bag, bag], sizes, 1),
        lambda: pack_keys([bag.values] * 2, sizes),
    ):
        with pytest.raises(InputError, match="18446744073709551616 combinations"):
            attempt()


def test_a_cross_seen_too_rarely_everywhere_fires_nothing():
    parts = columns([([1], [2], [3]), ([2], [3], [4])])

    fired = CrossVocabulary.fit(parts, SIZES, 2).encode(parts)

    assert fired.lengths.tolist() == [0, 0]
    assert fired.values.dtype == np.int32

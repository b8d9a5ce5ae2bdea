"""Halves of crosses: counted whole or in shares, which add up.

Crosses: every combination of known ids, keyed exactly, kept by support.
"""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.crosses import (
    LARGEST_KEY,
    CrossCounter,
    CrossVocabulary,
    combine_codes,
    pack_keys,
    unpack_keys,
)
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError

SIZES = (5, 4, 6)
rows = st.lists(
    st.tuples(*(st.lists(st.integers(0, size - 1), max_size=4, unique=True) for size in SIZES)),
    max_size=12,
)


def halves_of(rows, width):
    parts = [Ragged.from_lists([row[i] for row in rows], np.int32) for i in range(width)]
    return CrossCounter.from_codes(parts, SIZES[:width])


def counted(halves, width, least=1):
    return dict(
        zip(*(column.tolist() for column in halves.count(SIZES[:width], least)), strict=True)
    )


@given(rows, st.integers(2, 3), st.integers(1, 9), st.integers(1, 3))
def test_shares_have_each_combination_once(rows, width, shares, least):
    whole = halves_of(rows, width)

    parts = [whole.share(which, shares) for which in range(shares)]

    found = [counted(part, width, least) for part in parts]
    assert sum(map(len, found)) == len(counted(whole, width, least))
    assert {key: n for part in found for key, n in part.items()} == counted(whole, width, least)
    assert sum(part.combinations for part in parts) == whole.combinations
    assert all(part.last.lengths.all() for part in parts), "no row without any is kept"


@given(rows, st.lists(st.integers(0, 12), max_size=3), st.integers(2, 3))
def test_rows_may_come_in_parts(rows, cuts, width):
    ends = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = [halves_of(rows[a:b], width) for a, b in pairwise(ends)] or [halves_of(rows, width)]

    joined = CrossCounter.drained(parts)

    assert not parts
    assert counted(joined, width) == counted(halves_of(rows, width), width)


patient = settings(max_examples=60)


def rows_of(size):
    """Rows of distinct ids; 0 is unknown and may stand there more than once."""
    known = st.lists(st.integers(1, size - 1), unique=True, max_size=3)
    return st.tuples(known, st.integers(0, 2)).flatmap(
        lambda row: st.permutations(row[0] + [0] * row[1])
    )


bags = st.lists(st.tuples(*(rows_of(size) for size in SIZES)), max_size=8)


def columns(rows, width=3):
    return [Ragged.from_lists([row[i] for row in rows], np.int32) for i in range(width)]


def tuples_of(ragged, sizes):
    combinations = [*zip(*(p.tolist() for p in unpack_keys(ragged.values, sizes)), strict=True)]
    return [combinations[a:b] for a, b in zip(ragged.offsets, ragged.offsets[1:], strict=False)]


def known_combinations(row):
    return [c for c in product(*row) if all(c)]


@patient
@given(bags, st.integers(1, 3))
def test_each_row_combines_all_its_known_ids_in_the_order_of_the_parts(rows, width):
    sizes = SIZES[:width]

    combined = combine_codes(columns(rows, width), sizes)

    assert tuples_of(combined, sizes) == [known_combinations(row[:width]) for row in rows]
    assert combined.values.dtype == np.int64


@patient
@given(bags, st.integers(1, 3), st.integers(2, 3))
def test_combinations_are_kept_by_the_number_of_rows_they_stand_in(rows, minimum, width):
    vocabulary = CrossVocabulary.fit(columns(rows, width), SIZES[:width], minimum)

    support = Counter(c for row in rows for c in set(known_combinations(row[:width])))
    kept = {*zip(*(part.tolist() for part in vocabulary.part_codes()), strict=True)}
    assert kept == {c for c, rows_with in support.items() if rows_with >= minimum}
    assert (np.diff(vocabulary.keys) > 0).all()


@patient
@given(bags, bags, st.integers(1, 3), st.integers(2, 3))
def test_rows_fire_exactly_the_kept_combinations_in_their_order(fitted, asked, minimum, width):
    vocabulary = CrossVocabulary.fit(columns(fitted, width), SIZES[:width], minimum)

    fired = vocabulary.encode(columns(asked, width))

    kept = [*zip(*(part.tolist() for part in vocabulary.part_codes()), strict=True)]
    wanted = [
        [kept.index(c) for c in known_combinations(row[:width]) if c in kept] for row in asked
    ]
    found = [
        fired.values[a:b].tolist() for a, b in zip(fired.offsets, fired.offsets[1:], strict=False)
    ]
    assert found == wanted
    assert fired.values.dtype == np.int32


sized_ids = st.lists(st.integers(1, 2**15), min_size=1, max_size=4).flatmap(
    lambda sizes: st.tuples(
        st.just(tuple(sizes)),
        st.lists(st.tuples(*(st.integers(0, size - 1) for size in sizes)), min_size=1),
    )
)


@patient
@given(sized_ids)
def test_packing_is_exact_and_reversible(drawn):
    sizes, ids = drawn
    parts = [np.array(part, np.int32) for part in zip(*ids, strict=True)]

    keys = pack_keys(parts, sizes)

    assert [part.tolist() for part in unpack_keys(keys, sizes)] == [part.tolist() for part in parts]
    assert len(set(keys.tolist())) == len(set(ids))


def test_the_largest_room_is_used_to_its_last_key():
    sizes = (LARGEST_KEY // 2**32, 2**32)
    last = [np.array([size - 1], np.int64) for size in sizes]

    key = pack_keys(last, sizes)

    assert key.tolist() == [sizes[0] * sizes[1] - 1]
    assert [part.tolist() for part in unpack_keys(key, sizes)] == [part.tolist() for part in last]


def test_more_combinations_than_keys_are_refused_by_name():
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

"""Halves of crosses: counted whole or in shares, which add up."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.cross_halves import Halves
from widedeep.features.ragged import Ragged

SIZES = (5, 4, 6)
rows = st.lists(
    st.tuples(*(st.lists(st.integers(0, size - 1), max_size=4, unique=True) for size in SIZES)),
    max_size=12,
)


def halves_of(rows, width):
    parts = [Ragged.from_lists([row[i] for row in rows], np.int32) for i in range(width)]
    return Halves.of(parts, SIZES[:width])


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

    joined = Halves.drained(parts)

    assert not parts
    assert counted(joined, width) == counted(halves_of(rows, width), width)

"""Statistics of blocks are exact, however the blocks are cut."""

from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.crosses import CrossCounter
from widedeep.features.quantiles import QuantileNormaliser, boundary_ranks, sorted_finite
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import count_distinct
from widedeep.out_of_core.block_statistics import (
    SAMPLED,
    RankBrackets,
    RankSample,
    RunningCounts,
    concatenate_crosses,
    share_of_cross,
)

NUMBERS = st.one_of(
    st.integers(-3, 3).map(float), st.floats(width=32), st.sampled_from([np.nan, -0.0])
)
BLOCKS = st.lists(st.lists(NUMBERS, max_size=60), min_size=1, max_size=6)
SIZES = (5, 4, 6)
ROWS = st.lists(
    st.tuples(*(st.lists(st.integers(0, size - 1), max_size=4, unique=True) for size in SIZES)),
    max_size=12,
)


def as_dict(counts):
    return dict(zip(*(column.tolist() for column in counts), strict=True))


@given(st.lists(st.lists(st.integers(0, 30), max_size=20), min_size=1, max_size=8))
def test_running_counts_are_those_of_all_blocks_together(blocks):
    running = RunningCounts()
    for block in blocks:
        running.add(*count_distinct(np.array(block, np.int64)))

    whole = count_distinct(np.array([id_ for block in blocks for id_ in block], np.int64))
    assert as_dict(running.total()) == as_dict(whole)


def find_values(blocks, ranks):
    brackets = RankBrackets.from_samples(ranks, [RankSample.from_values(b) for b in blocks])
    return brackets.values([brackets.count(block) for block in blocks])


@settings(max_examples=150, deadline=None)
@given(BLOCKS, st.integers(1, 20))
def test_every_rank_is_found_however_coarse_the_samples(lists, sampled):
    blocks = [np.array(block, np.float64) for block in lists]
    finite = sorted_finite(np.concatenate(blocks))

    with mock.patch("widedeep.out_of_core.block_statistics.SAMPLED", sampled):
        assert not len(finite) or np.array_equal(
            find_values(blocks, np.arange(len(finite))), finite
        )


@pytest.mark.parametrize("quantiles", [2, 8, 100])
def test_a_normaliser_from_blocks_is_that_of_the_whole(quantiles):
    generator = np.random.default_rng(0)
    values = generator.normal(size=20_000).astype(np.float32)
    values[generator.random(20_000) < 0.3] = 0.0
    values[generator.random(20_000) < 0.1] = np.nan
    blocks = np.split(values, [10, 4000, 4000, 15_000])
    ranks = boundary_ranks(int(np.isfinite(values).sum()), quantiles)

    normaliser = QuantileNormaliser.from_rank_values(find_values(blocks, ranks))

    expected = QuantileNormaliser.fit(values, quantiles)
    assert np.array_equal(normaliser.boundaries, expected.boundaries)


def test_the_second_pass_counts_no_more_values_than_promised():
    generator = np.random.default_rng(1)
    blocks = [generator.normal(i, size=30_000) for i in range(4)]
    samples = [RankSample.from_values(block) for block in blocks]
    brackets = RankBrackets.from_samples(np.array([0, 60_000, 119_999]), samples)

    counts = [brackets.count(block) for block in blocks]

    counted = [sum(len(block.within[i][0]) for block in counts) for i in range(3)]
    assert max(counted) <= 2 * 120_000 / SAMPLED + 2 * len(blocks)


def cross_of(rows, width):
    parts = [Ragged.from_lists([row[i] for row in rows], np.int32) for i in range(width)]
    return CrossCounter.from_codes(parts, SIZES[:width])


def count(cross, width, minimum=1):
    return as_dict(cross.count(SIZES[:width], minimum))


@given(ROWS, st.integers(2, 3), st.integers(1, 9), st.integers(1, 3))
def test_the_shares_of_a_cross_have_each_combination_once(rows, width, shares, minimum):
    whole = cross_of(rows, width)

    parts = [share_of_cross(whole, share, shares) for share in range(shares)]

    counts, expected = [count(part, width, minimum) for part in parts], count(whole, width, minimum)
    assert sum(map(len, counts)) == len(expected)
    assert {key: n for part in counts for key, n in part.items()} == expected
    assert sum(part.combinations for part in parts) == whole.combinations
    assert all(part.last.lengths.all() for part in parts), "a row without a combination is left out"


@given(ROWS, st.lists(st.integers(0, 12), max_size=3), st.integers(2, 3))
def test_rows_of_a_cross_may_come_in_parts(rows, cuts, width):
    ends = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = [cross_of(rows[a:b], width) for a, b in pairwise(ends)] or [cross_of(rows, width)]

    joined = concatenate_crosses(parts)

    assert not parts
    assert count(joined, width) == count(cross_of(rows, width), width)

"""Ranks among values in parts: exact, whatever the parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features import order_statistics
from widedeep.features.order_statistics import SAMPLED, Brackets, Sample, at_ranks, in_order
from widedeep.features.quantile_normaliser import QuantileNormaliser, deciding_ranks

NUMBERS = st.one_of(
    st.integers(-3, 3).map(float), st.floats(width=32), st.sampled_from([np.nan, -0.0])
)
PARTS = st.lists(st.lists(NUMBERS, max_size=60), min_size=1, max_size=6)


def found(parts, ranks):
    brackets = Brackets.around(ranks, [Sample.of(part) for part in parts])
    return brackets.values([brackets.count(part) for part in parts])


@settings(max_examples=150, deadline=None)
@given(PARTS, st.integers(1, 20))
def test_every_rank_is_found_however_coarse_the_samples(lists, sampled):
    parts = [np.array(part, np.float64) for part in lists]
    known = in_order(np.concatenate(parts))
    before, order_statistics.SAMPLED = order_statistics.SAMPLED, sampled
    try:
        assert np.array_equal(found(parts, np.arange(len(known))), known) or not len(known)
    finally:
        order_statistics.SAMPLED = before


@pytest.mark.parametrize("quantiles", [2, 8, 100])
def test_a_normaliser_from_parts_is_that_of_the_whole(quantiles):
    generator = np.random.default_rng(0)
    values = generator.normal(size=20_000).astype(np.float32)
    values[generator.random(20_000) < 0.3] = 0.0
    values[generator.random(20_000) < 0.1] = np.nan
    parts = np.split(values, [10, 4000, 4000, 15_000])
    ranks = deciding_ranks(int(np.isfinite(values).sum()), quantiles)
    wanted = QuantileNormaliser.fit(values, quantiles).boundaries
    assert np.array_equal(QuantileNormaliser.of_order(found(parts, ranks)).boundaries, wanted)


def test_the_second_pass_looks_at_no_more_values_than_is_said():
    generator = np.random.default_rng(1)
    parts = [generator.normal(i, size=30_000) for i in range(4)]
    brackets = Brackets.around(np.array([0, 60_000, 119_999]), [Sample.of(p) for p in parts])
    counted = [brackets.count(part) for part in parts]
    looked_at = [sum(len(part.within[i][0]) for part in counted) for i in range(3)]
    assert max(looked_at) <= 2 * 120_000 / SAMPLED + 2 * len(parts)


def test_of_nothing_there_is_no_rank():
    assert not len(deciding_ranks(0, 100))
    assert not len(QuantileNormaliser.of_order(np.empty(0)).boundaries)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "spread",
    [
        lambda generator, count: generator.normal(size=count),
        lambda generator, count: generator.integers(-3, 4, count) * 1.0,
        lambda generator, count: np.exp(15 * generator.normal(size=count)),
        lambda _, count: np.full(count, 0.67),
    ],
)
def test_the_value_at_a_rank_among_many_is_that_of_their_order(spread, dtype):
    generator = np.random.default_rng(0)
    values = spread(generator, 200_000).astype(dtype)
    ranks = np.unique([0, *generator.integers(0, len(values), 99), len(values) - 1])

    assert np.array_equal(at_ranks(values, ranks), np.sort(values)[ranks])

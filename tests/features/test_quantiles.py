"""Quantiles in bytes say what the normaliser says in floats, to the bit.

Ranks among values in parts: exact, whatever the parts.

Quantiles: equal shares, the paper's formula, and nothing missing or infinite gets through.
"""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.quantiles import (
    SAMPLED,
    QuantileNormaliser,
    QuantisedNumbers,
    RankBrackets,
    RankSample,
    boundary_ranks,
    sorted_finite,
    values_at_ranks,
)

values = st.lists(st.floats(width=32) | st.just(np.nan), min_size=1, max_size=60)


@given(values, values, st.sampled_from([2, 100, 300]))
def test_they_become_the_normalised_numbers_and_their_missing_marks(fitted, asked, quantiles):
    normaliser = QuantileNormaliser.fit(np.array(fitted), quantiles)
    column = np.array(asked)
    found = QuantisedNumbers.empty(len(column), [normaliser.quantiles])
    normaliser.bucket_into(column, found.quantile[:, 0])
    share, missing = found.normalised().T
    assert share.tobytes() == normaliser.normalise(column).tobytes()
    assert missing.tolist() == np.isnan(column).tolist()


@pytest.mark.parametrize(("counts", "dtype"), [([2, 255], np.uint8), ([256], np.uint16)])
def test_the_least_type_that_holds_them_is_taken(counts, dtype):
    found = QuantisedNumbers.empty(3, counts)
    assert found.quantile.dtype == dtype
    found.quantile[:] = counts
    assert (found.normalised()[:, : len(counts)] == 1).all()


def test_of_no_numbers_there_is_nothing_to_read():
    assert QuantisedNumbers.empty(3, []).normalised().shape == (3, 0)


NUMBERS = st.one_of(
    st.integers(-3, 3).map(float), st.floats(width=32), st.sampled_from([np.nan, -0.0])
)
PARTS = st.lists(st.lists(NUMBERS, max_size=60), min_size=1, max_size=6)


def found(parts, ranks):
    brackets = RankBrackets.from_samples(ranks, [RankSample.from_values(part) for part in parts])
    return brackets.values([brackets.count(part) for part in parts])


@settings(max_examples=150, deadline=None)
@given(PARTS, st.integers(1, 20))
def test_every_rank_is_found_however_coarse_the_samples(lists, sampled):
    parts = [np.array(part, np.float64) for part in lists]
    known = sorted_finite(np.concatenate(parts))
    with mock.patch("widedeep.features.quantiles.SAMPLED", sampled):
        assert np.array_equal(found(parts, np.arange(len(known))), known) or not len(known)


@pytest.mark.parametrize("quantiles", [2, 8, 100])
def test_a_normaliser_from_parts_is_that_of_the_whole(quantiles):
    generator = np.random.default_rng(0)
    values = generator.normal(size=20_000).astype(np.float32)
    values[generator.random(20_000) < 0.3] = 0.0
    values[generator.random(20_000) < 0.1] = np.nan
    parts = np.split(values, [10, 4000, 4000, 15_000])
    ranks = boundary_ranks(int(np.isfinite(values).sum()), quantiles)
    wanted = QuantileNormaliser.fit(values, quantiles).boundaries
    assert np.array_equal(QuantileNormaliser.from_rank_values(found(parts, ranks)).boundaries, wanted)


def test_the_second_pass_looks_at_no_more_values_than_is_said():
    generator = np.random.default_rng(1)
    parts = [generator.normal(i, size=30_000) for i in range(4)]
    brackets = RankBrackets.from_samples(
        np.array([0, 60_000, 119_999]), [RankSample.from_values(p) for p in parts]
    )
    counted = [brackets.count(part) for part in parts]
    looked_at = [sum(len(part.within[i][0]) for part in counted) for i in range(3)]
    assert max(looked_at) <= 2 * 120_000 / SAMPLED + 2 * len(parts)


def test_of_nothing_there_is_no_rank():
    assert not len(boundary_ranks(0, 100))
    assert not len(QuantileNormaliser.from_rank_values(np.empty(0)).boundaries)


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

    assert np.array_equal(values_at_ranks(values, ranks), np.sort(values)[ranks])


patient = settings(max_examples=60)
values_strategy = st.lists(
    st.floats(width=32) | st.sampled_from([0.0, 1.0, 1.0, np.nan, np.inf, -np.inf]), max_size=40
).map(lambda found: np.array(found, np.float32))


def test_the_ith_of_n_quantiles_becomes_i_minus_1_over_n_minus_1():
    normaliser = QuantileNormaliser.fit(np.arange(1.0, 101.0), 5)

    assert normaliser.boundaries.tolist() == [21, 41, 61, 81]
    found = normaliser.normalise(np.array([-9, 1, 20.9, 21, 60, 61, 100, 999.0]))
    assert found.tolist() == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert found.dtype == np.float32


@pytest.mark.parametrize(("rows", "quantiles"), [(100, 100), (100, 10), (60, 4), (7, 7)])
def test_distinct_values_fall_into_equal_shares(rows, quantiles):
    spread = np.random.default_rng(0).permutation(rows) * 0.1 - 3

    buckets = QuantileNormaliser.fit(spread, quantiles).bucket(spread)

    assert np.bincount(buckets)[1:].tolist() == [rows // quantiles] * quantiles


def test_with_fewer_values_than_quantiles_each_value_has_its_own():
    normaliser = QuantileNormaliser.fit(np.array([5.0, 1.0, 3.0]), 10)

    assert normaliser.quantiles == 3
    assert normaliser.normalise(np.array([1.0, 3.0, 5.0])).tolist() == [0, 0.5, 1]


def test_tied_values_share_one_quantile():
    tied = np.array([1.0] * 70 + [2.0] * 20 + [3.0] * 10)

    normaliser = QuantileNormaliser.fit(tied, 10)

    assert normaliser.boundaries.tolist() == [2, 3]
    assert normaliser.bucket(tied).tolist() == [1] * 70 + [2] * 20 + [3] * 10


@pytest.mark.parametrize("column", [[2.0, 2.0, 2.0], [np.nan, np.nan], [], [np.inf, np.nan]])
def test_a_column_that_tells_nothing_becomes_zero(column):
    normaliser = QuantileNormaliser.fit(np.array(column), 10)

    assert normaliser.quantiles == 1
    assert normaliser.normalise(np.array([2.0, -7.0, np.nan])).tolist() == [0, 0, 0]


def test_missing_values_are_bucket_zero_and_infinite_ones_lie_at_the_ends():
    normaliser = QuantileNormaliser.fit(np.array([1.0, 2.0, np.nan, 3.0, 4.0, np.inf]), 4)

    found = normaliser.bucket(np.array([np.nan, -np.inf, np.inf, 1.0, 4.0]))

    assert normaliser.boundaries.tolist() == [2, 3, 4]
    assert found.tolist() == [0, 1, 4, 1, 4]


@patient
@given(values_strategy, values_strategy, st.integers(2, 12))
def test_whatever_comes_the_result_is_a_number_from_0_to_1(fitted, asked, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)

    found = normaliser.normalise(asked)

    assert 1 <= normaliser.quantiles <= quantiles
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(normaliser.boundaries) > 0).all()


@patient
@given(values_strategy, values_strategy, st.integers(2, 12))
def test_the_order_of_values_is_kept_and_one_alone_gets_the_same(fitted, asked, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)
    known = np.sort(asked[~np.isnan(asked)])

    together = normaliser.bucket(known)

    assert (np.diff(together) >= 0).all()
    assert [int(normaliser.bucket(known[i : i + 1])[0]) for i in range(len(known))] == [*together]


@patient
@given(values_strategy, st.integers(2, 12))
def test_every_quantile_holds_a_value_it_was_fitted_on(fitted, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)
    finite = fitted[np.isfinite(fitted)]

    if len(finite):
        assert set(normaliser.bucket(finite).tolist()) == {*range(1, normaliser.quantiles + 1)}

"""Quantiles: equal shares, the paper's formula, and nothing missing or infinite gets through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.quantiles import (
    QuantileNormaliser,
    QuantisedNumbers,
    boundary_ranks,
    values_at_ranks,
)

FLOATS = st.lists(
    st.floats(width=32) | st.sampled_from([0.0, 1.0, 1.0, np.nan, np.inf, -np.inf]), max_size=40
).map(lambda values: np.array(values, np.float32))

patient = settings(max_examples=60)


def test_the_ith_of_n_quantiles_becomes_i_minus_1_over_n_minus_1():
    normaliser = QuantileNormaliser.fit(np.arange(1.0, 101.0), 5)

    assert normaliser.boundaries.tolist() == [21, 41, 61, 81]
    normalised = normaliser.normalise(np.array([-9, 1, 20.9, 21, 60, 61, 100, 999.0]))
    assert normalised.tolist() == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert normalised.dtype == np.float32


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
def test_a_column_without_information_becomes_zero(column):
    normaliser = QuantileNormaliser.fit(np.array(column), 10)

    assert normaliser.quantiles == 1
    assert normaliser.normalise(np.array([2.0, -7.0, np.nan])).tolist() == [0, 0, 0]


def test_missing_values_are_bucket_zero_and_infinite_ones_lie_at_the_ends():
    normaliser = QuantileNormaliser.fit(np.array([1.0, 2.0, np.nan, 3.0, 4.0, np.inf]), 4)

    buckets = normaliser.bucket(np.array([np.nan, -np.inf, np.inf, 1.0, 4.0]))

    assert normaliser.boundaries.tolist() == [2, 3, 4]
    assert buckets.tolist() == [0, 1, 4, 1, 4]


@patient
@given(FLOATS, FLOATS, st.integers(2, 12))
def test_any_input_becomes_a_number_from_0_to_1(fitted, values, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)

    normalised = normaliser.normalise(values)

    assert 1 <= normaliser.quantiles <= quantiles
    assert ((normalised >= 0) & (normalised <= 1)).all()
    assert (np.diff(normaliser.boundaries) > 0).all()


@patient
@given(FLOATS, FLOATS, st.integers(2, 12))
def test_the_order_of_values_is_kept_and_one_alone_gets_the_same(fitted, values, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)
    ordered = np.sort(values[~np.isnan(values)])

    together = normaliser.bucket(ordered)

    assert (np.diff(together) >= 0).all()
    alone = [int(normaliser.bucket(ordered[i : i + 1])[0]) for i in range(len(ordered))]
    assert alone == [*together]


@patient
@given(FLOATS, st.integers(2, 12))
def test_every_quantile_holds_a_value_it_was_fitted_on(fitted, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)
    finite = fitted[np.isfinite(fitted)]

    if len(finite):
        assert set(normaliser.bucket(finite).tolist()) == {*range(1, normaliser.quantiles + 1)}


def test_without_values_there_is_no_rank_and_no_boundary():
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


VALUES = st.lists(st.floats(width=32) | st.just(np.nan), min_size=1, max_size=60)


@given(VALUES, VALUES, st.sampled_from([2, 100, 300]))
def test_quantiles_in_bytes_become_the_normalised_numbers_and_their_missing_marks(
    fitted, values, quantiles
):
    normaliser = QuantileNormaliser.fit(np.array(fitted), quantiles)
    column = np.array(values)
    numbers = QuantisedNumbers.empty(len(column), [normaliser.quantiles])

    normaliser.bucket_into(column, numbers.quantile[:, 0])

    share, missing = numbers.normalised().T
    assert share.tobytes() == normaliser.normalise(column).tobytes()
    assert missing.tolist() == np.isnan(column).tolist()


@pytest.mark.parametrize(("counts", "dtype"), [([2, 255], np.uint8), ([256], np.uint16)])
def test_quantiles_are_stored_in_the_smallest_type_that_holds_them(counts, dtype):
    numbers = QuantisedNumbers.empty(3, counts)

    assert numbers.quantile.dtype == dtype
    numbers.quantile[:] = counts
    assert (numbers.normalised()[:, : len(counts)] == 1).all()


def test_no_numbers_make_no_columns():
    assert QuantisedNumbers.empty(3, []).normalised().shape == (3, 0)

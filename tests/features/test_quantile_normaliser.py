"""Quantiles: equal shares, the paper's formula, and nothing missing or infinite gets through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.quantile_normaliser import QuantileNormaliser

patient = settings(max_examples=60)
values = st.lists(
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
@given(values, values, st.integers(2, 12))
def test_whatever_comes_the_result_is_a_number_from_0_to_1(fitted, asked, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)

    found = normaliser.normalise(asked)

    assert 1 <= normaliser.quantiles <= quantiles
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(normaliser.boundaries) > 0).all()


@patient
@given(values, values, st.integers(2, 12))
def test_the_order_of_values_is_kept_and_one_alone_gets_the_same(fitted, asked, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)
    known = np.sort(asked[~np.isnan(asked)])

    together = normaliser.bucket(known)

    assert (np.diff(together) >= 0).all()
    assert [int(normaliser.bucket(known[i : i + 1])[0]) for i in range(len(known))] == [*together]


@patient
@given(values, st.integers(2, 12))
def test_every_quantile_holds_a_value_it_was_fitted_on(fitted, quantiles):
    normaliser = QuantileNormaliser.fit(fitted, quantiles)
    finite = fitted[np.isfinite(fitted)]

    if len(finite):
        assert set(normaliser.bucket(finite).tolist()) == {*range(1, normaliser.quantiles + 1)}

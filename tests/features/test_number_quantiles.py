"""Quantiles in bytes say what the normaliser says in floats, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.number_quantiles import NumberQuantiles
from widedeep.features.quantile_normaliser import QuantileNormaliser

values = st.lists(st.floats(width=32) | st.just(np.nan), min_size=1, max_size=60)


@given(values, values, st.sampled_from([2, 100, 300]))
def test_they_become_the_normalised_numbers_and_their_missing_marks(fitted, asked, quantiles):
    normaliser = QuantileNormaliser.fit(np.array(fitted), quantiles)
    column = np.array(asked)
    found = NumberQuantiles.empty(len(column), [normaliser.quantiles])
    normaliser.bucket_into(column, found.quantile[:, 0])
    share, missing = found.normalised().T
    assert share.tobytes() == normaliser.normalise(column).tobytes()
    assert missing.tolist() == np.isnan(column).tolist()


@pytest.mark.parametrize(("counts", "dtype"), [([2, 255], np.uint8), ([256], np.uint16)])
def test_the_least_type_that_holds_them_is_taken(counts, dtype):
    found = NumberQuantiles.empty(3, counts)
    assert found.quantile.dtype == dtype
    found.quantile[:] = counts
    assert (found.normalised()[:, : len(counts)] == 1).all()


def test_of_no_numbers_there_is_nothing_to_read():
    assert NumberQuantiles.empty(3, []).normalised().shape == (3, 0)

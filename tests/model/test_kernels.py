"""The compiled loops over hidden units compute what torch's operations compute."""

import math

import pytest
import torch

from widedeep.model.kernels import activate, activate_backward

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@pytest.fixture(params=DTYPES, ids=str)
def drawn(request):
    """Units before ReLU, zeros of both signs among them, a bias, a mask and a gradient."""
    draws = torch.Generator().manual_seed(0)
    units = torch.randn(40, 37, generator=draws).to(request.param)
    units[0], units[1] = 0.0, -0.0
    mask = torch.rand(40, 37, generator=draws) > 0.4
    bias = torch.randn(37, generator=draws).to(bias_dtype(request.param))
    bias[:5] = 0.0
    return units, bias, mask, torch.randn(40, 37, generator=draws).to(request.param)


def bias_dtype(dtype):
    return torch.promote_types(dtype, torch.float32)


def test_units_that_are_kept_and_above_0_are_scaled(drawn):
    units, bias, mask, _ = drawn
    scale = torch.tensor(1 / 0.6, dtype=bias_dtype(units.dtype)).item()
    expected = torch.where(mask, torch.relu(units + bias), 0) * scale
    activate(units, bias, mask, 1 / 0.6)
    assert torch.equal(units, expected.to(units.dtype))


def test_without_dropout_it_is_relu(drawn):
    units, bias, *_ = drawn
    expected = torch.relu(units + bias)
    activate(units, bias, None, 1.0)
    assert torch.equal(units, expected.to(units.dtype))


@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_the_gradient_passes_where_a_unit_is_above_0(drawn, scale):
    units, bias, mask, gradient = drawn
    activate(units, bias, mask, scale)
    before, expected = gradient.clone(), torch.where(units > 0, gradient, 0) * scale
    of_units, of_bias = activate_backward(gradient, units, scale)
    assert torch.equal(of_units, expected.to(gradient.dtype))
    assert of_bias.dtype == bias.dtype
    torch.testing.assert_close(of_bias, of_units.to(bias.dtype).sum(0))
    assert torch.equal(gradient, before)


def test_no_gradient_passes_where_relu_returned_minus_0(drawn):
    units, bias, _, gradient = drawn
    activate(units, torch.full_like(bias, -0.0), None, 1.0)
    of_units, _ = activate_backward(gradient, units, 1.0)
    assert (of_units[:2] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", [None, torch.ones(3, 5, dtype=torch.bool)])
def test_nans_are_propagated(dtype, mask):
    units = torch.full((3, 5), math.nan, dtype=dtype)
    activate(units, torch.zeros(5, dtype=bias_dtype(dtype)), mask, 1.25)
    assert units.isnan().all()

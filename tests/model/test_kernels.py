"""Units and gradients are what torch's operations give."""

import math

import pytest
import torch

from widedeep.model.kernels import activate, pass_back

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@pytest.fixture(params=DTYPES, ids=str)
def drawn(request):
    """Units before ReLU, zeros of both signs among them, a bias, which are kept, and a gradient."""
    draws = torch.Generator().manual_seed(0)
    units = torch.randn(40, 37, generator=draws).to(request.param)
    units[0], units[1] = 0.0, -0.0
    kept = torch.rand(40, 37, generator=draws) > 0.4
    bias = torch.randn(37, generator=draws).to(exact(request.param))
    bias[:5] = 0.0
    return units, bias, kept, torch.randn(40, 37, generator=draws).to(request.param)


def exact(dtype):
    return torch.promote_types(dtype, torch.float32)


def number(value, dtype):
    return torch.tensor(value, dtype=exact(dtype)).item()


def test_what_is_kept_and_above_0_is_scaled(drawn):
    units, bias, kept, _ = drawn
    scale = number(1 / 0.6, units.dtype)
    wanted = torch.where(kept, torch.relu(units + bias), 0) * scale
    activate(units, bias, kept, 1 / 0.6)
    assert torch.equal(units, wanted.to(units.dtype))


def test_without_dropout_it_is_relu(drawn):
    units, bias, *_ = drawn
    wanted = torch.relu(units + bias)
    activate(units, bias, None, 1.0)
    assert torch.equal(units, wanted.to(units.dtype))


@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_the_gradient_goes_back_where_a_unit_is_above_0(drawn, scale):
    units, bias, kept, gradient = drawn
    activate(units, bias, kept, scale)
    given, wanted = gradient.clone(), torch.where(units > 0, gradient, 0) * scale
    found, of_bias = pass_back(gradient, units, scale)
    assert torch.equal(found, wanted.to(gradient.dtype))
    assert of_bias.dtype == bias.dtype
    torch.testing.assert_close(of_bias, found.to(bias.dtype).sum(0))
    assert torch.equal(gradient, given)


def test_what_relu_made_of_minus_0_passes_nothing_back(drawn):
    units, bias, _, gradient = drawn
    activate(units, torch.full_like(bias, -0.0), None, 1.0)
    found, _ = pass_back(gradient, units, 1.0)
    assert (found[:2] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kept", [None, torch.ones(3, 5, dtype=torch.bool)])
def test_what_is_not_a_number_stays_so(dtype, kept):
    units = torch.full((3, 5), math.nan, dtype=dtype)
    activate(units, torch.zeros(5, dtype=exact(dtype)), kept, 1.25)
    assert units.isnan().all()

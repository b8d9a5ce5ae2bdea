"""Units and gradients in place are what torch's operations give."""

import math

import pytest
import torch

from widedeep.model.hidden_units import activate, pass_back

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@pytest.fixture(params=DTYPES, ids=str)
def drawn(request):
    """Units before ReLU, zeros of both signs among them, which are kept, and a gradient."""
    draws = torch.Generator().manual_seed(0)
    units = torch.randn(40, 37, generator=draws).to(request.param)
    units[0], units[1] = 0.0, -0.0
    kept = torch.rand(40, 37, generator=draws) > 0.4
    return units, kept, torch.randn(40, 37, generator=draws).to(request.param)


def test_what_is_kept_and_above_0_is_scaled(drawn):
    units, kept, _ = drawn
    scale = torch.tensor(1 / 0.6, dtype=torch.promote_types(units.dtype, torch.float32)).item()
    wanted = torch.where(kept, torch.relu(units), 0) * scale
    activate(units, kept, 1 / 0.6)
    assert torch.equal(units, wanted.to(units.dtype))


def test_without_dropout_it_is_relu(drawn):
    units, *_ = drawn
    wanted = torch.relu(units)
    activate(units, None, 1.0)
    assert torch.equal(units, wanted)


@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_the_gradient_goes_back_where_a_unit_is_above_0(drawn, scale):
    units, kept, gradient = drawn
    activate(units, kept, scale)
    wanted = torch.where(units > 0, gradient, 0) * scale
    sums = pass_back(gradient, units, scale)
    assert torch.equal(gradient, wanted.to(gradient.dtype))
    assert sums.dtype == torch.promote_types(gradient.dtype, torch.float32)
    torch.testing.assert_close(sums, gradient.to(sums.dtype).sum(0))


def test_what_relu_made_of_minus_0_passes_nothing_back(drawn):
    units, _, gradient = drawn
    activate(units, None, 1.0)
    pass_back(gradient, units, 1.0)
    assert (gradient[:2] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_stays_so(dtype):
    units = torch.full((3, 5), math.nan, dtype=dtype)
    activate(units, torch.ones(3, 5, dtype=torch.bool), 1.25)
    assert units.isnan().all()

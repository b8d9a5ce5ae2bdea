"""AdaGrad against numbers computed by hand and against torch's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.adagrad import adagrad

from widedeep.model.adagrad import AdaGrad, step

patient = settings(max_examples=60)


def test_two_steps_give_the_numbers_computed_by_hand():
    weight, squares = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 7.0])
    step(weight, squares, torch.tensor([4.0, 3.0]), 0.1)
    assert squares.tolist() == [16.0, 16.0]
    assert weight.tolist() == pytest.approx([1 - 0.1, 1 - 0.1 * 3 / 4])
    step(weight, squares, torch.tensor([3.0, -3.0]), 0.1)
    assert weight.tolist() == pytest.approx([0.9 - 0.1 * 3 / 5, 0.925 + 0.1 * 3 / 5])


def test_no_gradient_before_and_none_now_moves_nothing():
    weight, squares = torch.ones(2), torch.zeros(2)
    step(weight, squares, torch.zeros(2), 0.1)
    assert weight.tolist() == [1.0, 1.0]


def torch_step(weight, squares, gradient):
    """The functional form: an optimiser of torch.optim would load torch's compiler first."""
    adagrad(
        [weight],
        [gradient],
        [squares],
        [torch.tensor(0.0)],
        has_sparse_grad=gradient.is_sparse,
        foreach=False,
        lr=0.05,
        weight_decay=0.0,
        lr_decay=0.0,
        eps=1e-10,
        maximize=False,
    )


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@patient
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]))
def test_sequences_equal_torch(seed, sparse, accumulator):
    generator = np.random.default_rng(seed)
    expected = torch.from_numpy(generator.normal(size=(6, 3)).astype(np.float32))
    squares = torch.full((6, 3), accumulator)
    weight = expected.clone().requires_grad_()
    optimiser = AdaGrad([weight], 0.05, accumulator)
    for _ in range(5):
        values = torch.from_numpy(generator.normal(size=(4, 3)).astype(np.float32))
        rows = torch.from_numpy(generator.integers(0, 6, 4))
        gradient = torch.sparse_coo_tensor(rows[None], values, (6, 3), check_invariants=True)
        weight.grad = gradient if sparse else gradient.to_dense()
        optimiser.step()
        torch_step(expected, squares, weight.grad)
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(optimiser.state[weight]["sum"], squares)


def test_the_accumulator_starts_at_its_setting():
    weight = torch.ones(3, 2, requires_grad=True)
    state = AdaGrad([weight], 0.1, 0.25).state[weight]
    assert list(state) == ["sum"]
    assert torch.equal(state["sum"], torch.full((3, 2), 0.25))


@patient
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 1023, 1024, 2500]))
def test_a_bfloat16_gradient_is_exactly_its_float32_value(seed, size):
    draws = torch.Generator().manual_seed(seed)
    start = torch.randn(size, generator=draws)
    by_bits, by_floats = start.clone().requires_grad_(), start.clone().requires_grad_()
    by_bits.grad_dtype = None
    optimisers = AdaGrad([by_bits], 0.05, 0.1), AdaGrad([by_floats], 0.05, 0.1)
    for _ in range(3):
        by_bits.grad = torch.randn(size, generator=draws).bfloat16()
        by_floats.grad = by_bits.grad.float()
        for optimiser in optimisers:
            optimiser.step()
    assert torch.equal(by_bits, by_floats)
    sums = [
        optimiser.state[weight]["sum"]
        for optimiser, weight in zip(optimisers, (by_bits, by_floats), strict=True)
    ]
    assert torch.equal(*sums)

"""The contract of both optimisers, and the sums of a sparse gradient's rows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.conftest import equal
from widedeep.model.adagrad import AdaGrad
from widedeep.model.ftrl import Ftrl, FtrlConfig
from widedeep.model.sparse_optimiser import sum_rows

patient = settings(max_examples=60)

ROWS = 9
OPTIMISERS = {
    "ftrl": lambda parameters: Ftrl(parameters, FtrlConfig(alpha=0.3, l1=0.2, l2=0.1)),
    "adagrad": lambda parameters: AdaGrad(parameters, 0.1, 0.1),
}
SEEDS = st.integers(0, 2**32 - 1)

every_optimiser = pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)


def table(generator, width):
    return torch.from_numpy(generator.normal(size=(ROWS, width)).astype(np.float32))


def sparse(rows, values):
    return torch.sparse_coo_tensor(
        torch.tensor([rows]), values, (ROWS, values.shape[1]), check_invariants=True
    )


def train(make, start, gradients):
    """The weight and its optimiser state after the gradients."""
    weight = start.clone().requires_grad_()
    optimiser = make([weight])
    for gradient in gradients:
        weight.grad = gradient
        optimiser.step()
    return weight.detach(), dict(optimiser.state[weight])


def assert_equal(trained, expected):
    weight, state = trained
    expected_weight, expected_state = expected
    assert torch.equal(weight, expected_weight)
    assert equal(state, expected_state)


@every_optimiser
@patient
@given(seed=SEEDS, width=st.sampled_from([1, 3, 8]))
def test_a_sparse_gradient_moves_its_rows_as_the_dense_one_to_the_bit(make, seed, width):
    generator = np.random.default_rng(seed)
    start = table(generator, width)
    rows = generator.permutation(ROWS)[:5].tolist()
    gradients = [table(generator, width) for _ in range(3)]
    weight, state = train(make, start, [sparse(rows, gradient[rows]) for gradient in gradients])
    dense_weight, dense_state = train(make, start, gradients)
    assert torch.equal(weight[rows], dense_weight[rows])
    assert all(torch.equal(state[name][rows], dense_state[name][rows]) for name in state)


@every_optimiser
@patient
@given(seed=SEEDS)
def test_rows_without_a_gradient_stay_as_they_are_to_the_bit(make, seed):
    generator = np.random.default_rng(seed)
    start = table(generator, 3)
    rows = generator.integers(0, ROWS, 4).tolist()
    _, before = train(make, start, [])
    weight, after = train(make, start, [sparse(rows, table(generator, 3)[rows])])
    others = [row for row in range(ROWS) if row not in rows]
    assert torch.equal(weight[others], start[others])
    assert all(torch.equal(after[name][others], before[name][others]) for name in after)


@every_optimiser
def test_gradients_of_a_repeated_row_are_summed_before_the_step(make):
    start = table(np.random.default_rng(1), 2)
    values = torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 4.0]])
    repeated = train(make, start, [sparse([4, 2, 4], values)])
    once = train(make, start, [sparse([2, 4], torch.tensor([[0.5, -1.0], [3.0, 6.0]]))])
    assert_equal(repeated, once)


@every_optimiser
def test_the_gradient_of_a_lookup_is_the_gradient_of_its_rows(make):
    start = table(np.random.default_rng(2), 2)
    weight = start.clone().requires_grad_()
    optimiser = make([weight])
    rows = torch.tensor([3, 3, 8])
    loss = torch.embedding(weight, rows, sparse=True).square().sum()
    loss += torch.embedding(weight, torch.tensor([8]), sparse=True).sum()
    loss.backward()
    optimiser.step()
    dense = torch.zeros(ROWS, 2)
    dense[3], dense[8] = 4 * start[3], 2 * start[8] + 1
    expected, _ = train(make, start, [dense])
    torch.testing.assert_close(weight.detach()[[3, 8]], expected[[3, 8]])


@every_optimiser
def test_an_empty_gradient_and_none_at_all_change_nothing(make):
    start = table(np.random.default_rng(3), 2)
    untrained = train(make, start, [])
    assert_equal(train(make, start, [None, sparse([], torch.empty(0, 2))]), untrained)


@patient
@given(st.lists(st.integers(0, ROWS - 1), max_size=30), SEEDS)
def test_summed_rows_equal_the_coalesced_gradient(rows, seed):
    values = np.random.default_rng(seed).normal(size=(len(rows), 2)).astype(np.float32)
    positions = np.full(ROWS, -1)
    distinct, sums = sum_rows(np.array(rows, np.int64), values, positions)
    expected = sparse(rows, torch.from_numpy(values)).coalesce()
    order = np.argsort(distinct)
    assert distinct[order].tolist() == expected.indices()[0].tolist()
    np.testing.assert_allclose(sums[order], expected.values().numpy(), rtol=1e-5, atol=1e-6)
    assert (positions == -1).all()

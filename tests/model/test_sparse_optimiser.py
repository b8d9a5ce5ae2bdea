"""The contract of every row optimiser, and the sum of a sparse gradient's rows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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


def sparse(ids, values):
    return torch.sparse_coo_tensor(
        torch.tensor([ids]), values, (ROWS, values.shape[1]), check_invariants=True
    )


def train(make, start, gradients):
    """The weight and its state after the gradients."""
    weight = start.clone().requires_grad_()
    optimiser = make([weight])
    for gradient in gradients:
        weight.grad = gradient
        optimiser.step()
    return weight.detach(), dict(optimiser.state[weight])


def equal(found, wanted):
    weight, state = found
    others, memory = wanted
    assert torch.equal(weight, others)
    assert state.keys() == memory.keys()
    assert all(torch.equal(state[name], memory[name]) for name in state)


@every_optimiser
@patient
@given(seed=SEEDS, width=st.sampled_from([1, 3, 8]))
def test_a_sparse_gradient_moves_its_rows_as_the_dense_one_to_the_bit(make, seed, width):
    generator = np.random.default_rng(seed)
    start = table(generator, width)
    ids = generator.permutation(ROWS)[:5].tolist()
    steps = [table(generator, width) for _ in range(3)]
    found = train(make, start, [sparse(ids, gradient[ids]) for gradient in steps])
    wanted = train(make, start, steps)
    rows = torch.tensor(ids)
    assert torch.equal(found[0][rows], wanted[0][rows])
    assert all(torch.equal(found[1][name][rows], wanted[1][name][rows]) for name in found[1])


@every_optimiser
@patient
@given(seed=SEEDS)
def test_rows_without_a_gradient_stay_as_they_are_to_the_bit(make, seed):
    generator = np.random.default_rng(seed)
    start = table(generator, 3)
    ids = generator.integers(0, ROWS, 4).tolist()
    before = train(make, start, [])
    after = train(make, start, [sparse(ids, table(generator, 3)[ids])])
    others = torch.tensor([row for row in range(ROWS) if row not in ids])
    assert torch.equal(after[0][others], start[others])
    assert all(torch.equal(after[1][name][others], before[1][name][others]) for name in after[1])


@every_optimiser
def test_gradients_of_a_repeated_id_are_summed_before_the_step(make):
    start = table(np.random.default_rng(1), 2)
    values = torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 4.0]])
    repeated = train(make, start, [sparse([4, 2, 4], values)])
    once = train(make, start, [sparse([2, 4], torch.tensor([[0.5, -1.0], [3.0, 6.0]]))])
    equal(repeated, once)


@every_optimiser
def test_the_gradient_of_a_lookup_is_the_gradient_of_its_rows(make):
    start = table(np.random.default_rng(2), 2)
    weight = start.clone().requires_grad_()
    optimiser = make([weight])
    ids = torch.tensor([3, 3, 8])
    loss = torch.embedding(weight, ids, sparse=True).square().sum()
    loss += torch.embedding(weight, torch.tensor([8]), sparse=True).sum()
    loss.backward()
    optimiser.step()
    dense = torch.zeros(ROWS, 2)
    dense[3], dense[8] = 4 * start[3], 2 * start[8] + 1
    wanted, _ = train(make, start, [dense])
    torch.testing.assert_close(weight.detach()[[3, 8]], wanted[[3, 8]])


@every_optimiser
def test_an_empty_gradient_and_none_at_all_change_nothing(make):
    start = table(np.random.default_rng(3), 2)
    wanted = train(make, start, [])
    equal(train(make, start, [None, sparse([], torch.empty(0, 2))]), wanted)


@patient
@given(st.lists(st.integers(0, ROWS - 1), max_size=30), SEEDS)
def test_summed_rows_equal_the_coalesced_gradient(ids, seed):
    values = np.random.default_rng(seed).normal(size=(len(ids), 2)).astype(np.float32)
    place = np.full(ROWS, -1)
    rows, sums = sum_rows(np.array(ids, np.int64), values, place)
    wanted = sparse(ids, torch.from_numpy(values)).coalesce()
    order = np.argsort(rows)
    assert rows[order].tolist() == wanted.indices()[0].tolist()
    np.testing.assert_allclose(sums[order], wanted.values().numpy(), rtol=1e-5, atol=1e-6)
    assert (place == -1).all()

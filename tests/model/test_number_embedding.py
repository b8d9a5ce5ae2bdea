"""Numbers as vectors: a place and a missing mark decide, near places are near, all of it learns."""

import pytest
import torch

from widedeep.model.number_embedding import GRID, NumberEmbedding, _Lookup


@pytest.fixture
def embedding():
    return NumberEmbedding(3, 5, torch.Generator().manual_seed(0))


def vectors(embedding, values, missing):
    return embedding(torch.tensor(values), torch.tensor(missing)).detach()


def test_a_vector_is_the_mixed_waves_of_its_number(embedding):
    values = torch.tensor([[0.0, 1.0, 64 / (GRID - 1)]])
    found = embedding(values, torch.zeros(1, 3)).reshape(3, 5)
    for i in range(3):
        angles = 2 * torch.pi * values[0, i] * embedding.frequencies[i]
        waves = torch.cat([angles.sin(), angles.cos()])
        wanted = torch.relu(waves @ embedding.weight[i] + embedding.bias[i, 0])
        torch.testing.assert_close(found[i], wanted, atol=1e-5, rtol=1e-5)


def test_every_quantile_of_a_hundred_has_a_vector_of_its_own(embedding):
    values = torch.linspace(0, 1, 100)[:, None].expand(-1, 3)
    found = embedding(values, torch.zeros(100, 3)).detach()
    assert len(torch.unique(found, dim=0)) == 100


def test_a_missing_number_has_one_vector_whatever_stands_in_its_place(embedding):
    with torch.no_grad():
        embedding.missing.fill_(7.0)
    one = vectors(embedding, [[0.0, 0.5, 1.0]], [[1.0, 0.0, 0.0]])
    other = vectors(embedding, [[0.9, 0.5, 1.0]], [[1.0, 0.0, 0.0]])
    torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert (one[0, :5] == 7).all()


def test_all_of_it_learns(embedding):
    embedding(torch.rand(50, 3), (torch.rand(50, 3) > 0.5).float()).sum().backward()
    assert all((p.grad != 0).any() for p in embedding.parameters())


def test_a_number_that_is_not_kept_has_a_vector_of_zeros(embedding):
    kept = torch.rand(50, 3) > 0.5
    values, missing = torch.rand(50, 3), torch.zeros(50, 3)
    whole, dropped = embedding(values, missing), embedding(values, missing, kept)
    assert torch.equal(dropped, whole * kept.repeat_interleave(5, dim=1))


def test_the_gradient_is_that_of_torchs_own_lookup():
    table = torch.randn(12, 5, requires_grad=True)
    places = torch.randint(12, (40, 3))
    wanted = torch.autograd.grad((torch.embedding(table, places) ** 2).sum(), table)
    found = torch.autograd.grad((_Lookup.apply(table, places) ** 2).sum(), table)
    torch.testing.assert_close(found, wanted)

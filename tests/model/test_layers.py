"""Vectors of all tables in one matrix are what a table each would give, and learn as one would.

The hidden layers as one operation are what torch's own operations compute.

Numbers as vectors: a place and a missing mark decide, near places are near, all of it learns.
"""

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding, embedding_bag, linear

from widedeep.model.layers import GRID, Dropout, Embeddings, NumberEmbedding, _Lookup, hidden_layers

TABLES = {"user": 5, "item": 7, "genres": 3}
FEATURES = ("user", "item", "genres", "item")
"""Two categories, then two bags, one of which reads the table of a category."""


@pytest.fixture
def embeddings():
    return Embeddings(TABLES, FEATURES, 4, torch.Generator().manual_seed(0))


@pytest.fixture
def read():
    """Three rows; bags of 2, 0 and 1 ids."""
    starts = torch.tensor([0, 2, 2])
    bags = [(torch.tensor([1, 2, 1]), starts), (torch.tensor([6, 3, 3]), starts)]
    return torch.tensor([[4, 6], [0, 6], [4, 1]]), bags


def plain(tables, categories, bags, kept):
    """The same of torch's operations, a table at a time."""
    ids = categories if kept is None else categories * kept[:, :2]
    found = [embedding(of, tables[name]) for of, name in zip(ids.T, FEATURES, strict=False)]
    for i, (of, starts) in enumerate(bags, 2):
        means = embedding_bag(of, tables[FEATURES[i]], starts, mode="mean")
        found.append(means if kept is None else means * kept[:, i : i + 1])
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("dropping", [False, True])
def test_vectors_and_gradients_are_those_of_a_table_each(embeddings, read, dropping):
    kept = torch.tensor([[True, False, True, False], [True] * 4, [False, True, False, True]])
    kept = kept if dropping else None
    tables = {name: embeddings[name].detach().clone().requires_grad_() for name in TABLES}
    found, wanted = embeddings(*read, kept), plain(tables, *read, kept)
    assert torch.equal(found, wanted)
    factor = torch.randn_like(wanted)
    (found * factor).sum().backward()
    (wanted * factor).sum().backward()
    gradient = embeddings.weight.grad
    assert gradient.is_sparse
    for name, rows in embeddings.places.items():
        torch.testing.assert_close(gradient.to_dense()[rows], tables[name].grad)


def test_a_category_that_is_not_kept_is_out_of_vocabulary_and_such_a_bag_empty(embeddings, read):
    found = embeddings(*read, torch.zeros(3, 4, dtype=torch.bool))
    unknown = torch.cat([embeddings["user"][0], embeddings["item"][0]])
    assert torch.equal(found, torch.cat([unknown, torch.zeros(8)]).expand(3, 16))


def test_without_bags_there_is_a_vector_for_each_category(read):
    embeddings = Embeddings(TABLES, FEATURES[:2], 4, torch.Generator().manual_seed(0))
    found = embeddings(read[0], [], None)
    assert torch.equal(found[1], torch.cat([embeddings["user"][0], embeddings["item"][6]]))


def test_no_rows_have_no_vectors(embeddings):
    none = torch.empty(0, dtype=torch.int64)
    bags = [(none, none)] * 2
    assert embeddings(none.reshape(0, 2), bags, None).shape == (0, 16)


def test_a_state_dict_has_a_tensor_for_each_table(embeddings):
    state = embeddings.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        name: (size, 4) for name, size in TABLES.items()
    }
    other = Embeddings(TABLES, FEATURES, 4, torch.Generator().manual_seed(1))
    assert not torch.equal(other.weight, embeddings.weight)
    other.load_state_dict(state)
    assert torch.equal(other.weight, embeddings.weight)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"user": torch.zeros(9, 4)}, r"user is \[9, 4\], wanted is \[5, 4\]"),
        ({"item": None}, "Missing.*movie"),
    ],
)
def test_a_state_dict_of_other_tables_is_refused(embeddings, wrong, message):
    state = {k: v for k, v in (embeddings.state_dict() | wrong).items() if v is not None}
    with pytest.raises(RuntimeError, match=message):
        embeddings.load_state_dict(state)


def test_tables_are_views_of_the_matrix(embeddings):
    with torch.no_grad():
        embeddings["item"].fill_(7)
    assert (embeddings.weight == 7).all(1).sum() == TABLES["item"]
    assert "item" in embeddings
    assert "grade" not in embeddings


def test_without_tables_there_is_nothing_to_learn():
    nothing = Embeddings({}, (), 4, torch.Generator())
    assert list(nothing.parameters()) == []
    assert nothing.state_dict() == {}


def plain_layers(inputs, layers, dropout):
    """The same of torch's operations."""
    units = torch.cat(inputs, dim=1)
    for i, (weight, bias) in enumerate(layers):
        units = torch.relu(linear(units, weight, bias))
        if dropout.kept:
            units = units * dropout.kept[i] / (1 - dropout.share)
    return units


@pytest.fixture
def drawn():
    """Inputs and two layers in float64, and masks; of the inputs the last wants no gradient."""
    torch.manual_seed(0)
    inputs = [
        torch.randn(50, width, dtype=torch.float64, requires_grad=wanted)
        for width, wanted in ((2, True), (1, False), (2, True), (1, False))
    ]
    layers = [
        tuple(torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
        for shapes in (((8, 6), (8,)), ((5, 8), (5,)))
    ]
    return inputs, layers, (torch.rand(50, 8) > 0.4, torch.rand(50, 5) > 0.4)


def gradients(function, inputs, layers, dropout):
    found = function(inputs, layers, dropout)
    leaves = [*inputs, *(parameter for layer in layers for parameter in layer)]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    return found.detach(), torch.autograd.grad((found**2).sum(), wanted)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_units_and_gradients_are_those_of_the_plain_operations(drawn, share):
    inputs, layers, masks = drawn
    dropout = Dropout(share, masks) if share else Dropout()
    wanted = gradients(plain_layers, inputs, layers, dropout)
    found = gradients(lambda *given: hidden_layers(*given, 2), inputs, layers, dropout)
    torch.testing.assert_close(found, wanted)


def test_the_gradient_that_comes_in_stays_as_it_is(drawn):
    inputs, layers, _ = drawn
    found = hidden_layers(inputs, layers, Dropout(), 1)
    given = torch.randn_like(found)
    before = given.clone()
    found.backward(given)
    assert torch.equal(given, before)


def test_the_number_of_threads_is_as_before_afterwards(drawn):
    inputs, layers, _ = drawn
    before = torch.get_num_threads()
    hidden_layers(inputs, layers, Dropout(), before + 1).sum().backward()
    assert torch.get_num_threads() == before


def test_no_rows_have_no_units(drawn):
    inputs, layers, _ = drawn
    none = [part[:0] for part in inputs]
    assert hidden_layers(none, layers, Dropout(), 1).shape == (0, 5)


def test_no_input_has_to_learn(drawn):
    inputs, layers, _ = drawn
    fixed = [part.detach() for part in inputs]
    wanted = gradients(plain_layers, fixed, layers, Dropout())
    found = gradients(lambda *given: hidden_layers(*given, 1), fixed, layers, Dropout())
    torch.testing.assert_close(found, wanted)


def test_in_bfloat16_gradients_of_weights_are_bfloat16_and_of_biases_exact(drawn):
    inputs, layers, _ = drawn
    halves = [part.detach().bfloat16() for part in inputs]
    floats = [tuple(nn.Parameter(each.detach().float()) for each in layer) for layer in layers]
    for weight, _ in floats:
        weight.grad_dtype = None
    hidden_layers(halves, floats, Dropout(), 1).sum().backward()
    assert {weight.grad.dtype for weight, _ in floats} == {torch.bfloat16}
    assert {bias.grad.dtype for _, bias in floats} == {torch.float32}


@pytest.fixture
def number_embedding():
    return NumberEmbedding(3, 5, torch.Generator().manual_seed(0))


def vectors(number_embedding, values, missing):
    return number_embedding(torch.tensor(values), torch.tensor(missing)).detach()


def test_a_vector_is_the_mixed_waves_of_its_number(number_embedding):
    values = torch.tensor([[0.0, 1.0, 64 / (GRID - 1)]])
    found = number_embedding(values, torch.zeros(1, 3)).reshape(3, 5)
    for i in range(3):
        angles = 2 * torch.pi * values[0, i] * number_embedding.frequencies[i]
        waves = torch.cat([angles.sin(), angles.cos()])
        wanted = torch.relu(waves @ number_embedding.weight[i] + number_embedding.bias[i, 0])
        torch.testing.assert_close(found[i], wanted, atol=1e-5, rtol=1e-5)


def test_every_quantile_of_a_hundred_has_a_vector_of_its_own(number_embedding):
    values = torch.linspace(0, 1, 100)[:, None].expand(-1, 3)
    found = number_embedding(values, torch.zeros(100, 3)).detach()
    assert len(torch.unique(found, dim=0)) == 100


def test_a_missing_number_has_one_vector_whatever_stands_in_its_place(number_embedding):
    with torch.no_grad():
        number_embedding.missing.fill_(7.0)
    one = vectors(number_embedding, [[0.0, 0.5, 1.0]], [[1.0, 0.0, 0.0]])
    other = vectors(number_embedding, [[0.9, 0.5, 1.0]], [[1.0, 0.0, 0.0]])
    torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert (one[0, :5] == 7).all()


def test_all_of_it_learns(number_embedding):
    number_embedding(torch.rand(50, 3), (torch.rand(50, 3) > 0.5).float()).sum().backward()
    assert all((p.grad != 0).any() for p in number_embedding.parameters())


def test_a_number_that_is_not_kept_has_a_vector_of_zeros(number_embedding):
    kept = torch.rand(50, 3) > 0.5
    values, missing = torch.rand(50, 3), torch.zeros(50, 3)
    whole, dropped = number_embedding(values, missing), number_embedding(values, missing, kept)
    assert torch.equal(dropped, whole * kept.repeat_interleave(5, dim=1))


def test_the_gradient_is_that_of_torchs_own_lookup():
    table = torch.randn(12, 5, requires_grad=True)
    places = torch.randint(12, (40, 3))
    wanted = torch.autograd.grad((torch.embedding(table, places) ** 2).sum(), table)
    found = torch.autograd.grad((_Lookup.apply(table, places) ** 2).sum(), table)
    torch.testing.assert_close(found, wanted)

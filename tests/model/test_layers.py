"""The layers against torch's own operations: hidden layers, embeddings, number embeddings."""

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding, embedding_bag, linear

from widedeep.model.layers import (
    GRID,
    Embeddings,
    NumberEmbedding,
    _TableLookup,
    hidden_layers,
)

TABLES = {"user": 5, "item": 7, "genres": 3}
FEATURES = ("user", "item", "genres", "item")
"""Two categories, then two bags, one of which reads the table of a category."""


@pytest.fixture
def embeddings():
    return Embeddings(TABLES, FEATURES, 4, torch.Generator().manual_seed(0))


@pytest.fixture
def codes():
    """Categories and bags of three rows; the bags hold 2, 0 and 1 codes."""
    starts = torch.tensor([0, 2, 2])
    bags = [(torch.tensor([1, 2, 1]), starts), (torch.tensor([6, 3, 3]), starts)]
    return torch.tensor([[4, 6], [0, 6], [4, 1]]), bags


def plain_embeddings(tables, categories, bags, mask):
    """The same with torch's operations, one table at a time."""
    categories = categories if mask is None else categories * mask[:, :2]
    vectors = [
        embedding(column, tables[name])
        for column, name in zip(categories.T, FEATURES, strict=False)
    ]
    for i, (bag, starts) in enumerate(bags, 2):
        means = embedding_bag(bag, tables[FEATURES[i]], starts, mode="mean")
        vectors.append(means if mask is None else means * mask[:, i : i + 1])
    return torch.cat(vectors, dim=1)


@pytest.mark.parametrize("dropping", [False, True])
def test_vectors_and_gradients_are_those_of_separate_tables(embeddings, codes, dropping):
    mask = torch.tensor([[True, False, True, False], [True] * 4, [False, True, False, True]])
    mask = mask if dropping else None
    tables = {name: embeddings[name].detach().clone().requires_grad_() for name in TABLES}
    vectors, expected = embeddings(*codes, mask), plain_embeddings(tables, *codes, mask)
    assert torch.equal(vectors, expected)
    factor = torch.randn_like(expected)
    (vectors * factor).sum().backward()
    (expected * factor).sum().backward()
    gradient = embeddings.weight.grad
    assert gradient.is_sparse
    for name, rows in embeddings.table_rows.items():
        torch.testing.assert_close(gradient.to_dense()[rows], tables[name].grad)


def test_a_dropped_category_is_out_of_vocabulary_and_a_dropped_bag_is_empty(embeddings, codes):
    vectors = embeddings(*codes, torch.zeros(3, 4, dtype=torch.bool))
    unknown = torch.cat([embeddings["user"][0], embeddings["item"][0]])
    assert torch.equal(vectors, torch.cat([unknown, torch.zeros(8)]).expand(3, 16))


def test_without_bags_there_is_a_vector_for_each_category(codes):
    embeddings = Embeddings(TABLES, FEATURES[:2], 4, torch.Generator().manual_seed(0))
    vectors = embeddings(codes[0], [], None)
    assert torch.equal(vectors[1], torch.cat([embeddings["user"][0], embeddings["item"][6]]))


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
        ({"user": torch.zeros(9, 4)}, r"user: expected shape \[5, 4\], found \[9, 4\]"),
        ({"item": None}, "Missing.*item"),
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


def plain_layers(inputs, layers, masks=(), dropout=0.0):
    """The same with torch's operations."""
    units = torch.cat(inputs, dim=1)
    for i, (weight, bias) in enumerate(layers):
        units = torch.relu(linear(units, weight, bias))
        if masks:
            units = units * masks[i] / (1 - dropout)
    return units


def fused_layers(inputs, layers, masks=(), dropout=0.0):
    return hidden_layers(inputs, layers, 1, masks, dropout)


@pytest.fixture
def drawn():
    """Inputs and two layers in float64, and masks; the last input needs no gradient."""
    torch.manual_seed(0)
    inputs = [
        torch.randn(50, width, dtype=torch.float64, requires_grad=learns)
        for width, learns in ((2, True), (1, False), (2, True), (1, False))
    ]
    layers = [
        tuple(torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
        for shapes in (((8, 6), (8,)), ((5, 8), (5,)))
    ]
    return inputs, layers, (torch.rand(50, 8) > 0.4, torch.rand(50, 5) > 0.4)


def units_and_gradients(function, *arguments):
    units = function(*arguments)
    inputs, layers, *_ = arguments
    leaves = [*inputs, *(parameter for layer in layers for parameter in layer)]
    learned = [leaf for leaf in leaves if leaf.requires_grad]
    return units.detach(), torch.autograd.grad((units**2).sum(), learned)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("threads", [1, 2])
def test_units_and_gradients_are_those_of_the_plain_operations(drawn, dropout, threads):
    inputs, layers, masks = drawn
    arguments = (inputs, layers, masks, dropout) if dropout else (inputs, layers)
    expected = units_and_gradients(plain_layers, *arguments)
    fused = units_and_gradients(
        lambda inputs, layers, *dropping: hidden_layers(inputs, layers, threads, *dropping),
        *arguments,
    )
    torch.testing.assert_close(fused, expected)


def test_the_incoming_gradient_stays_as_it_is(drawn):
    inputs, layers, _ = drawn
    units = fused_layers(inputs, layers)
    gradient = torch.randn_like(units)
    before = gradient.clone()
    units.backward(gradient)
    assert torch.equal(gradient, before)


def test_the_number_of_threads_is_as_before_afterwards(drawn):
    inputs, layers, _ = drawn
    before = torch.get_num_threads()
    hidden_layers(inputs, layers, before + 1).sum().backward()
    assert torch.get_num_threads() == before


def test_no_rows_have_no_units(drawn):
    inputs, layers, _ = drawn
    none = [part[:0] for part in inputs]
    assert fused_layers(none, layers).shape == (0, 5)


def test_no_input_needs_a_gradient(drawn):
    inputs, layers, _ = drawn
    fixed = [part.detach() for part in inputs]
    expected = units_and_gradients(plain_layers, fixed, layers)
    torch.testing.assert_close(units_and_gradients(fused_layers, fixed, layers), expected)


def test_in_bfloat16_gradients_of_weights_are_bfloat16_and_of_biases_exact(drawn):
    inputs, layers, _ = drawn
    rounded = [part.detach().bfloat16() for part in inputs]
    float_layers = [
        tuple(nn.Parameter(parameter.detach().float()) for parameter in layer) for layer in layers
    ]
    for weight, _ in float_layers:
        weight.grad_dtype = None
    fused_layers(rounded, float_layers).sum().backward()
    assert {weight.grad.dtype for weight, _ in float_layers} == {torch.bfloat16}
    assert {bias.grad.dtype for _, bias in float_layers} == {torch.float32}


@pytest.fixture
def number_embedding():
    return NumberEmbedding(3, 5, torch.Generator().manual_seed(0))


def vectors(number_embedding, values, missing):
    return number_embedding(torch.tensor(values), torch.tensor(missing)).detach()


def test_a_vector_is_the_mixed_waves_of_its_number(number_embedding):
    values = torch.tensor([[0.0, 1.0, 64 / (GRID - 1)]])
    rows = number_embedding(values, torch.zeros(1, 3)).reshape(3, 5)
    for i in range(3):
        angles = 2 * torch.pi * values[0, i] * number_embedding.frequencies[i]
        waves = torch.cat([angles.sin(), angles.cos()])
        expected = torch.relu(waves @ number_embedding.weight[i] + number_embedding.bias[i, 0])
        torch.testing.assert_close(rows[i], expected, atol=1e-5, rtol=1e-5)


def test_every_quantile_of_a_hundred_has_a_vector_of_its_own(number_embedding):
    values = torch.linspace(0, 1, 100)[:, None].expand(-1, 3)
    rows = number_embedding(values, torch.zeros(100, 3)).detach()
    assert len(torch.unique(rows, dim=0)) == 100


def test_a_missing_number_has_one_vector_whatever_its_value(number_embedding):
    with torch.no_grad():
        number_embedding.missing.fill_(7.0)
    first = vectors(number_embedding, [[0.0, 0.5, 1.0]], [[1.0, 0.0, 0.0]])
    second = vectors(number_embedding, [[0.9, 0.5, 1.0]], [[1.0, 0.0, 0.0]])
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert (first[0, :5] == 7).all()


def test_every_parameter_of_a_number_embedding_learns(number_embedding):
    number_embedding(torch.rand(50, 3), (torch.rand(50, 3) > 0.5).float()).sum().backward()
    assert all((p.grad != 0).any() for p in number_embedding.parameters())


def test_a_dropped_number_has_a_vector_of_zeros(number_embedding):
    mask = torch.rand(50, 3) > 0.5
    values, missing = torch.rand(50, 3), torch.zeros(50, 3)
    whole, dropped = number_embedding(values, missing), number_embedding(values, missing, mask)
    assert torch.equal(dropped, whole * mask.repeat_interleave(5, dim=1))


def test_the_gradient_of_a_lookup_is_that_of_torch():
    table = torch.randn(12, 5, requires_grad=True)
    rows = torch.randint(12, (40, 3))
    expected = torch.autograd.grad((torch.embedding(table, rows) ** 2).sum(), table)
    gradient = torch.autograd.grad((_TableLookup.apply(table, rows) ** 2).sum(), table)
    torch.testing.assert_close(gradient, expected)

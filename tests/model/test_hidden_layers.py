"""The hidden layers as one operation are what torch's own operations compute."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from widedeep.model.hidden_layers import Dropout, hidden_layers


def plain(inputs, layers, dropout):
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
    wanted = gradients(plain, inputs, layers, dropout)
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
    wanted = gradients(plain, fixed, layers, Dropout())
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

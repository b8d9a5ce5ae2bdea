"""The hidden layers as one operation: products, ReLU and dropout, with little memory touched.

Composed of torch's operations, ReLU, dropout and their gradients write a new matrix each; a hidden
layer here is one matrix that is written in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from widedeep.model.hidden_units import activate, pass_back
from widedeep.model.threads import threads

Layer = tuple[Tensor, Tensor]
"""Weight (narrow, wide) and bias (narrow,)."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """For each layer a bool (rows, narrow) of the units `kept`, and the `share` of those dropped.

    Without masks nothing is dropped.
    """

    share: float = 0.0
    kept: tuple[Tensor, ...] = ()


def hidden_layers(
    inputs: Tensor, layers: Sequence[Layer], dropout: Dropout, threads: int
) -> Tensor:
    """Units of the last of the `layers`, (rows, narrow), from `inputs` (rows, wide).

    They are computed in the dtype of the inputs, whatever that of the layers is, forward and
    backward on so many `threads`.
    """
    parameters = [parameter for layer in layers for parameter in layer]
    found: Tensor = _HiddenLayers.apply(inputs, dropout, threads, *parameters)  # type: ignore[no-untyped-call]
    return found


class _HiddenLayers(Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        inputs: Tensor,
        dropout: Dropout,
        count: int,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.threads, ctx.dtype = count, parameters[0].dtype
        ctx.scale = 1 / (1 - dropout.share) if dropout.kept else 1.0
        units = [inputs]
        with threads(count):
            given = [parameter.to(inputs.dtype) for parameter in parameters]
            weights, biases = given[::2], given[1::2]
            masks = dropout.kept or [None] * len(weights)
            for weight, bias, kept in zip(weights, biases, masks, strict=True):
                hidden = linear(units[-1], weight, bias)
                activate(hidden, kept, ctx.scale)
                units.append(hidden)
        ctx.save_for_backward(*units, *weights)
        return units[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        layers = len(ctx.saved_tensors) // 2
        units, weights = ctx.saved_tensors[: layers + 1], ctx.saved_tensors[layers + 1 :]
        found: list[Tensor] = []
        with threads(ctx.threads):
            gradient = gradient.clone(memory_format=torch.contiguous_format)
            for i in reversed(range(layers)):
                sums = pass_back(gradient, units[i + 1], ctx.scale)
                found += [sums.to(ctx.dtype), (gradient.T @ units[i]).to(ctx.dtype)]
                gradient = gradient @ weights[i]
        return gradient, None, None, *reversed(found)

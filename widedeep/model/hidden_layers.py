"""The hidden layers as one operation: products, ReLU and dropout, with little memory touched.

Composed of torch's operations, ReLU, dropout and their gradients write a new matrix each; a hidden
layer here is one matrix that is written in place. Dropout: Srivastava et al., "Dropout: A Simple
Way to Prevent Neural Networks from Overfitting" (2014), scaled in training as usual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

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

    All of one dtype. Forward and backward work on so many `threads`.
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
        ctx.threads, ctx.scale = count, 1 / (1 - dropout.share)
        units, weights = [inputs], parameters[::2]
        with threads(count):
            for i, (weight, bias) in enumerate(zip(weights, parameters[1::2], strict=True)):
                hidden = torch.addmm(bias, units[-1], weight.T).relu_()
                if dropout.kept:
                    hidden.mul_(dropout.kept[i]).mul_(ctx.scale)
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
            gradient = gradient.clone()
            for i in reversed(range(layers)):
                # A unit is above 0 exactly where it was kept and ReLU let it through.
                torch.ops.aten.threshold_backward(gradient, units[i + 1], 0, grad_input=gradient)
                if ctx.scale != 1:
                    gradient.mul_(ctx.scale)
                found += [gradient.sum(0), gradient.T @ units[i]]
                gradient = gradient @ weights[i]
        return gradient, None, None, *reversed(found)

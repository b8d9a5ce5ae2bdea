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
    inputs: Sequence[Tensor], layers: Sequence[Layer], dropout: Dropout, threads: int
) -> Tensor:
    """Units of the last of the `layers`, (rows, narrow), from `inputs` (rows, …) side by side.

    They are computed in the dtype of the inputs, whatever that of the layers is, forward and
    backward on so many `threads`; the weights' gradients stay in it. Inputs that want no gradient
    cost none where they are the last ones.
    """
    parameters = [parameter for layer in layers for parameter in layer]
    found: Tensor = _HiddenLayers.apply(dropout, threads, len(inputs), *inputs, *parameters)  # type: ignore[no-untyped-call]
    return found


class _HiddenLayers(Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        dropout: Dropout,
        count: int,
        parts: int,
        *tensors: Tensor,
    ) -> Tensor:
        inputs, parameters = tensors[:parts], tensors[parts:]
        ctx.threads, ctx.widths = count, [part.shape[1] for part in inputs]
        ctx.scale = 1 / (1 - dropout.share) if dropout.kept else 1.0
        units = [torch.cat(inputs, dim=1)]
        with threads(count):
            weights = [weight.to(units[0].dtype) for weight in parameters[::2]]
            masks = dropout.kept or [None] * len(weights)
            for weight, bias, kept in zip(weights, parameters[1::2], masks, strict=True):
                hidden = units[-1] @ weight.T
                activate(hidden, bias, kept, ctx.scale)
                units.append(hidden)
        ctx.save_for_backward(*units, *weights)
        return units[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        layers = len(ctx.saved_tensors) // 2
        units, weights = ctx.saved_tensors[: layers + 1], ctx.saved_tensors[layers + 1 :]
        wanted = ctx.widths[: _last(ctx.needs_input_grad[3 : 3 + len(ctx.widths)])]
        columns = [sum(wanted), *(weight.shape[1] for weight in weights[1:])]
        found: list[Tensor] = []
        with threads(ctx.threads):
            for i in reversed(range(layers)):
                gradient, of_bias = pass_back(gradient, units[i + 1], ctx.scale)
                found += [of_bias, gradient.T @ units[i]]
                gradient = gradient @ weights[i][:, : columns[i]]
        unwanted = [None] * (len(ctx.widths) - len(wanted))
        of_inputs = [*torch.split(gradient, wanted, dim=1), *unwanted]
        return None, None, None, *of_inputs, *reversed(found)


def _last(wanted: Sequence[bool]) -> int:
    """How many there are up to the last one that is true."""
    return max((i + 1 for i, want in enumerate(wanted) if want), default=0)

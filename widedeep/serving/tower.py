"""The hidden layers behind the first, for all candidates at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from widedeep.model.precision import Precision


@dataclass(frozen=True, slots=True)
class Tower:
    """`hidden` are weights (out, in) and biases; `last` is the float32 layer to the logit.

    In float32 a score is that of the network within `tolerance`; in bfloat16, with 8 bits of
    mantissa an activation, so are the probabilities of the presets.
    """

    hidden: tuple[tuple[Tensor, Tensor], ...]
    last: tuple[Tensor, Tensor]
    dtype: torch.dtype

    @classmethod
    def of(cls, layers: Iterable[nn.Module], dtype: torch.dtype) -> Self:
        """Take the layers behind the first; the last one gives the logit."""
        *hidden, last = [weight_and_bias(layer) for layer in layers]
        converted = tuple((w.to(dtype).contiguous(), b.to(dtype)) for w, b in hidden)
        return cls(converted, (last[0][0].contiguous(), last[1]), dtype)

    @property
    def precision(self) -> Precision:
        """That of the products."""
        return Precision.FLOAT32 if self.dtype == torch.float32 else Precision.BFLOAT16

    @property
    def tolerance(self) -> float:
        """How far a probability may be from that of the network in float32."""
        return 1e-5 if self.dtype == torch.float32 else 2e-2

    def score(self, first: Tensor) -> Tensor:
        """Logits, float32 (n,), from the first layer's output (n, width) of this precision."""
        activation = first
        for weight, bias in self.hidden:
            activation = linear(activation, weight, bias).relu_()
        weight, bias = self.last
        return torch.mv(activation.float(), weight) + bias


def weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Of a linear layer: float32 (out, in) and (out,)."""
    held = dict(layer.named_parameters())
    return held["weight"].detach(), held["bias"].detach()

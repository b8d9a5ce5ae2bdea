"""FTRL-Proximal with L1 and L2 for sparse linear weights.

McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches", algorithm 1; the paper trains
its wide part with it (section 3.3).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from widedeep.errors import InputError


@dataclass(frozen=True, slots=True)
class FtrlConfig:
    """`alpha` and `beta` set the rate of each coordinate, alpha / (beta + sqrt(sum of squares)).

    `l1` and `l2` are penalties on the sum of the rows' losses.
    """

    alpha: float = 0.05
    beta: float = 1.0
    l1: float = 1.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        if self.alpha <= 0 or min(self.beta, self.l1, self.l2) < 0:
            raise InputError(f"{self}: alpha above 0 and beta, l1, l2 of at least 0 are wanted")


def weight_from(z: Tensor, n: Tensor, config: FtrlConfig) -> Tensor:
    """The weight that FTRL's state determines; 0 where |z| does not exceed l1."""
    rate = (config.beta + n.sqrt()) / config.alpha + config.l2
    return torch.where(z.abs() <= config.l1, 0.0, (z.sign() * config.l1 - z) / rate)


def state_for(weight: Tensor, config: FtrlConfig) -> tuple[Tensor, Tensor]:
    """A state (z, n) without any history (n = 0) that determines `weight`."""
    rate = config.beta / config.alpha + config.l2
    return -weight * rate - weight.sign() * config.l1, torch.zeros_like(weight)


def step(z: Tensor, n: Tensor, weight: Tensor, gradient: Tensor, config: FtrlConfig) -> None:
    """One update in place; all tensors float32 of the same shape."""
    squares = n + gradient * gradient
    sigma = (squares.sqrt() - n.sqrt()) / config.alpha
    z += gradient - sigma * weight
    n.copy_(squares)
    weight.copy_(weight_from(z, n, config))


class Ftrl(torch.optim.Optimizer):
    """The update as an optimiser; rows that a sparse gradient doesn't name stay untouched."""

    def __init__(self, parameters: Iterable[Tensor], config: FtrlConfig) -> None:
        super().__init__(parameters, {"config": config})
        for group in self.param_groups:
            for parameter in group["params"]:
                z, n = state_for(parameter.detach(), config)
                self.state[parameter] = {"z": z, "n": n}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient of the summed loss."""
        if closure is not None:
            raise InputError("FTRL evaluates no closure; call backward before step")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["config"])

    def _update(self, parameter: Tensor, gradient: Tensor, config: FtrlConfig) -> None:
        state = self.state[parameter]
        if not gradient.is_sparse:
            step(state["z"], state["n"], parameter, gradient, config)
            return
        gradient = gradient.coalesce()
        rows = gradient.indices()[0]
        z, n, weight = state["z"][rows], state["n"][rows], parameter[rows]
        step(z, n, weight, gradient.values(), config)
        state["z"][rows], state["n"][rows], parameter[rows] = z, n, weight

"""FTRL-Proximal with L1 and L2 for sparse linear weights.

McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches", algorithm 1; the paper trains
its wide part with it (section 3.3).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from widedeep.errors import InputError
from widedeep.model.row_optimizer import RowOptimizer, State


@dataclass(frozen=True, slots=True)
class FtrlConfig:
    """`alpha` and `beta` set the rate of each coordinate, alpha / (beta + sqrt(sum of squares)).

    `l1` and `l2` are penalties on the summed loss of all rows seen so far, in every epoch and in
    every model a warm start goes back to: the more a weight has seen, the less they press on it.
    """

    alpha: float = 0.05
    beta: float = 1.0
    l1: float = 1.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) <= 0 or min(self.l1, self.l2) < 0:
            raise InputError(f"{self}: alpha and beta above 0 and l1, l2 of at least 0 are wanted")


def weight_from(z: Tensor, n: Tensor, config: FtrlConfig) -> Tensor:
    """The weight that FTRL's state determines; 0 where |z| does not exceed l1."""
    return torch.where(z.abs() <= config.l1, 0.0, (z.sign() * config.l1 - z) / _rate(n, config))


def z_for(weight: Tensor, n: Tensor, config: FtrlConfig) -> Tensor:
    """The z that, together with n, determines `weight` (to rounding); 0 for a weight of 0."""
    return -weight * _rate(n, config) - weight.sign() * config.l1


def state_for(weight: Tensor, config: FtrlConfig) -> tuple[Tensor, Tensor]:
    """A state (z, n) without any history (n = 0) that determines `weight`."""
    n = torch.zeros_like(weight)
    return z_for(weight, n, config), n


def step(z: Tensor, n: Tensor, weight: Tensor, gradient: Tensor, config: FtrlConfig) -> None:
    """One update in place; all tensors of the same shape."""
    squares = n + gradient * gradient
    sigma = (squares.sqrt() - n.sqrt()) / config.alpha
    z += gradient - sigma * weight
    n.copy_(squares)
    weight.copy_(weight_from(z, n, config))


class Ftrl(RowOptimizer):
    """The update as an optimiser, fed by the gradient of the summed loss; it remembers z and n."""

    def __init__(self, parameters: Iterable[Tensor], config: FtrlConfig) -> None:
        self.config = config
        super().__init__(parameters)

    def begin(self, weight: Tensor) -> State:
        """See `state_for`."""
        z, n = state_for(weight, self.config)
        return {"z": z, "n": n}

    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """See `step`."""
        step(state["z"], state["n"], weight, gradient, self.config)

    @torch.no_grad()
    def keep_weights(self) -> None:
        """Mend each z that came from another config, so that it determines the present weight."""
        limit = self.config.l1
        for weight, state in self.state.items():
            z, wanted = state["z"], z_for(weight, state["n"], self.config)
            z.copy_(torch.where(weight == 0, z.clamp(-limit, limit), wanted))


def _rate(n: Tensor, config: FtrlConfig) -> Tensor:
    return (config.beta + n.sqrt()) / config.alpha + config.l2

"""FTRL-Proximal with L1 and L2 penalties for sparse linear weights.

McMahan et al., "Ad Click Prediction: a View from the Trenches" (2013), algorithm 1. The paper
trains its wide part with it (section 3.3). A weight is a function of FTRL's state: z, the adjusted
sum of the gradients, and n, the sum of their squares.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from widedeep.compiled import compiled
from widedeep.inputs import InputError
from widedeep.model.compute import uses_compiled_kernels
from widedeep.model.sparse_optimiser import Rows, SparseOptimiser, State, Values, flat


@dataclass(frozen=True, slots=True)
class FtrlConfig:
    """Settings of FTRL. The rate of a coordinate is alpha / (beta + sqrt(n)).

    `l1` and `l2` are penalties on the loss summed over all rows seen so far, in every epoch and in
    every model that a chain of warm starts goes back to. So they shrink a weight less, the more
    rows it has seen.
    """

    alpha: float = 0.05
    beta: float = 1.0
    l1: float = 1.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) <= 0 or min(self.l1, self.l2) < 0:
            raise InputError(f"{self}: expected alpha and beta above 0, l1 and l2 of at least 0")


def weight_from_state(z: Tensor, n: Tensor, config: FtrlConfig) -> Tensor:
    """Return the weight that the state (z, n) determines; 0 where |z| is at most l1."""
    if uses_compiled_kernels(z):
        weight = torch.empty_like(z, memory_format=torch.contiguous_format)
        _weigh_all(flat(z), flat(n), flat(weight), _constants(z, config))
        return weight
    return torch.where(
        z.abs() <= config.l1, 0.0, (z.sign() * config.l1 - z) / _inverse_rate(n, config)
    )


def z_from_weight(weight: Tensor, n: Tensor, config: FtrlConfig) -> Tensor:
    """Return the z that determines `weight` with `n`, up to rounding; 0 for a weight of 0."""
    return -weight * _inverse_rate(n, config) - weight.sign() * config.l1


def state_from_weight(weight: Tensor, config: FtrlConfig) -> tuple[Tensor, Tensor]:
    """Return a state (z, n) without past gradients (n = 0) that determines `weight`."""
    n = torch.zeros_like(weight)
    return z_from_weight(weight, n, config), n


def step(z: Tensor, n: Tensor, weight: Tensor, gradient: Tensor, config: FtrlConfig) -> None:
    """Make one step in place; all tensors have one shape."""
    squares = n + gradient * gradient
    sigma = (squares.sqrt() - n.sqrt()) / config.alpha
    z += gradient - sigma * weight
    n.copy_(squares)
    weight.copy_(weight_from_state(z, n, config))


class Ftrl(SparseOptimiser):
    """FTRL as an optimiser. It expects gradients of the summed loss, and remembers z and n."""

    def __init__(self, parameters: Iterable[Tensor], config: FtrlConfig) -> None:
        self.config = config
        super().__init__(parameters)

    def initial_state(self, weight: Tensor) -> State:
        """Return the state that determines `weight` (see `state_from_weight`)."""
        z, n = state_from_weight(weight, self.config)
        return {"z": z, "n": n}

    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """Make one step in place (see `step`), compiled on a CPU."""
        if uses_compiled_kernels(weight):
            z, n = flat(state["z"]), flat(state["n"])
            _step_all(z, n, flat(weight), flat(gradient), _constants(weight, self.config))
        else:
            step(state["z"], state["n"], weight, gradient, self.config)

    def update_rows(self, weight: Tensor, state: State, rows: Tensor, gradient: Tensor) -> None:
        """Make one step in place for some rows, compiled on a CPU."""
        if uses_compiled_kernels(weight):
            z, n, weights = state["z"].numpy(), state["n"].numpy(), weight.detach().numpy()
            constants = _constants(weight, self.config)
            _step_rows(z, n, weights, rows.numpy(), gradient.numpy(), constants)
        else:
            super().update_rows(weight, state, rows, gradient)

    @torch.no_grad()
    def keep_weights(self) -> None:
        """Recompute each z for this config after loading another's state, so that weights stay."""
        limit = self.config.l1
        for weight, state in self.state.items():
            z, recomputed = state["z"], z_from_weight(weight, state["n"], self.config)
            z.copy_(torch.where(weight == 0, z.clamp(-limit, limit), recomputed))


def _inverse_rate(n: Tensor, config: FtrlConfig) -> Tensor:
    return (config.beta + n.sqrt()) / config.alpha + config.l2


class _Constants(NamedTuple):
    """The numbers of a `FtrlConfig` in the dtype of the weights, so that nothing is promoted."""

    alpha: np.floating
    beta: np.floating
    l1: np.floating
    l2: np.floating


def _constants(weight: Tensor, config: FtrlConfig) -> _Constants:
    number = weight.detach().numpy().dtype.type
    return _Constants(*map(number, (config.alpha, config.beta, config.l1, config.l2)))


@compiled(error_model="numpy")
def _weight(z: np.floating, n: np.floating, constants: _Constants) -> np.floating:
    inverse_rate = (constants.beta + np.sqrt(n)) / constants.alpha + constants.l2
    signed = math.copysign(constants.l1, z)
    return type(z)(0) if abs(z) <= constants.l1 else (signed - z) / inverse_rate


@compiled(error_model="numpy")
def _weigh_all(z: Values, n: Values, weight: Values, constants: _Constants) -> None:
    for i in range(len(z)):
        weight[i] = _weight(z[i], n[i], constants)


@compiled(error_model="numpy")
def _stepped(
    z: np.floating,
    n: np.floating,
    weight: np.floating,
    gradient: np.floating,
    constants: _Constants,
) -> tuple[np.floating, np.floating, np.floating]:
    squares = n + gradient * gradient
    sigma = (np.sqrt(squares) - np.sqrt(n)) / constants.alpha
    moved = z + (gradient - sigma * weight)
    return moved, squares, _weight(moved, squares, constants)


@compiled(error_model="numpy")
def _step_all(
    z: Values, n: Values, weight: Values, gradient: Values, constants: _Constants
) -> None:
    for i in range(len(z)):
        z[i], n[i], weight[i] = _stepped(z[i], n[i], weight[i], gradient[i], constants)


@compiled(error_model="numpy")
def _step_rows(  # noqa: PLR0917  compiled code takes no keywords
    z: Values, n: Values, weight: Values, rows: Rows, gradient: Values, constants: _Constants
) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for k in range(weight.shape[1]):
            moved = _stepped(z[row, k], n[row, k], weight[row, k], gradient[i, k], constants)
            z[row, k], n[row, k], weight[row, k] = moved

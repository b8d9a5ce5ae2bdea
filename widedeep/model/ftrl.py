"""FTRL-Proximal with L1 and L2 for sparse linear weights.

McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches", algorithm 1; the paper trains
its wide part with it (section 3.3).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from widedeep.inputs import InputError
from widedeep.model.compute import uses_compiled_kernels
from widedeep.model.sparse_optimiser import Rows, SparseOptimiser, State, Values, flat


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
    if uses_compiled_kernels(z):
        weight = torch.empty_like(z, memory_format=torch.contiguous_format)
        _weigh_all(flat(z), flat(n), flat(weight), _constants(z, config))
        return weight
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


class Ftrl(SparseOptimiser):
    """The update as an optimiser, fed by the gradient of the summed loss; it remembers z and n."""

    def __init__(self, parameters: Iterable[Tensor], config: FtrlConfig) -> None:
        self.config = config
        super().__init__(parameters)

    def begin(self, weight: Tensor) -> State:
        """See `state_for`."""
        z, n = state_for(weight, self.config)
        return {"z": z, "n": n}

    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """See `step`; compiled on a processor."""
        if uses_compiled_kernels(weight):
            z, n = flat(state["z"]), flat(state["n"])
            _step_all(z, n, flat(weight), flat(gradient), _constants(weight, self.config))
        else:
            step(state["z"], state["n"], weight, gradient, self.config)

    def update_rows(self, weight: Tensor, state: State, rows: Tensor, gradient: Tensor) -> None:
        """See `step`; compiled on a processor."""
        if uses_compiled_kernels(weight):
            z, n, weights = state["z"].numpy(), state["n"].numpy(), weight.detach().numpy()
            constants = _constants(weight, self.config)
            _step_rows(z, n, weights, rows.numpy(), gradient.numpy(), constants)
        else:
            super().update_rows(weight, state, rows, gradient)

    @torch.no_grad()
    def keep_weights(self) -> None:
        """Mend each z that came from another config, so that it determines the present weight."""
        limit = self.config.l1
        for weight, state in self.state.items():
            z, wanted = state["z"], z_for(weight, state["n"], self.config)
            z.copy_(torch.where(weight == 0, z.clamp(-limit, limit), wanted))


def _rate(n: Tensor, config: FtrlConfig) -> Tensor:
    return (config.beta + n.sqrt()) / config.alpha + config.l2


class _Constants(NamedTuple):
    """Those of a `FtrlConfig`, in the weights' own dtype: nothing is computed in another."""

    alpha: np.floating
    beta: np.floating
    l1: np.floating
    l2: np.floating


def _constants(weight: Tensor, config: FtrlConfig) -> _Constants:
    number = weight.detach().numpy().dtype.type
    return _Constants(*map(number, (config.alpha, config.beta, config.l1, config.l2)))


@njit(cache=True, error_model="numpy")
def _weight(z: np.floating, n: np.floating, of: _Constants) -> np.floating:
    rate = (of.beta + np.sqrt(n)) / of.alpha + of.l2
    signed = math.copysign(of.l1, z)
    return type(z)(0) if abs(z) <= of.l1 else (signed - z) / rate


@njit(cache=True, error_model="numpy")
def _weigh_all(z: Values, n: Values, weight: Values, of: _Constants) -> None:
    for i in range(len(z)):
        weight[i] = _weight(z[i], n[i], of)


@njit(cache=True, error_model="numpy")
def _stepped(
    z: np.floating, n: np.floating, weight: np.floating, gradient: np.floating, of: _Constants
) -> tuple[np.floating, np.floating, np.floating]:
    squares = n + gradient * gradient
    sigma = (np.sqrt(squares) - np.sqrt(n)) / of.alpha
    moved = z + (gradient - sigma * weight)
    return moved, squares, _weight(moved, squares, of)


@njit(cache=True, error_model="numpy", nogil=True)
def _step_all(z: Values, n: Values, weight: Values, gradient: Values, of: _Constants) -> None:
    for i in range(len(z)):
        z[i], n[i], weight[i] = _stepped(z[i], n[i], weight[i], gradient[i], of)


@njit(cache=True, error_model="numpy", nogil=True)
def _step_rows(  # noqa: PLR0917  compiled code takes no keywords
    z: Values, n: Values, weight: Values, rows: Rows, gradient: Values, of: _Constants
) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for k in range(weight.shape[1]):
            moved = _stepped(z[row, k], n[row, k], weight[row, k], gradient[i, k], of)
            z[row, k], n[row, k], weight[row, k] = moved

"""AdaGrad, the paper's optimiser of the deep part (section 3.3).

Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization" (2011). Each weight's rate falls with the sum of its own squared gradients.
Gradients may be bfloat16, nothing else is.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numba import njit
from torch import Tensor

from widedeep.model.compute import uses_compiled_kernels
from widedeep.model.kernels import Bits, bits_of, number_of
from widedeep.model.sparse_optimiser import Rows, SparseOptimiser, State, Values, flat

EPSILON = 1e-10


def step(weight: Tensor, squares: Tensor, gradient: Tensor, rate: float) -> None:
    """One update in place; all tensors of the same shape. `squares` sums the squared gradients."""
    squares += gradient * gradient
    weight -= rate * (gradient / (squares.sqrt() + EPSILON))


class AdaGrad(SparseOptimiser):
    """The update as an optimiser; it remembers `sum`, which begins at `initial_accumulator`.

    Of `learning_rate` it takes a `share`, which may change from step to step.
    """

    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float, initial_accumulator: float
    ) -> None:
        self.learning_rate = learning_rate
        self.initial_accumulator = initial_accumulator
        self.share = 1.0
        super().__init__(parameters)

    @property
    def rate(self) -> float:
        """What is taken of the learning rate now."""
        return self.learning_rate * self.share

    def begin(self, weight: Tensor) -> State:
        """The accumulator before the first gradient."""
        return {"sum": weight.new_full(weight.shape, self.initial_accumulator)}

    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """See `step`; compiled on a processor, where a fused pass costs a tenth."""
        if not uses_compiled_kernels(weight):
            step(weight, state["sum"], gradient.to(weight.dtype), self.rate)
            return
        given = flat(weight), flat(state["sum"])
        if gradient.dtype == torch.bfloat16:
            bits = bits_of(gradient.reshape(-1))
            _step_all_by_bits(*given, bits, *self._constants(weight))
        else:
            _step_all(*given, flat(gradient), *self._constants(weight))

    def update_rows(self, weight: Tensor, state: State, rows: Tensor, gradient: Tensor) -> None:
        """See `step`."""
        if uses_compiled_kernels(weight):
            weights, squares = weight.detach().numpy(), state["sum"].numpy()
            constants = self._constants(weight)
            _step_rows(weights, squares, rows.numpy(), gradient.numpy(), *constants)
        else:
            super().update_rows(weight, state, rows, gradient)

    def _constants(self, weight: Tensor) -> tuple[np.floating, np.floating]:
        """Rate and epsilon in the weight's own dtype, so that nothing is computed in another."""
        number = weight.detach().numpy().dtype.type
        return number(self.rate), number(EPSILON)


# numpy's error model: without the check for a division by zero the loops become vector code.
@njit(cache=True, error_model="numpy")
def _stepped(
    weight: np.floating,
    squares: np.floating,
    gradient: np.floating,
    rate: np.floating,
    epsilon: np.floating,
) -> tuple[np.floating, np.floating]:
    squares += gradient * gradient
    return weight - rate * (gradient / (np.sqrt(squares) + epsilon)), squares


@njit(cache=True, error_model="numpy", nogil=True)
def _step_all(
    weight: Values, squares: Values, gradient: Values, rate: np.floating, epsilon: np.floating
) -> None:
    for i in range(len(weight)):
        weight[i], squares[i] = _stepped(weight[i], squares[i], gradient[i], rate, epsilon)


@njit(cache=True, error_model="numpy", nogil=True)
def _step_all_by_bits(
    weight: Values, squares: Values, gradient: Bits, rate: np.floating, epsilon: np.floating
) -> None:
    for i in range(len(weight)):
        of = number_of(gradient[i])
        weight[i], squares[i] = _stepped(weight[i], squares[i], of, rate, epsilon)


@njit(cache=True, error_model="numpy", nogil=True)
def _step_rows(  # noqa: PLR0917  compiled code takes no keywords
    weight: Values,
    squares: Values,
    rows: Rows,
    gradient: Values,
    rate: np.floating,
    epsilon: np.floating,
) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for k in range(weight.shape[1]):
            moved = _stepped(weight[row, k], squares[row, k], gradient[i, k], rate, epsilon)
            weight[row, k], squares[row, k] = moved

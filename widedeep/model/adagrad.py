"""AdaGrad, the paper's optimiser of the deep part (section 3.3).

Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization" (2011). The rate of each weight falls with the sum of its squared gradients. Gradients
may be bfloat16; weights and sums are not.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from widedeep.compiled import compiled
from widedeep.model.compute import uses_compiled_kernels
from widedeep.model.kernels import Bits, bfloat16_bits, float32_from_bits
from widedeep.model.sparse_optimiser import Rows, SparseOptimiser, State, Values, flat

EPSILON = 1e-10


def step(weight: Tensor, squares: Tensor, gradient: Tensor, rate: float) -> None:
    """Make one step in place; all tensors have one shape. `squares` sums the squared gradients."""
    squares += gradient * gradient
    weight -= rate * (gradient / (squares.sqrt() + EPSILON))


class AdaGrad(SparseOptimiser):
    """AdaGrad as an optimiser. It remembers `sum`, which begins at `initial_accumulator`.

    Attributes:
        rate_factor: Factor of `learning_rate`, which may change from step to step.
    """

    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float, initial_accumulator: float
    ) -> None:
        self.learning_rate = learning_rate
        self.initial_accumulator = initial_accumulator
        self.rate_factor = 1.0
        super().__init__(parameters)

    @property
    def rate(self) -> float:
        """Return the learning rate of the next step."""
        return self.learning_rate * self.rate_factor

    def initial_state(self, weight: Tensor) -> State:
        """Return the accumulator before the first gradient."""
        return {"sum": weight.new_full(weight.shape, self.initial_accumulator)}

    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """Make one step in place (see `step`), compiled on a CPU, where that costs a tenth."""
        if not uses_compiled_kernels(weight):
            step(weight, state["sum"], gradient.to(weight.dtype), self.rate)
            return
        weights, squares = flat(weight), flat(state["sum"])
        if gradient.dtype == torch.bfloat16:
            bits = bfloat16_bits(gradient.reshape(-1))
            _step_all_bits(weights, squares, bits, *self._constants(weight))
        else:
            _step_all(weights, squares, flat(gradient), *self._constants(weight))

    def update_rows(self, weight: Tensor, state: State, rows: Tensor, gradient: Tensor) -> None:
        """Make one step in place for some rows, compiled on a CPU."""
        if uses_compiled_kernels(weight):
            weights, squares = weight.detach().numpy(), state["sum"].numpy()
            constants = self._constants(weight)
            _step_rows(weights, squares, rows.numpy(), gradient.numpy(), *constants)
        else:
            super().update_rows(weight, state, rows, gradient)

    def _constants(self, weight: Tensor) -> tuple[np.floating, np.floating]:
        """Return rate and epsilon in the dtype of the weight, so that nothing is promoted."""
        number = weight.detach().numpy().dtype.type
        return number(self.rate), number(EPSILON)


# numpy's error model leaves out the check for a division by zero, so the loops are vectorised.
@compiled(error_model="numpy")
def _stepped(
    weight: np.floating,
    squares: np.floating,
    gradient: np.floating,
    rate: np.floating,
    epsilon: np.floating,
) -> tuple[np.floating, np.floating]:
    squares += gradient * gradient
    return weight - rate * (gradient / (np.sqrt(squares) + epsilon)), squares


@compiled(error_model="numpy")
def _step_all(
    weight: Values, squares: Values, gradient: Values, rate: np.floating, epsilon: np.floating
) -> None:
    for i in range(len(weight)):
        weight[i], squares[i] = _stepped(weight[i], squares[i], gradient[i], rate, epsilon)


@compiled(error_model="numpy")
def _step_all_bits(
    weight: Values, squares: Values, gradient: Bits, rate: np.floating, epsilon: np.floating
) -> None:
    for i in range(len(weight)):
        number = float32_from_bits(gradient[i])
        weight[i], squares[i] = _stepped(weight[i], squares[i], number, rate, epsilon)


@compiled(error_model="numpy")
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

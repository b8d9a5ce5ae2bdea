"""AdaGrad, the paper's optimiser of the deep part (section 3.3).

Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization" (2011). Each weight's rate falls with the sum of its own squared gradients.
"""

from collections.abc import Iterable

from torch import Tensor

from widedeep.model.row_optimizer import RowOptimizer, State

EPSILON = 1e-10


def step(weight: Tensor, squares: Tensor, gradient: Tensor, rate: float) -> None:
    """One update in place; all tensors of the same shape. `squares` sums the squared gradients."""
    squares += gradient * gradient
    weight -= rate * (gradient / (squares.sqrt() + EPSILON))


class AdaGrad(RowOptimizer):
    """The update as an optimiser; it remembers `sum`, which begins at `initial_accumulator`."""

    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float, initial_accumulator: float
    ) -> None:
        self.learning_rate = learning_rate
        self.initial_accumulator = initial_accumulator
        super().__init__(parameters)

    def begin(self, weight: Tensor) -> State:
        """The accumulator before the first gradient."""
        return {"sum": weight.new_full(weight.shape, self.initial_accumulator)}

    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """See `step`."""
        step(weight, state["sum"], gradient, self.learning_rate)

"""An optimiser that updates, of a table, only the rows its sparse gradient names."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

State = dict[str, Tensor]
"""What is remembered of each element of a parameter, by name; all of the parameter's shape."""


class RowOptimizer(ABC):
    """Applies an element-wise `update`; rows that a sparse gradient doesn't name stay untouched.

    Not one of torch.optim's: the first of those in a process loads the compiler, for seconds.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.state = {parameter: self.begin(parameter.detach()) for parameter in parameters}

    @abstractmethod
    def begin(self, weight: Tensor) -> State:
        """What is remembered of `weight` before its first gradient."""

    @abstractmethod
    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """One step in place; all tensors of one shape."""

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights that have a gradient."""
        for parameter, state in self.state.items():
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.is_sparse:
                self._update_rows(parameter, state, gradient)
            else:
                self.update(parameter, state, gradient)

    def _update_rows(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        rows, values = summed_rows(gradient)
        touched_weight = weight[rows]
        touched = {name: value[rows] for name, value in state.items()}
        self.update(touched_weight, touched, values)
        weight[rows] = touched_weight
        for name, value in touched.items():
            state[name][rows] = value


def summed_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows (int64, ascending) of a sparse gradient, and the sum of each one's values.

    Equals `gradient.coalesce()` without its sort: a pass over one byte a row of the table costs
    less than ordering the ids of a batch.
    """
    ids, values = gradient._indices()[0], gradient._values()  # noqa: SLF001
    named = torch.zeros(len(gradient), dtype=torch.bool, device=ids.device)
    named[ids] = True
    rows = named.nonzero()[:, 0]
    place = torch.empty(len(gradient), dtype=torch.int64, device=ids.device)
    place[rows] = torch.arange(len(rows), device=ids.device)
    return rows, values.new_zeros(len(rows), *values.shape[1:]).index_add_(0, place[ids], values)

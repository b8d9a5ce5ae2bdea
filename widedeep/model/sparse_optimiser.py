"""The base of both optimisers; of a table it updates only the rows that a sparse gradient names."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from widedeep.compiled import compiled
from widedeep.model.compute import uses_compiled_kernels

State = dict[str, Tensor]
"""What an optimiser remembers of a parameter, by name; each tensor has the parameter's shape."""

Rows = NDArray[np.int64]
Values = NDArray[Any]


class SparseOptimiser(ABC):
    """Apply an element-wise `update`; rows that a sparse gradient does not name stay untouched.

    This is not a torch.optim optimiser: the first of those in a process loads torch's compiler,
    which takes seconds.

    Attributes:
        state: What is remembered of each parameter.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.state = {parameter: self.initial_state(parameter.detach()) for parameter in parameters}
        self._positions: dict[Tensor, Rows] = {}

    @abstractmethod
    def initial_state(self, weight: Tensor) -> State:
        """Return the state of `weight` before its first gradient."""

    @abstractmethod
    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """Make one step in place; all tensors have one shape."""

    def update_rows(self, weight: Tensor, state: State, rows: Tensor, gradient: Tensor) -> None:
        """Make one step in place for some rows of a table.

        Args:
            weight: The table, (table rows, width).
            state: Its state.
            rows: Distinct row numbers, int64 (n,).
            gradient: The gradient of those rows, (n, width).
        """
        row_weight = weight.index_select(0, rows)
        row_state = {name: value.index_select(0, rows) for name, value in state.items()}
        self.update(row_weight, row_state, gradient)
        weight.index_copy_(0, rows, row_weight)
        for name, value in row_state.items():
            state[name].index_copy_(0, rows, value)

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for parameter, state in self.state.items():
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.is_sparse:
                self.update_rows(parameter, state, *self._distinct_rows(parameter, gradient))
            else:
                self.update(parameter, state, gradient)

    def _distinct_rows(self, table: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distinct rows (n,) of a sparse gradient and the sums (n, width) of each."""
        if not uses_compiled_kernels(gradient):
            summed = gradient.coalesce()
            return summed.indices()[0], summed.values()
        if table not in self._positions:
            self._positions[table] = np.full(len(table), -1)
        rows, values = gradient._indices()[0], gradient._values().contiguous()  # noqa: SLF001
        distinct, sums = sum_rows(rows.numpy(), values.numpy(), self._positions[table])
        return torch.from_numpy(distinct), torch.from_numpy(sums)


def flat(tensor: Tensor) -> Values:
    """Return the elements as an array (n,); it shares the memory of a contiguous tensor."""
    elements: Values = tensor.detach().reshape(-1).numpy()
    return elements


@compiled
def sum_rows(rows: Rows, values: Values, positions: Rows) -> tuple[Rows, Values]:
    """Sum the values of equal rows; costs less than the sort with which `coalesce` does it.

    Args:
        rows: Row numbers of a table, int64 (n,), repeated ones included.
        values: Values of these rows, (n, width).
        positions: Scratch memory with an entry for each row of the table, int64; all are -1 before
            and afterwards.

    Returns:
        The distinct rows (m,), in the order of their first occurrence, and their sums (m, width).
    """
    distinct = np.empty(len(rows), np.int64)
    sums = np.zeros_like(values)
    count = 0
    for i in range(len(rows)):
        position = positions[rows[i]]
        if position < 0:
            position = count
            positions[rows[i]] = position
            distinct[position] = rows[i]
            count += 1
        for k in range(values.shape[1]):
            sums[position, k] += values[i, k]
    for i in range(count):
        positions[distinct[i]] = -1
    return distinct[:count], sums[:count]

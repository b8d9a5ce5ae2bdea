"""An optimiser that updates, of a table, only the rows its sparse gradient names."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from widedeep.model.compute import uses_compiled_kernels

State = dict[str, Tensor]
"""What is remembered of each element of a parameter, by name; all of the parameter's shape."""

Rows = NDArray[np.int64]
Values = NDArray[Any]


class SparseOptimiser(ABC):
    """Applies an element-wise `update`; rows that a sparse gradient doesn't name stay untouched.

    Not one of torch.optim's: the first of those in a process loads the compiler, for seconds.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.state = {parameter: self.begin(parameter.detach()) for parameter in parameters}
        self._places: dict[Tensor, Rows] = {}

    @abstractmethod
    def begin(self, weight: Tensor) -> State:
        """What is remembered of `weight` before its first gradient."""

    @abstractmethod
    def update(self, weight: Tensor, state: State, gradient: Tensor) -> None:
        """One step in place; all tensors of one shape."""

    def update_rows(self, weight: Tensor, state: State, rows: Tensor, gradient: Tensor) -> None:
        """The same step for distinct `rows` (int64, (n,)) of a table; `gradient` is (n, width)."""
        touched_weight = weight.index_select(0, rows)
        touched = {name: value.index_select(0, rows) for name, value in state.items()}
        self.update(touched_weight, touched, gradient)
        weight.index_copy_(0, rows, touched_weight)
        for name, value in touched.items():
            state[name].index_copy_(0, rows, value)

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights that have a gradient."""
        for parameter, state in self.state.items():
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.is_sparse:
                self.update_rows(parameter, state, *self._summed(parameter, gradient))
            else:
                self.update(parameter, state, gradient)

    def _summed(self, table: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct rows of a sparse gradient, and the sum of each one's values."""
        if not uses_compiled_kernels(gradient):
            summed = gradient.coalesce()
            return summed.indices()[0], summed.values()
        if table not in self._places:
            self._places[table] = np.full(len(table), -1)
        ids, values = gradient._indices()[0], gradient._values().contiguous()  # noqa: SLF001
        rows, sums = sum_rows(ids.numpy(), values.numpy(), self._places[table])
        return torch.from_numpy(rows), torch.from_numpy(sums)


def flat(tensor: Tensor) -> Values:
    """The elements as an array (n,): of the tensor's own memory, if they lie there in order."""
    found: Values = tensor.detach().reshape(-1).numpy()
    return found


@njit(cache=True, nogil=True)
def sum_rows(ids: Rows, values: Values, place: Rows) -> tuple[Rows, Values]:
    """The distinct `ids` (n,), in the order they first stand in, and the sums of their `values`.

    Costs less than a sort of the ids, which is how `coalesce` does it. `values` is (n, width).
    `place` has an entry for each row of the table, all -1, and is left so.
    """
    rows = np.empty(len(ids), np.int64)
    sums = np.zeros_like(values)
    count = 0
    for i in range(len(ids)):
        at = place[ids[i]]
        if at < 0:
            at = count
            place[ids[i]] = at
            rows[at] = ids[i]
            count += 1
        for k in range(values.shape[1]):
            sums[at, k] += values[i, k]
    for i in range(count):
        place[rows[i]] = -1
    return rows[:count], sums[:count]

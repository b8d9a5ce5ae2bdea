"""Data-parallel training: several processes train one model, each on its share of every minibatch.

All processes hold the same weights and draw the same random numbers. Gradients of the summed loss
are added up over the processes: dense ones as a whole, those of tables by the rows they name. So
each process makes the same step that a single process would make on the whole minibatch, up to the
order in which floats are added.

A `Trainer` is given `Replicas`: `SingleProcess`, or `ProcessGroup` within torch.distributed.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from widedeep.model.compute import CPU

Scores = NDArray[np.float64]


class Replicas(Protocol):
    """The processes that train one model, as one of them sees them."""

    def share(self, rows: int) -> slice:
        """Return this process's share of `rows` rows; shares are consecutive, in order of rank."""

    def all_reduce(self, loss: Tensor, parameters: Iterable[Parameter]) -> float:
        """Sum the loss and every parameter's gradient over all shares; return the summed loss."""

    def all_gather(self, scores: Scores, rows: int) -> Scores:
        """Return the scores of all `rows` rows, given those of this process's share."""

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite the tensors with those of the first process."""


class SingleProcess:
    """One process that learns all rows itself."""

    def share(self, rows: int) -> slice:
        """Return all rows of the minibatch, which has one process."""
        return slice(0, rows)

    def all_reduce(self, loss: Tensor, parameters: Iterable[Parameter]) -> float:  # noqa: ARG002
        """Return the loss; the gradients are complete already."""
        return loss.item()

    def all_gather(self, scores: Scores, rows: int) -> Scores:  # noqa: ARG002
        """Return the scores as they are."""
        return scores

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Leave the tensors as they are."""


class ProcessGroup:
    """The processes of torch's default process group: gloo on CPUs, NCCL on GPUs.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._device = torch.device("cuda") if dist.get_backend() == "nccl" else CPU

    def share(self, rows: int) -> slice:
        """Return this process's share; shares differ by at most one row, and one may be empty."""
        return slice(self._start(self.rank, rows), self._start(self.rank + 1, rows))

    def all_reduce(self, loss: Tensor, parameters: Iterable[Parameter]) -> float:
        """Sum loss and gradients over all processes; return the summed loss.

        Takes two messages for sparse gradients, one for their lengths, and one for all the rest.
        """
        with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
        dense = [parameter for parameter in with_gradient if not _gradient(parameter).is_sparse]
        self._reduce_tables([p for p in with_gradient if _gradient(p).is_sparse])
        flat = torch.cat([loss.detach().reshape(1), *(_gradient(p).reshape(-1) for p in dense)])
        dist.all_reduce(flat)
        total, *sums = torch.split(flat, [1, *(p.numel() for p in dense)])
        for parameter, gradient in zip(dense, sums, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return float(total)

    def all_gather(self, scores: Scores, rows: int) -> Scores:
        """Return the scores of all `rows` rows; takes one message."""
        lengths = [self._start(i + 1, rows) - self._start(i, rows) for i in range(self.size)]
        parts = self._gather(torch.from_numpy(scores).to(self._device), lengths)
        return torch.cat(parts).numpy(force=True)

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite the tensors with those of rank 0; takes a message per tensor."""
        for tensor in tensors.values():
            dist.broadcast(tensor, src=0)

    def _start(self, rank: int, rows: int) -> int:
        return rank * rows // self.size

    def _gather(self, values: Tensor, lengths: list[int]) -> list[Tensor]:
        """Return the values (length, …) of every process, which has `lengths` of them."""
        longest = max(lengths)
        padded = values.new_zeros(longest, *values.shape[1:])
        padded[: len(values)] = values
        gathered = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(gathered, padded)
        return [part[:length] for part, length in zip(gathered, lengths, strict=True)]

    def _reduce_tables(self, tables: list[Parameter]) -> None:
        """Give each table the rows that any process names; its optimiser sums repeated ones."""
        if not tables:
            return
        gradients = [_gradient(table).coalesce() for table in tables]
        rows = [gradient.indices()[0] for gradient in gradients]
        counts = torch.tensor([[len(named) for named in rows]], device=tables[0].device)
        lengths = torch.cat(self._gather(counts, [1] * self.size))
        widths = torch.tensor([table.shape[1] for table in tables], device=counts.device)
        all_rows = self._gather_by_table(rows, lengths)
        flat_values = [gradient.values().reshape(-1) for gradient in gradients]
        all_values = self._gather_by_table(flat_values, lengths * widths)
        for table, named, values in zip(tables, all_rows, all_values, strict=True):
            of_rows = values.view(-1, table.shape[1])
            table.grad = torch.sparse_coo_tensor(
                named[None], of_rows, table.shape, check_invariants=False
            )

    def _gather_by_table(self, parts: list[Tensor], lengths: Tensor) -> list[Tensor]:
        """Return for each table the values of all processes.

        Args:
            parts: This process's values (n,) for each table.
            lengths: Number of values, int64 (processes, tables).
        """
        gathered = self._gather(torch.cat(parts), lengths.sum(1).tolist())
        by_process = [
            torch.split(values, row) for values, row in zip(gathered, lengths.tolist(), strict=True)
        ]
        return [torch.cat(of_table) for of_table in zip(*by_process, strict=True)]


def _gradient(parameter: Parameter) -> Tensor:
    if parameter.grad is None:
        raise RuntimeError("a parameter has no gradient: there was no backward pass")
    return parameter.grad

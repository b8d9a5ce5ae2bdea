"""Several processes that train one model, each on its part of every minibatch.

All hold the same weights and draw the same random numbers. The gradients of the summed loss are
added up over the processes, dense ones as a whole and of tables the rows that were named, so each
makes the very step that one process would make on the whole minibatch, up to the order in which
floats are added.
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
    """What a training needs of the processes it is shared by."""

    def part(self, rows: int) -> slice:
        """This process's share of so many rows; the shares are consecutive, in order of rank."""

    def sum_up(self, loss: Tensor, parameters: Iterable[Parameter]) -> float:
        """The summed loss of all parts; every parameter's gradient becomes that of all parts."""

    def joined(self, scores: Scores, rows: int) -> Scores:
        """All `rows` scores, out of those of each process's part."""

    def agree(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite the tensors by those of the first process."""


class SingleProcess:
    """The only process: all rows are its own."""

    def part(self, rows: int) -> slice:
        """All of them."""
        return slice(0, rows)

    def sum_up(self, loss: Tensor, parameters: Iterable[Parameter]) -> float:  # noqa: ARG002
        """The loss; the gradients are what they should be already."""
        return loss.item()

    def joined(self, scores: Scores, rows: int) -> Scores:  # noqa: ARG002
        """The scores as they are."""
        return scores

    def agree(self, tensors: Mapping[str, Tensor]) -> None:
        """There is nobody to disagree with."""


class ProcessGroup:
    """The processes of torch's default process group (gloo on CPU, NCCL on GPU), one of them this.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._device = torch.device("cuda") if dist.get_backend() == "nccl" else CPU

    def part(self, rows: int) -> slice:
        """Shares differ by at most a row; one may be empty."""
        return slice(self._start(self.rank, rows), self._start(self.rank + 1, rows))

    def sum_up(self, loss: Tensor, parameters: Iterable[Parameter]) -> float:
        """Two messages for sparse gradients, one for their lengths, and one for all the rest."""
        given = [parameter for parameter in parameters if parameter.grad is not None]
        dense = [parameter for parameter in given if not _gradient(parameter).is_sparse]
        self._sum_rows([parameter for parameter in given if _gradient(parameter).is_sparse])
        flat = torch.cat([loss.detach().reshape(1), *(_gradient(p).reshape(-1) for p in dense)])
        self.add(flat)
        total, *sums = torch.split(flat, [1, *(p.numel() for p in dense)])
        for parameter, gradient in zip(dense, sums, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return float(total)

    def joined(self, scores: Scores, rows: int) -> Scores:
        """One message."""
        lengths = [self._start(i + 1, rows) - self._start(i, rows) for i in range(self.size)]
        parts = self.gathered(torch.from_numpy(scores).to(self._device), lengths)
        return torch.cat(parts).numpy(force=True)

    def agree(self, tensors: Mapping[str, Tensor]) -> None:
        """A message a tensor."""
        for tensor in tensors.values():
            dist.broadcast(tensor, src=0)

    def add(self, values: Tensor) -> None:
        """Sum `values` over the processes, in place."""
        dist.all_reduce(values)

    def gathered(self, values: Tensor, lengths: list[int]) -> list[Tensor]:
        """Each process's values (rows, …), of which there are `lengths` rows."""
        longest = max(lengths)
        padded = values.new_zeros(longest, *values.shape[1:])
        padded[: len(values)] = values
        found = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(found, padded)
        return [part[:length] for part, length in zip(found, lengths, strict=True)]

    def _start(self, rank: int, rows: int) -> int:
        return rank * rows // self.size

    def _sum_rows(self, tables: list[Parameter]) -> None:
        """Give each table the rows that any process names; its optimiser adds up repeated ones."""
        if not tables:
            return
        summed = [_gradient(table).coalesce() for table in tables]
        named = [(gradient.indices()[0], gradient.values()) for gradient in summed]
        counts = torch.tensor([[len(rows) for rows, _ in named]], device=tables[0].device)
        lengths = torch.cat(self.gathered(counts, [1] * self.size))
        widths = torch.tensor([table.shape[1] for table in tables], device=counts.device)
        ids = self._by_table([rows for rows, _ in named], lengths)
        values = self._by_table([values.reshape(-1) for _, values in named], lengths * widths)
        for table, rows, flat in zip(tables, ids, values, strict=True):
            of_rows = flat.view(-1, table.shape[1])
            table.grad = torch.sparse_coo_tensor(
                rows[None], of_rows, table.shape, check_invariants=False
            )

    def _by_table(self, mine: list[Tensor], lengths: Tensor) -> list[Tensor]:
        """What all processes have for each table, `lengths` (processes, tables) values each."""
        parts = self.gathered(torch.cat(mine), lengths.sum(1).tolist())
        cut = [torch.split(part, row) for part, row in zip(parts, lengths.tolist(), strict=True)]
        return [torch.cat(of_table) for of_table in zip(*cut, strict=True)]


def _gradient(parameter: Parameter) -> Tensor:
    if parameter.grad is None:
        raise RuntimeError("a parameter has no gradient: there was no backward pass")
    return parameter.grad

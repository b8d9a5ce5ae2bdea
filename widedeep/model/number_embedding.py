"""Numbers as vectors: each by sines and cosines of its own, so that small differences can matter.

Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning"
(2022), section 3.3.
"""

import math
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from widedeep.model.placement import compiled_for

FREQUENCIES = 16
GRID = 128
"""A number is a quantile, so this many places of [0, 1] tell all that can be told apart."""


class NumberEmbedding(nn.Module):
    """`size` dimensions a number; a missing one has a vector of its own.

    The vectors of all places are computed once a batch and then looked up, which costs less than
    computing them for each row.
    """

    def __init__(self, numbers: int, size: int, generator: Generator) -> None:
        super().__init__()
        drawn = torch.randn(numbers, FREQUENCIES, generator=generator)
        mixed = torch.randn(numbers, 2 * FREQUENCIES, size, generator=generator)
        self.frequencies = nn.Parameter(drawn)
        self.weight = nn.Parameter(mixed / math.sqrt(FREQUENCIES))
        self.bias = nn.Parameter(torch.zeros(numbers, 1, size))
        self.missing = nn.Parameter(torch.zeros(numbers, 1, size))

    def forward(
        self,
        values: Tensor,
        missing: Tensor,
        kept: Tensor | None = None,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Vectors (rows, numbers * size), `scale` times as long, of values in [0, 1] and marks.

        Both arguments are float32 (rows, numbers), marks 0 or 1; numbers that are not `kept` have
        vectors of 0.
        """
        numbers = self.weight.shape[0]
        place = torch.where(missing > 0, GRID, (values * (GRID - 1)).round().int())
        place += torch.arange(numbers, device=place.device, dtype=torch.int32) * (GRID + 1)
        if kept is not None:
            place = torch.where(kept, place, numbers * (GRID + 1))
        table = (self._table() * scale).to(dtype)
        found: Tensor = _Lookup.apply(table, place)  # type: ignore[no-untyped-call]
        return found.flatten(1)

    def _table(self) -> Tensor:
        """For each number the vectors of all places and of a missing one; last, one of zeros.

        Shape (numbers * (GRID + 1) + 1, size).
        """
        places = torch.linspace(0, 1, GRID, device=self.weight.device)
        angles = 2 * math.pi * places[:, None] * self.frequencies[:, None, :]
        waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        vectors = torch.relu(waves @ self.weight + self.bias)
        size = self.weight.shape[2]
        table = torch.cat([vectors, self.missing], dim=1).reshape(-1, size)
        return torch.cat([table, table.new_zeros(1, size)])


class _Lookup(Function):
    """Rows of a table. torch's own gradient of that took a seventh of a step of training."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, places: Tensor) -> Tensor:  # noqa: ANN401
        ctx.size = len(table)
        ctx.save_for_backward(places)
        return torch.embedding(table, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (places,) = ctx.saved_tensors
        of_rows = gradient.reshape(-1, gradient.shape[-1]).float()
        summed = of_rows.new_zeros(ctx.size, of_rows.shape[1])
        if compiled_for(of_rows):
            _add_rows(summed.numpy(), places.flatten().numpy(), of_rows.contiguous().numpy())
        else:
            summed.index_add_(0, places.flatten(), of_rows)
        return summed.to(gradient.dtype), None


@njit(cache=True, nogil=True)
def _add_rows(
    table: NDArray[np.float32], places: NDArray[np.int64], rows: NDArray[np.float32]
) -> None:
    for i in range(len(places)):
        for k in range(table.shape[1]):
            table[places[i], k] += rows[i, k]

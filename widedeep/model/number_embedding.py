"""Numbers as vectors: each by sines and cosines of its own, so that small differences can matter.

Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning"
(2022), section 3.3.
"""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import embedding

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

    def forward(self, values: Tensor, missing: Tensor) -> Tensor:
        """Vectors, float32 (rows, numbers * size), of values in [0, 1] and marks 0 or 1.

        Both arguments are float32 (rows, numbers).
        """
        numbers, size = self.weight.shape[0], self.weight.shape[2]
        place = torch.where(missing > 0, GRID, (values * (GRID - 1)).round()).long()
        first = torch.arange(numbers, device=place.device) * (GRID + 1)
        found: Tensor = embedding(place + first, self._table().reshape(-1, size))
        return found.flatten(1)

    def _table(self) -> Tensor:
        """The vector of each place and, last, of a missing number: (numbers, GRID + 1, size)."""
        places = torch.linspace(0, 1, GRID, device=self.weight.device)
        angles = 2 * math.pi * places[:, None] * self.frequencies[:, None, :]
        waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        return torch.cat([torch.relu(waves @ self.weight + self.bias), self.missing], dim=1)

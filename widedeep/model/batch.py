"""A minibatch on a device.

What dropout leaves of a minibatch, drawn before the minibatch is learned.

Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Generator, Tensor

from widedeep.features.encoded import EncodedRows
from widedeep.features.ragged import Ragged

Bag = tuple[Tensor, Tensor]
"""Ids (int64) of all rows and the place where each row begins (int64, shape (rows,))."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`EncodedRows` in tensors, with ids in int64."""

    categories: Tensor
    bags: tuple[Bag, ...]
    numbers: Tensor
    wide: Bag
    offset: Tensor

    @classmethod
    def from_encoded(cls, rows: EncodedRows, device: torch.device) -> Self:
        """Move the rows to `device`."""
        return cls(
            torch.from_numpy(rows.categories.astype(np.int64)).to(device),
            tuple(_bag(bag, device) for bag in rows.bags),
            torch.from_numpy(rows.numbers.normalised()).to(device),
            _bag(rows.wide, device),
            torch.from_numpy(rows.offset).to(device),
        )


def _bag(bag: Ragged, device: torch.device) -> Bag:
    values = torch.from_numpy(bag.values.astype(np.int64)).to(device)
    return values, torch.from_numpy(bag.offsets[:-1]).to(device)


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """The `part` that a batch is of a minibatch of so many `rows`."""

    rows: int
    part: slice


@dataclass(frozen=True, slots=True)
class DropoutMasks:
    """Bools (rows, n), False where something is left out; None where all is kept.

    Attributes:
        ids: Of each category and each bag.
        numbers: Of each number.
        units: For each hidden layer, of its units; empty where all are kept.
    """

    ids: Tensor | None = None
    numbers: Tensor | None = None
    units: tuple[Tensor, ...] = ()

    def to(self, device: torch.device) -> "DropoutMasks":
        """The same on `device`."""
        ids, numbers = (of if of is None else of.to(device) for of in (self.ids, self.numbers))
        return DropoutMasks(ids, numbers, tuple(units.to(device) for units in self.units))


EVERYTHING = DropoutMasks()


def draw_kept(share: BatchSlice, width: int, dropped: float, generator: Generator) -> Tensor | None:
    """True with probability 1 - `dropped`, which is rounded to 1 / 65,536; (rows, width).

    Drawn for the whole minibatch, so that all who hold a part of it draw the same; None where
    nothing is dropped. 64 bits at a time: to draw a float for each unit took a tenth of a step.
    """
    if dropped == 0:
        return None
    size = share.rows * width
    drawn = torch.empty(-(-size // 4), dtype=torch.int64, device=generator.device)
    drawn.random_(-(2**63), None, generator=generator)
    places = drawn.view(torch.int16)[:size].reshape(share.rows, width)
    return places[share.part] >= round(dropped * 2**16) - 2**15

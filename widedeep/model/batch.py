"""A minibatch as tensors on one device, and the dropout masks drawn for it.

`Batch` holds encoded rows, `Minibatch` holds rows to learn from. Dropout is drawn before a
minibatch is learned, not while it is (Srivastava et al., "Dropout: A Simple Way to Prevent Neural
Networks from Overfitting", 2014).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Generator, Tensor

from widedeep.features import EncodedRows, Examples, Ragged

BagTensors = tuple[Tensor, Tensor]
"""Codes of all rows, int64 (n,), and the position where each row begins, int64 (rows,)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`EncodedRows` as tensors.

    Attributes:
        categories: Codes, int64 (rows, categories).
        bags: The codes of each bag feature.
        numbers: Quantiles in [0, 1], then marks of missing ones, float32 (rows, 2 * numbers).
        wide: Wide ids of the features that fire.
        prior_logit: Prior logit before its calibration, float32 (rows,).
    """

    categories: Tensor
    bags: tuple[BagTensors, ...]
    numbers: Tensor
    wide: BagTensors
    prior_logit: Tensor

    @classmethod
    def from_encoded(cls, rows: EncodedRows, device: torch.device) -> Self:
        """Copy encoded rows to `device` as tensors."""
        return cls(
            torch.from_numpy(rows.categories.astype(np.int64)).to(device),
            tuple(_bag_tensors(bag, device) for bag in rows.bags),
            torch.from_numpy(rows.numbers.normalised()).to(device),
            _bag_tensors(rows.wide, device),
            torch.from_numpy(rows.prior_logit).to(device),
        )


def _bag_tensors(bag: Ragged, device: torch.device) -> BagTensors:
    codes = torch.from_numpy(bag.values.astype(np.int64)).to(device)
    return codes, torch.from_numpy(bag.offsets[:-1]).to(device)


@dataclass(frozen=True, slots=True)
class DropoutMasks:
    """Which inputs and units of a minibatch are kept: bool (rows, n), False where dropped.

    Attributes:
        codes: A column per category, then one per bag; None if all are kept.
        numbers: A column per number; None if all are kept.
        units: For each hidden layer, a column per unit; empty if all are kept.
    """

    codes: Tensor | None = None
    numbers: Tensor | None = None
    units: tuple[Tensor, ...] = ()

    def to(self, device: torch.device) -> "DropoutMasks":
        """Return the same masks on `device`."""
        codes, numbers = (
            mask if mask is None else mask.to(device) for mask in (self.codes, self.numbers)
        )
        return DropoutMasks(codes, numbers, tuple(units.to(device) for units in self.units))


KEEP_ALL = DropoutMasks()


@dataclass(frozen=True, slots=True)
class Minibatch:
    """What one process learns of a minibatch: all of its rows, or this process's share of them.

    Attributes:
        batch: The rows.
        masks: What dropout keeps of them.
        label: Float32 (rows,), 0 or 1.
        weight: Float32 (rows,).
    """

    batch: Batch
    masks: DropoutMasks
    label: Tensor
    weight: Tensor

    @classmethod
    def from_examples(cls, examples: Examples, masks: DropoutMasks, device: torch.device) -> Self:
        """Copy the examples and the masks to `device`."""
        label = torch.from_numpy(examples.label.astype(np.float32)).to(device)
        weight = torch.from_numpy(examples.weight).to(device)
        return cls(Batch.from_encoded(examples.rows, device), masks.to(device), label, weight)


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """The consecutive rows that one process learns of a minibatch.

    Attributes:
        minibatch_rows: Number of rows of the whole minibatch.
        rows: Positions of this process's rows.
    """

    minibatch_rows: int
    rows: slice


def draw_mask(part: BatchSlice, width: int, dropout: float, generator: Generator) -> Tensor | None:
    """Draw a mask, bool (rows of `part`, width), True with probability 1 - `dropout`.

    The probability is rounded to multiples of 1 / 65,536. The mask is drawn for the whole
    minibatch, so that all processes that share it draw the same numbers. 64 bits are drawn at a
    time: drawing a float for each unit took a tenth of a training step. Returns None if `dropout`
    is 0.
    """
    if dropout == 0:
        return None
    size = part.minibatch_rows * width
    drawn = torch.empty(-(-size // 4), dtype=torch.int64, device=generator.device)
    drawn.random_(-(2**63), None, generator=generator)
    numbers = drawn.view(torch.int16)[:size].reshape(part.minibatch_rows, width)
    return numbers[part.rows] >= round(dropout * 2**16) - 2**15

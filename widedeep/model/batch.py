"""A minibatch on a device."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from widedeep.features.encoded import Encoded
from widedeep.features.ragged import Ragged

Bag = tuple[Tensor, Tensor]
"""Ids (int64) of all rows and the place where each row begins (int64, shape (rows,))."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`Encoded` in tensors, with ids in int64."""

    categories: Tensor
    bags: tuple[Bag, ...]
    numbers: Tensor
    wide: Bag
    offset: Tensor

    @classmethod
    def from_encoded(cls, rows: Encoded, device: torch.device) -> Self:
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

"""What dropout leaves of a minibatch, drawn before the minibatch is learned.

Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014).
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, slots=True)
class Share:
    """The `part` that a batch is of a minibatch of so many `rows`."""

    rows: int
    part: slice


@dataclass(frozen=True, slots=True)
class Kept:
    """Bools (rows, n), False where something is left out; None where all is kept.

    Attributes:
        ids: Of each category and each bag.
        numbers: Of each number.
        units: For each hidden layer, of its units; empty where all are kept.
    """

    ids: Tensor | None = None
    numbers: Tensor | None = None
    units: tuple[Tensor, ...] = ()

    def to(self, device: torch.device) -> "Kept":
        """The same on `device`."""
        ids, numbers = (of if of is None else of.to(device) for of in (self.ids, self.numbers))
        return Kept(ids, numbers, tuple(units.to(device) for units in self.units))


EVERYTHING = Kept()


def draw_kept(share: Share, width: int, dropped: float, generator: Generator) -> Tensor | None:
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

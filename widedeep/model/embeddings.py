"""The vectors of categories and bags: a table for each vocabulary, all of them one matrix."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from widedeep.model.batch import Bag


class Embeddings(nn.Module):
    """Vectors (ids, size) for the ids of each of the `tables`, the tables in the order of names.

    They lie in one matrix, `weight`, one table behind another, so that all of them are read, and
    learn, at once: the time of a lookup is not spent in it but around it. In a state dict each
    table has a tensor of its own, by its name. Without tables there is no `weight`.

    Attributes:
        places: The rows of each table.
    """

    _starts: Tensor

    def __init__(
        self, tables: Mapping[str, int], features: Sequence[str], size: int, generator: Generator
    ) -> None:
        """`features`: which table each category, then each bag, reads."""
        super().__init__()
        names = sorted(tables)
        drawn = [torch.randn(tables[name], size, generator=generator) * 0.01 for name in names]
        ends = np.cumsum([0, *map(len, drawn)]).tolist()
        self.places = {name: slice(*of) for name, of in zip(names, pairwise(ends), strict=True)}
        self.weight = nn.Parameter(torch.cat(drawn)) if drawn else None
        starts = [self.places[name].start for name in features]
        self.register_buffer("_starts", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def __contains__(self, name: str) -> bool:
        """Whether there is such a table."""
        return name in self.places

    def __getitem__(self, name: str) -> Tensor:
        """A table: a view of its rows."""
        return self._matrix()[self.places[name]]

    def forward(self, categories: Tensor, bags: Sequence[Bag], kept: Tensor | None) -> Tensor:
        """Vectors of `categories`, int64 (rows, n), and means of `bags`: (rows, features * size).

        An empty bag has zeros. What is not `kept`, bool (rows, features), of a category becomes
        out-of-vocabulary, of a bag empty.
        """
        count = categories.shape[1]
        of_bags = None if kept is None else kept[:, count:]
        ids = categories if kept is None else categories * kept[:, :count]
        bags = [
            (of + start, begins)
            for (of, begins), start in zip(bags, self._starts[count:], strict=True)
        ]
        found: Tensor = _Read.apply(self._matrix(), ids + self._starts[:count], bags, of_bags)  # type: ignore[no-untyped-call]
        return found

    def _matrix(self) -> Tensor:
        if self.weight is None:
            raise RuntimeError("there are no tables to read from")
        return self.weight

    def _save_to_state_dict(
        self,
        destination: dict[str, Any],
        prefix: str,
        keep_vars: bool,  # noqa: FBT001  as torch calls it
    ) -> None:
        held = {name: self[name] for name in self.places}
        destination |= {
            prefix + name: of if keep_vars else of.detach() for name, of in held.items()
        }

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        *others: Any,  # noqa: ANN401
    ) -> None:
        _, _, missing, _, errors = others
        for name in self.places:
            table, given = self[name].detach(), state_dict.get(prefix + name)
            if given is None:
                missing.append(prefix + name)
            elif given.shape != table.shape:
                errors.append(f"{prefix}{name} is {[*given.shape]}, wanted is {[*table.shape]}")
            else:
                table.copy_(given)


class _Read(Function):
    """A lookup for all categories and one for each bag, with one gradient.

    Each lookup's own would be a sparse one of the same matrix: to add these, torch sorts them.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        weight: Tensor,
        ids: Tensor,
        bags: Sequence[Bag],
        kept: Tensor | None,
    ) -> Tensor:
        ctx.read, ctx.shape = (ids, bags, kept), weight.shape
        means = [embedding_bag(of, weight, starts, mode="mean") for of, starts in bags]
        if kept is not None:
            means = [mean * keep[:, None] for mean, keep in zip(means, kept.T, strict=True)]
        return _joined([torch.embedding(weight, ids).flatten(1), *means], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        ids, bags, kept = ctx.read
        size = ctx.shape[1]
        of_ids, *means = torch.split(gradient, [ids.shape[1] * size, *[size] * len(bags)], dim=1)
        rows, values = [ids.flatten()], [of_ids.reshape(-1, size)]
        for i, ((of, starts), mean) in enumerate(zip(bags, means, strict=True)):
            lengths = torch.diff(starts, append=starts.new_tensor([len(of)]))
            share = (1.0 if kept is None else kept[:, i]) / lengths
            rows.append(of)
            shared = mean * share[:, None]
            values.append(shared.repeat_interleave(lengths, dim=0, output_size=len(of)))
        named, of_named = _joined(rows)[None], _joined(values)
        found = torch.sparse_coo_tensor(named, of_named, ctx.shape, check_invariants=False)
        return found, None, None, None


def _joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """One behind another; a single one as it is."""
    return parts[0] if len(parts) == 1 else torch.cat([*parts], dim=dim)

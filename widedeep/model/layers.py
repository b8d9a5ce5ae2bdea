"""The hidden layers as one operation: products, ReLU and dropout, with little memory touched.

Composed of torch's operations, ReLU, dropout and their gradients write a new matrix each; a hidden
layer here is one matrix that is written in place.

The vectors of categories and bags: a table for each vocabulary, all of them one matrix.

Numbers as vectors: each by sines and cosines of its own, so that small differences can matter.

Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning"
(2022), section 3.3.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from widedeep.model.batch import Bag
from widedeep.model.compute import threads, uses_compiled_kernels
from widedeep.model.kernels import activate, pass_back

Layer = tuple[Tensor, Tensor]
"""Weight (narrow, wide) and bias (narrow,)."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """For each layer a bool (rows, narrow) of the units `kept`, and the `share` of those dropped.

    Without masks nothing is dropped.
    """

    share: float = 0.0
    kept: tuple[Tensor, ...] = ()


def hidden_layers(
    inputs: Sequence[Tensor], layers: Sequence[Layer], dropout: Dropout, threads: int
) -> Tensor:
    """Units of the last of the `layers`, (rows, narrow), from `inputs` (rows, …) side by side.

    They are computed in the dtype of the inputs, whatever that of the layers is, forward and
    backward on so many `threads`; the weights' gradients stay in it. Inputs that want no gradient
    cost none where they are the last ones.
    """
    parameters = [parameter for layer in layers for parameter in layer]
    found: Tensor = _HiddenLayers.apply(dropout, threads, len(inputs), *inputs, *parameters)  # type: ignore[no-untyped-call]
    return found


class _HiddenLayers(Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        dropout: Dropout,
        count: int,
        parts: int,
        *tensors: Tensor,
    ) -> Tensor:
        inputs, parameters = tensors[:parts], tensors[parts:]
        ctx.threads, ctx.widths = count, [part.shape[1] for part in inputs]
        ctx.scale = 1 / (1 - dropout.share) if dropout.kept else 1.0
        units = [torch.cat(inputs, dim=1)]
        with threads(count):
            weights = [weight.to(units[0].dtype) for weight in parameters[::2]]
            masks = dropout.kept or [None] * len(weights)
            for weight, bias, kept in zip(weights, parameters[1::2], masks, strict=True):
                hidden = units[-1] @ weight.T
                activate(hidden, bias, kept, ctx.scale)
                units.append(hidden)
        ctx.save_for_backward(*units, *weights)
        return units[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        layers = len(ctx.saved_tensors) // 2
        units, weights = ctx.saved_tensors[: layers + 1], ctx.saved_tensors[layers + 1 :]
        wanted = ctx.widths[: _last(ctx.needs_input_grad[3 : 3 + len(ctx.widths)])]
        columns = [sum(wanted), *(weight.shape[1] for weight in weights[1:])]
        found: list[Tensor] = []
        with threads(ctx.threads):
            for i in reversed(range(layers)):
                gradient, of_bias = pass_back(gradient, units[i + 1], ctx.scale)
                found += [of_bias, gradient.T @ units[i]]
                gradient = gradient @ weights[i][:, : columns[i]]
        unwanted = [None] * (len(ctx.widths) - len(wanted))
        of_inputs = [*torch.split(gradient, wanted, dim=1), *unwanted]
        return None, None, None, *of_inputs, *reversed(found)


def _last(wanted: Sequence[bool]) -> int:
    """How many there are up to the last one that is true."""
    return max((i + 1 for i, want in enumerate(wanted) if want), default=0)


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
        if uses_compiled_kernels(of_rows):
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

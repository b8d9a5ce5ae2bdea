"""The layers of the deep part: hidden layers, embeddings of codes, embeddings of numbers.

`hidden_layers` computes matrix products, ReLU and dropout as one operation. Composed of torch's
operations, ReLU, dropout and their gradients write a new matrix each; here a hidden layer is one
matrix that is written in place.

`Embeddings` looks up the vectors of categories and bags; the tables of all vocabularies lie in one
matrix. `NumberEmbedding` turns each number into a vector of sines and cosines, so that small
differences can matter (Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in
Tabular Deep Learning", 2022, section 3.3).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from widedeep.compiled import compiled
from widedeep.model.batch import BagTensors
from widedeep.model.compute import torch_threads, uses_compiled_kernels
from widedeep.model.kernels import activate, activate_backward

Layer = tuple[Tensor, Tensor]
"""Weight (narrow, wide) and bias (narrow,)."""

FREQUENCIES = 16
"""Frequencies per number; each yields a sine and a cosine."""

GRID = 128
"""Positions in [0, 1] that have a vector; a number is a quantile, so more would not differ."""


def hidden_layers(
    inputs: Sequence[Tensor],
    layers: Sequence[Layer],
    threads: int,
    masks: Sequence[Tensor] = (),
    dropout: float = 0.0,
) -> Tensor:
    """Return the units of the last of `layers`, (rows, narrow).

    Everything is computed in the dtype of the inputs, whatever that of the layers is, and the
    gradients of the weights stay in it. Inputs without a gradient cost none if they come last.

    Args:
        inputs: Tensors (rows, …), concatenated along their columns.
        layers: Weight and bias of each layer.
        threads: Threads of the forward and the backward pass.
        masks: For each layer bool (rows, narrow), False where a unit is dropped; without masks
            nothing is dropped.
        dropout: Probability with which the masks were drawn.
    """
    scale = 1 / (1 - dropout) if masks else 1.0
    parameters = [parameter for layer in layers for parameter in layer]
    units: Tensor = _HiddenLayers.apply(scale, masks, threads, len(inputs), *inputs, *parameters)  # type: ignore[no-untyped-call]
    return units


class _HiddenLayers(Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        scale: float,
        masks: Sequence[Tensor],
        threads: int,
        parts: int,
        *tensors: Tensor,
    ) -> Tensor:
        inputs, parameters = tensors[:parts], tensors[parts:]
        ctx.scale, ctx.threads = scale, threads
        ctx.widths = [part.shape[1] for part in inputs]
        units = [torch.cat(inputs, dim=1)]
        with torch_threads(threads):
            weights = [weight.to(units[0].dtype) for weight in parameters[::2]]
            layer_masks: Sequence[Tensor | None] = masks or [None] * len(weights)
            for weight, bias, mask in zip(weights, parameters[1::2], layer_masks, strict=True):
                hidden = units[-1] @ weight.T
                activate(hidden, bias, mask, scale)
                units.append(hidden)
        ctx.save_for_backward(*units, *weights)
        return units[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        layers = len(ctx.saved_tensors) // 2
        units, weights = ctx.saved_tensors[: layers + 1], ctx.saved_tensors[layers + 1 :]
        needed = ctx.widths[: _until_last_true(ctx.needs_input_grad[4 : 4 + len(ctx.widths)])]
        columns = [sum(needed), *(weight.shape[1] for weight in weights[1:])]
        of_parameters: list[Tensor] = []
        with torch_threads(ctx.threads):
            for i in reversed(range(layers)):
                gradient, of_bias = activate_backward(gradient, units[i + 1], ctx.scale)
                of_parameters += [of_bias, gradient.T @ units[i]]
                gradient = gradient @ weights[i][:, : columns[i]]
        of_inputs = [
            *torch.split(gradient, needed, dim=1),
            *[None] * (len(ctx.widths) - len(needed)),
        ]
        return None, None, None, None, *of_inputs, *reversed(of_parameters)


def _until_last_true(flags: Sequence[bool]) -> int:
    """Return the number of flags up to and including the last true one."""
    return max((i + 1 for i, flag in enumerate(flags) if flag), default=0)


class Embeddings(nn.Module):
    """Embedding tables (codes, size), one a vocabulary, in the order of their names.

    The tables lie in one matrix, `weight`, one behind another, so that all are read and updated at
    once: the time of a lookup is not spent in it but around it. In a state dict each table is a
    tensor of its own under its own name. Without tables there is no `weight`.

    Attributes:
        table_rows: The rows of `weight` that belong to each table.
    """

    _starts: Tensor

    def __init__(
        self, tables: Mapping[str, int], features: Sequence[str], size: int, generator: Generator
    ) -> None:
        """Draw new tables.

        Args:
            tables: Number of codes of each table.
            features: Which table each category, then each bag, reads.
            size: Dimensions of a vector.
            generator: Source of the random weights.
        """
        super().__init__()
        names = sorted(tables, key=_draw_order)
        drawn = [torch.randn(tables[name], size, generator=generator) * 0.01 for name in names]
        ends = np.cumsum([0, *map(len, drawn)]).tolist()
        self.table_rows = {
            name: slice(*borders) for name, borders in zip(names, pairwise(ends), strict=True)
        }
        self.weight = nn.Parameter(torch.cat(drawn)) if drawn else None
        starts = [self.table_rows[name].start for name in features]
        self.register_buffer("_starts", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a table of this name."""
        return name in self.table_rows

    def __getitem__(self, name: str) -> Tensor:
        """Return a table: a view of its rows."""
        return self._matrix()[self.table_rows[name]]

    def forward(
        self, categories: Tensor, bags: Sequence[BagTensors], mask: Tensor | None
    ) -> Tensor:
        """Return the vectors of categories and the mean vectors of bags, (rows, features * size).

        Args:
            categories: Codes, int64 (rows, categories).
            bags: Codes of each bag feature; an empty bag has a vector of zeros.
            mask: Bool (rows, features), False where a feature is dropped: a category becomes
                out-of-vocabulary, a bag empty. None if all are kept.
        """
        count = categories.shape[1]
        bag_mask = None if mask is None else mask[:, count:]
        codes = categories if mask is None else categories * mask[:, :count]
        bags = [
            (bag_codes + start, begins)
            for (bag_codes, begins), start in zip(bags, self._starts[count:], strict=True)
        ]
        rows = codes + self._starts[:count]
        vectors: Tensor = _EmbeddingLookup.apply(self._matrix(), rows, bags, bag_mask)  # type: ignore[no-untyped-call]
        return vectors

    def _matrix(self) -> Tensor:
        if self.weight is None:
            raise RuntimeError("this network has no embedding tables to read from")
        return self.weight

    def _save_to_state_dict(
        self,
        destination: dict[str, Any],
        prefix: str,
        keep_vars: bool,  # noqa: FBT001  as torch calls it
    ) -> None:
        tables = {name: self[name] for name in self.table_rows}
        destination |= {
            prefix + name: table if keep_vars else table.detach() for name, table in tables.items()
        }

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        *others: Any,  # noqa: ANN401
    ) -> None:
        _, _, missing, _, errors = others
        for name in self.table_rows:
            table, loaded = self[name].detach(), state_dict.get(prefix + name)
            if loaded is None:
                missing.append(prefix + name)
            elif loaded.shape != table.shape:
                errors.append(
                    f"{prefix}{name}: expected shape {[*table.shape]}, found {[*loaded.shape]}"
                )
            else:
                table.copy_(loaded)


def _draw_order(table: str) -> tuple[int, str]:
    """Return the key by which tables are sorted before their first weights are drawn.

    Attributes come first, then items, then users: a seed gives the weights of published figures.
    """
    return ("item", "user").index(table) + 1 if table in {"item", "user"} else 0, table


class _EmbeddingLookup(Function):
    """One lookup for all categories and one for each bag, with a single sparse gradient.

    With torch's own lookups each would return a sparse gradient of the same matrix, and torch sorts
    them to add them up.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        weight: Tensor,
        rows: Tensor,
        bags: Sequence[BagTensors],
        mask: Tensor | None,
    ) -> Tensor:
        ctx.lookup, ctx.shape = (rows, bags, mask), weight.shape
        means = [embedding_bag(bag_rows, weight, starts, mode="mean") for bag_rows, starts in bags]
        if mask is not None:
            means = [mean * column[:, None] for mean, column in zip(means, mask.T, strict=True)]
        return _concatenate([torch.embedding(weight, rows).flatten(1), *means], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        category_rows, bags, mask = ctx.lookup
        size = ctx.shape[1]
        widths = [category_rows.shape[1] * size, *[size] * len(bags)]
        of_categories, *of_means = torch.split(gradient, widths, dim=1)
        rows, values = [category_rows.flatten()], [of_categories.reshape(-1, size)]
        for i, ((bag_rows, starts), of_mean) in enumerate(zip(bags, of_means, strict=True)):
            lengths = torch.diff(starts, append=starts.new_tensor([len(bag_rows)]))
            factor = (1.0 if mask is None else mask[:, i]) / lengths
            rows.append(bag_rows)
            of_code = of_mean * factor[:, None]
            values.append(of_code.repeat_interleave(lengths, dim=0, output_size=len(bag_rows)))
        of_weight = torch.sparse_coo_tensor(
            _concatenate(rows)[None], _concatenate(values), ctx.shape, check_invariants=False
        )
        return of_weight, None, None, None


def _concatenate(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Concatenate tensors; a single one is returned as it is, without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat([*parts], dim=dim)


class NumberEmbedding(nn.Module):
    """A vector of `size` dimensions for each number; a missing number has a vector of its own.

    The vectors of all grid positions are computed once a batch and then looked up, which costs less
    than computing a vector for each row.
    """

    def __init__(self, numbers: int, size: int, generator: Generator) -> None:
        super().__init__()
        frequencies = torch.randn(numbers, FREQUENCIES, generator=generator)
        weight = torch.randn(numbers, 2 * FREQUENCIES, size, generator=generator)
        self.frequencies = nn.Parameter(frequencies)
        self.weight = nn.Parameter(weight / math.sqrt(FREQUENCIES))
        self.bias = nn.Parameter(torch.zeros(numbers, 1, size))
        self.missing = nn.Parameter(torch.zeros(numbers, 1, size))

    def forward(
        self,
        values: Tensor,
        missing: Tensor,
        mask: Tensor | None = None,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return the vectors of numbers, (rows, numbers * size).

        Args:
            values: Numbers in [0, 1], float32 (rows, numbers).
            missing: 1 where a number is missing, else 0, float32 (rows, numbers).
            mask: Bool (rows, numbers), False where a number is dropped and its vector is 0; None if
                all are kept.
            scale: Factor for all vectors.
            dtype: Of the result.
        """
        numbers = self.weight.shape[0]
        position = torch.where(missing > 0, GRID, (values * (GRID - 1)).round().int())
        offsets = torch.arange(numbers, device=position.device, dtype=torch.int32) * (GRID + 1)
        position += offsets
        if mask is not None:
            position = torch.where(mask, position, numbers * (GRID + 1))
        table = (self._table() * scale).to(dtype)
        vectors: Tensor = _TableLookup.apply(table, position)  # type: ignore[no-untyped-call]
        return vectors.flatten(1)

    def _table(self) -> Tensor:
        """Return each number's vectors of all grid positions and of a missing one, then a zero one.

        Shape (numbers * (GRID + 1) + 1, size).
        """
        positions = torch.linspace(0, 1, GRID, device=self.weight.device)
        angles = 2 * math.pi * positions[:, None] * self.frequencies[:, None, :]
        waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        vectors = torch.relu(waves @ self.weight + self.bias)
        size = self.weight.shape[2]
        table = torch.cat([vectors, self.missing], dim=1).reshape(-1, size)
        return torch.cat([table, table.new_zeros(1, size)])


class _TableLookup(Function):
    """Look up rows of a dense table. torch's own gradient took a seventh of a training step."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:  # noqa: ANN401
        ctx.size = len(table)
        ctx.save_for_backward(rows)
        return torch.embedding(table, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (rows,) = ctx.saved_tensors
        values = gradient.reshape(-1, gradient.shape[-1]).float()
        of_table = values.new_zeros(ctx.size, values.shape[1])
        if uses_compiled_kernels(values):
            _add_rows(of_table.numpy(), rows.flatten().numpy(), values.contiguous().numpy())
        else:
            of_table.index_add_(0, rows.flatten(), values)
        return of_table.to(gradient.dtype), None


@compiled
def _add_rows(
    table: NDArray[np.float32], rows: NDArray[np.int64], values: NDArray[np.float32]
) -> None:
    for i in range(len(rows)):
        for k in range(table.shape[1]):
            table[rows[i], k] += values[i, k]

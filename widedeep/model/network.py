"""The Wide & Deep network (paper, figure 4 and equation 3).

logit = bias + prior_slope * prior logit + sum of the fired wide weights + deep part, and P(y = 1 |
x) = sigmoid(logit). `prior_slope` says how far the prior logit is to be trusted; it begins at 1 and
learns.

`logits` and `predict` score encoded rows with a network, in float32 and without dropout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn.functional import embedding_bag

from widedeep.features import EncodedRows, Transform
from widedeep.inputs import InputError
from widedeep.model.batch import KEEP_ALL, Batch, BatchSlice, DropoutMasks, draw_mask
from widedeep.model.layers import Embeddings, NumberEmbedding, hidden_layers

SCORING_BATCH = 8192
"""Rows that are scored at once."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes and dropout of a network. Dropout acts in training only.

    Attributes:
        embedding: Dimensions of a category's or bag's embedding.
        hidden: Widths of the hidden ReLU layers.
        dropout: Share of the hidden units that is dropped.
        id_dropout: Share of the categories and bags that is dropped; a dropped category becomes
            out-of-vocabulary, a dropped bag empty.
        number_dropout: Share of the numbers that is dropped.
        number_embedding: Dimensions of the vector as which the deep part reads each number too (see
            `NumberEmbedding`); 0 for none.
        wide: Whether there is a wide part; a part that is missing adds 0 to the logit.
        deep: Whether there are embeddings and hidden layers.
    """

    embedding: int = 32
    hidden: tuple[int, ...] = (1024, 512, 256)
    dropout: float = 0.0
    id_dropout: float = 0.0
    number_dropout: float = 0.0
    number_embedding: int = 0
    wide: bool = True
    deep: bool = True

    def __post_init__(self) -> None:
        if self.embedding < 1 or not self.hidden or min(self.hidden) < 1:
            raise InputError(f"{self}: expected embedding and hidden sizes of at least 1")
        if self.number_embedding < 0:
            raise InputError(f"{self}: expected a number_embedding of at least 0")
        dropouts = (self.dropout, self.id_dropout, self.number_dropout)
        if min(dropouts) < 0 or max(dropouts) >= 1:
            raise InputError(f"{self}: expected dropouts of at least 0 and below 1")
        if not (self.wide or self.deep):
            raise InputError(f"{self}: expected a wide part, a deep part or both")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the JSON values of `dataclasses.asdict`."""
        return cls(**{**values, "hidden": tuple(values["hidden"])})


@dataclass(frozen=True, slots=True)
class InputShape:
    """The sizes of what a network reads.

    Attributes:
        tables: Number of codes of each vocabulary.
        categories: The vocabulary of each category column.
        bags: The vocabulary of each bag.
        numbers: Columns of numbers, marks of missing ones included.
        wide: Number of wide ids.
    """

    tables: Mapping[str, int]
    categories: tuple[str, ...]
    bags: tuple[str, ...]
    numbers: int
    wide: int

    @classmethod
    def from_transform(cls, transform: Transform) -> Self:
        """Return the shape of the rows that `transform` encodes."""
        spec = transform.spec
        return cls(
            {name: len(vocabulary) for name, vocabulary in transform.vocabularies.items()},
            tuple(category.name for category in spec.categories),
            tuple(bag.vocabulary_of or bag.name for bag in spec.bags),
            len(transform.number_columns),
            transform.wide_size,
        )


class WideDeep(nn.Module):
    """A wide part, a deep part, a calibrated prior logit and a bias; new wide weights are all 0.

    Attributes:
        training_dtype: Dtype of the hidden layers' matrix products in training; scoring uses
            float32.
        threads: Threads of the hidden layers in training; everything else, and scoring, uses as
            many as torch is set to.
        layer_widths: Widths of the input and of the hidden layers; empty without a deep part.
        generator: Source of the random weights and of dropout, on the CPU.
    """

    def __init__(self, config: NetworkConfig, shape: InputShape, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.shape = shape
        self.generator = generator
        self.training_dtype = torch.float32
        self.threads = torch.get_num_threads()
        self.wide = nn.Parameter(torch.zeros(shape.wide if config.wide else 0, 1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.prior_slope = nn.Parameter(torch.ones(1))
        tables = shape.tables if config.deep else {}
        features = (*shape.categories, *shape.bags) if config.deep else ()
        self.embeddings = Embeddings(tables, features, config.embedding, generator)
        columns, numbers = len(features), shape.numbers // 2
        self.numbers = (
            NumberEmbedding(numbers, config.number_embedding, generator)
            if config.deep and config.number_embedding
            else None
        )
        inputs = columns * config.embedding + numbers * config.number_embedding + shape.numbers
        widths = (inputs, *config.hidden, 1)
        self.layer_widths = widths[:-1] if config.deep else ()
        self.layers = nn.ModuleList(
            _linear(wide, narrow, generator) for wide, narrow in pairwise(widths) if config.deep
        )
        if config.deep:
            # A new network scores as the prior logit does: noise would first have to be unlearned.
            nn.init.zeros_(self.layers[-1].get_parameter("weight"))

    def forward(self, batch: Batch, masks: DropoutMasks = KEEP_ALL) -> Tensor:
        """Return the logits of a batch, float32 (rows,), with what `masks` keeps of it."""
        wide, deep = self.wide_logit(batch), self.deep_logit(batch, masks)
        return self.bias + self.prior_logit(batch) + wide + deep

    def draw_masks(self, part: BatchSlice) -> DropoutMasks:
        """Draw the dropout of a minibatch and return the masks of the rows of `part`."""
        config, shape = self.config, self.shape
        if not config.deep:
            return KEEP_ALL
        columns = len(shape.categories) + len(shape.bags)
        codes = draw_mask(part, columns, config.id_dropout, self.generator)
        numbers = draw_mask(part, shape.numbers // 2, config.number_dropout, self.generator)
        units = (draw_mask(part, n, config.dropout, self.generator) for n in config.hidden)
        return DropoutMasks(codes, numbers, tuple(mask for mask in units if mask is not None))

    def prior_logit(self, batch: Batch) -> Tensor:
        """Return what the prior logit adds, (rows,), scaled by its calibrated slope."""
        return self.prior_slope * batch.prior_logit

    def wide_logit(self, batch: Batch) -> Tensor:
        """Return what the wide part adds, (rows,): w_wide · [x, φ(x)]."""
        if not self.config.wide:
            return self.bias.new_zeros(len(batch.numbers))
        wide_ids, starts = batch.wide
        summed: Tensor = embedding_bag(wide_ids, self.wide, starts, mode="sum", sparse=True)
        return summed.squeeze(1)

    def deep_logit(self, batch: Batch, masks: DropoutMasks = KEEP_ALL) -> Tensor:
        """Return what the deep part adds, (rows,): w_deep · a."""
        if not self.config.deep:
            return self.bias.new_zeros(len(batch.numbers))
        dtype = self.training_dtype if self.training else torch.float32
        threads = self.threads if self.training else torch.get_num_threads()
        layers = [
            (layer.get_parameter("weight"), layer.get_parameter("bias"))
            for layer in self.layers[:-1]
        ]
        inputs = self._inputs(batch, masks, dtype)
        units = hidden_layers(inputs, layers, threads, masks.units, self.config.dropout)
        logit: Tensor = self.layers[-1](units.float())
        return logit.squeeze(1)

    def _inputs(self, batch: Batch, masks: DropoutMasks, dtype: torch.dtype) -> list[Tensor]:
        """Return the embeddings of codes and the numbers.

        The plain numbers come last, since nothing behind them can learn.
        """
        numbers = self._number_inputs(batch, masks.numbers, dtype)
        if not (self.shape.categories or self.shape.bags):
            return numbers
        embedded = self.embeddings(batch.categories, batch.bags, masks.codes)
        return [embedded.to(dtype), *numbers]

    def _number_inputs(self, batch: Batch, mask: Tensor | None, dtype: torch.dtype) -> list[Tensor]:
        """Return the vectors of the numbers, if there are any, and the numbers themselves."""
        plain, scale = batch.numbers, 1.0
        if mask is not None:
            scale /= 1 - self.config.number_dropout
            plain = plain * (mask.repeat(1, 2) * scale)
        plain = plain.to(dtype)
        if self.numbers is None:
            return [plain]
        return [self.numbers(*batch.numbers.chunk(2, dim=1), mask, scale, dtype), plain]


def _linear(wide: int, narrow: int, generator: Generator) -> nn.Linear:
    """Return a layer with He initialisation, drawn from `generator` alone."""
    layer = nn.Linear(wide, narrow, device="meta").to_empty(device="cpu")
    layer.weight.grad_dtype = None  # gradients keep the dtype of the products
    with torch.no_grad():
        layer.weight.normal_(0, (2 / wide) ** 0.5, generator=generator)
        layer.bias.zero_()
    return layer


@torch.no_grad()
def logits(network: WideDeep, rows: EncodedRows, part: slice = slice(None)) -> NDArray[np.float64]:
    """Return the scores before the sigmoid of the rows in `part`, float64 (rows of part,)."""
    network.eval()
    scores = []
    first, stop, _ = part.indices(len(rows))
    for start in range(first, stop, SCORING_BATCH):
        chunk = rows.select_rows(np.arange(start, min(start + SCORING_BATCH, stop)))
        scores.append(network(Batch.from_encoded(chunk, network.bias.device)).cpu().numpy())
    return np.concatenate(scores).astype(np.float64) if scores else np.empty(0)


def predict(network: WideDeep, rows: EncodedRows) -> NDArray[np.float64]:
    """Return P(y = 1 | x) of each row, float64 (rows,)."""
    return sigmoid(logits(network, rows))


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-logit)), (n,), computed in a form that does not overflow."""
    probability: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logit))
    return probability

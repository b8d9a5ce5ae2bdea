"""The Wide & Deep network (paper, figure 4 and equation 3).

logit = bias + slope * offset + sum of the fired wide weights + deep tower, and P(y = 1 | x) its
sigmoid. The slope says how far the offset is to be trusted; it begins at 1 and learns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import embedding_bag

from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.model.batch import EVERYTHING, Batch, BatchSlice, DropoutMasks, draw_kept
from widedeep.model.layers import Dropout, Embeddings, NumberEmbedding, hidden_layers


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """`embedding` dimensions a categorical feature; widths of the `hidden` ReLU layers.

    `dropout` of hidden units, `id_dropout` of categories and bags (a dropped one becomes
    out-of-vocabulary or empty) and `number_dropout` of numbers act in training only. With
    `number_embedding` dimensions, the deep part reads each number as a vector too (see
    `NumberEmbedding`). Without `wide` there are no wide weights, without `deep` there are neither
    embeddings nor layers; the part that is missing adds 0 to the logit.
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
            raise InputError(f"{self}: positive embedding and hidden sizes are wanted")
        if self.number_embedding < 0:
            raise InputError(f"{self}: a number embedding of at least 0 is wanted")
        dropouts = (self.dropout, self.id_dropout, self.number_dropout)
        if min(dropouts) < 0 or max(dropouts) >= 1:
            raise InputError(f"{self}: dropouts from 0 to below 1 are wanted")
        if not (self.wide or self.deep):
            raise InputError(f"{self}: a wide part, a deep part or both are wanted")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the JSON values of `dataclasses.asdict`."""
        return cls(**{**values, "hidden": tuple(values["hidden"])})


@dataclass(frozen=True, slots=True)
class InputShape:
    """What the network reads: the id tables, who reads which, and how many columns of numbers.

    `tables` gives the number of ids by vocabulary; `categories` and `bags` name the table of each
    column.
    """

    tables: Mapping[str, int]
    categories: tuple[str, ...]
    bags: tuple[str, ...]
    numbers: int
    wide: int

    @classmethod
    def of(cls, transform: Transform) -> Self:
        """The shape of what `transform` encodes."""
        spec = transform.spec
        return cls(
            {name: len(vocabulary) for name, vocabulary in transform.vocabularies.items()},
            tuple(category.name for category in spec.categories),
            tuple(bag.vocabulary_of or bag.name for bag in spec.bags),
            len(transform.number_columns),
            transform.wide_size,
        )


class WideDeep(nn.Module):
    """Both parts and the bias; a fresh wide part is all zeros.

    In training the products of the hidden layers are `multiplied_in` that dtype, scores in float32.

    Attributes:
        threads: That the hidden layers work on in training; all else, and scores, on torch's own.
        widths: Of the input and of the hidden layers; empty without a deep part.
    """

    def __init__(self, config: NetworkConfig, shape: InputShape, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.shape = shape
        self.generator = generator
        self.multiplied_in = torch.float32
        self.threads = torch.get_num_threads()
        self.wide = nn.Parameter(torch.zeros(shape.wide if config.wide else 0, 1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.slope = nn.Parameter(torch.ones(1))
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
        self.widths = widths[:-1] if config.deep else ()
        self.layers = nn.ModuleList(
            _linear(width, narrow, generator) for width, narrow in pairwise(widths) if config.deep
        )
        if config.deep:
            # The first score is the offset's: noise on top of it would first have to be unlearned.
            nn.init.zeros_(self.layers[-1].get_parameter("weight"))

    def forward(self, batch: Batch, kept: DropoutMasks = EVERYTHING) -> Tensor:
        """Logits, float32 of shape (rows,), of what is `kept` of the batch."""
        wide, deep = self.wide_logit(batch), self.deep_logit(batch, kept)
        return self.bias + self.offset_logit(batch) + wide + deep

    def draw(self, share: BatchSlice) -> DropoutMasks:
        """What dropout leaves of a minibatch, for those who have a share of it."""
        config, shape = self.config, self.shape
        if not config.deep:
            return EVERYTHING
        columns = len(shape.categories) + len(shape.bags)
        ids = draw_kept(share, columns, config.id_dropout, self.generator)
        numbers = draw_kept(share, shape.numbers // 2, config.number_dropout, self.generator)
        units = (draw_kept(share, n, config.dropout, self.generator) for n in config.hidden)
        return DropoutMasks(ids, numbers, tuple(each for each in units if each is not None))

    def offset_logit(self, batch: Batch) -> Tensor:
        """What the offset adds, shape (rows,)."""
        return self.slope * batch.offset

    def wide_logit(self, batch: Batch) -> Tensor:
        """The wide part alone, shape (rows,): w_wide · [x, φ(x)]."""
        if not self.config.wide:
            return self.bias.new_zeros(len(batch.numbers))
        ids, starts = batch.wide
        summed: Tensor = embedding_bag(ids, self.wide, starts, mode="sum", sparse=True)
        return summed.squeeze(1)

    def deep_logit(self, batch: Batch, kept: DropoutMasks = EVERYTHING) -> Tensor:
        """The deep part alone, shape (rows,): w_deep · a."""
        if not self.config.deep:
            return self.bias.new_zeros(len(batch.numbers))
        dtype = self.multiplied_in if self.training else torch.float32
        threads = self.threads if self.training else torch.get_num_threads()
        layers = [
            (layer.get_parameter("weight"), layer.get_parameter("bias"))
            for layer in self.layers[:-1]
        ]
        dropout = Dropout(self.config.dropout, kept.units)
        units = hidden_layers(self._inputs(batch, kept, dtype), layers, dropout, threads)
        logit: Tensor = self.layers[-1](units.float())
        return logit.squeeze(1)

    def _inputs(self, batch: Batch, kept: DropoutMasks, dtype: torch.dtype) -> list[Tensor]:
        """Embeddings, mean embeddings of bags (zero where empty), and numbers.

        The numbers come last, since there is nothing behind them that could learn.
        """
        numbers = self._numbers(batch, kept.numbers, dtype)
        if not (self.shape.categories or self.shape.bags):
            return numbers
        embedded = self.embeddings(batch.categories, batch.bags, kept.ids)
        return [embedded.to(dtype), *numbers]

    def _numbers(self, batch: Batch, kept: Tensor | None, dtype: torch.dtype) -> list[Tensor]:
        """Vectors of the numbers, if there are any, and the numbers themselves."""
        plain, scale = batch.numbers, 1.0
        if kept is not None:
            scale /= 1 - self.config.number_dropout
            plain = plain * (kept.repeat(1, 2) * scale)
        plain = plain.to(dtype)
        if self.numbers is None:
            return [plain]
        return [self.numbers(*batch.numbers.chunk(2, dim=1), kept, scale, dtype), plain]


def _linear(width: int, narrow: int, generator: Generator) -> nn.Linear:
    """He initialisation, drawn from `generator` alone."""
    layer = nn.Linear(width, narrow, device="meta").to_empty(device="cpu")
    layer.weight.grad_dtype = None  # that in which the products are computed
    with torch.no_grad():
        layer.weight.normal_(0, (2 / width) ** 0.5, generator=generator)
        layer.bias.zero_()
    return layer

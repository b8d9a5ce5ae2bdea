"""The deep part of a request: its first layer is a sum, of which most is known before.

The item's share is computed once a model, the user's once a request, and only that of the numbers
which differ between candidates for each of them.

The hidden layers behind the first, for all candidates at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, linear

from widedeep.choices import Precision
from widedeep.features.history_state import ITEM_NUMERIC, USER_NUMERIC
from widedeep.features.ragged import Ragged
from widedeep.features.raw_features import ITEM_AGE
from widedeep.features.transform import Transform
from widedeep.model.kernels import Bits, bits_of
from widedeep.model.network import WideDeep
from widedeep.serving.kernels import (
    PairRows,
    QuantileTables,
    look_up_numbers,
    multiply_few,
    place,
    place_rounded,
    write_mean,
)
from widedeep.serving.scorer_wide import OF_USERS, ItemFeatures, quantiles_of


@dataclass(frozen=True, slots=True)
class Tower:
    """`hidden` are weights (out, in) and biases; `last` is the float32 layer to the logit.

    In float32 a score is that of the network within `tolerance`; in bfloat16, with 8 bits of
    mantissa an activation, so are the probabilities of the presets.
    """

    hidden: tuple[tuple[Tensor, Tensor], ...]
    last: tuple[Tensor, Tensor]
    dtype: torch.dtype

    @classmethod
    def of(cls, layers: Iterable[nn.Module], dtype: torch.dtype) -> Self:
        """Take the layers behind the first; the last one gives the logit."""
        *hidden, last = [weight_and_bias(layer) for layer in layers]
        converted = tuple((w.to(dtype).contiguous(), b.to(dtype)) for w, b in hidden)
        return cls(converted, (last[0][0].contiguous(), last[1]), dtype)

    @property
    def precision(self) -> Precision:
        """That of the products."""
        return Precision.FLOAT32 if self.dtype == torch.float32 else Precision.BFLOAT16

    @property
    def tolerance(self) -> float:
        """How far a probability may be from that of the network in float32."""
        return 1e-5 if self.dtype == torch.float32 else 2e-2

    def score(self, first: Tensor) -> Tensor:
        """Logits, float32 (n,), from the first layer's output (n, width) of this precision."""
        activation = first
        for weight, bias in self.hidden:
            activation = linear(activation, weight, bias).relu_()
        weight, bias = self.last
        return torch.mv(activation.float(), weight) + bias


def weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Of a linear layer: float32 (out, in) and (out,)."""
    held = dict(layer.named_parameters())
    return held["weight"].detach(), held["bias"].detach()


Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

OF_REQUEST = (*USER_NUMERIC, "staleness", "world_first_mean", "world_later_mean")
"""Numbers that are the same for all candidates of a request."""

OF_ITEM_AND_TIME = (*ITEM_NUMERIC, ITEM_AGE)
"""Numbers that are the same for all users at a moment."""


@dataclass(frozen=True, slots=True)
class NumberBlock:
    """Some numbers on their way into the first layer.

    Attributes:
        numbers: Where they are read and their boundaries.
        vectors: float32 (numbers, quantiles + 1, width): what the layer reads of each quantile, a
            missing number first: its embedding, if there is one, its value and its mark. Of
            bfloat16 the bits, uint16.
        weight: Float32 or bfloat16 (first layer, numbers * width).
    """

    numbers: QuantileTables
    vectors: Singles | Bits
    weight: Tensor

    def to(self, dtype: torch.dtype) -> Self:
        """In float32 or bfloat16."""
        vectors = torch.from_numpy(self.vectors).to(dtype)
        held = vectors.numpy() if dtype == torch.float32 else bits_of(vectors)
        return replace(self, vectors=held, weight=self.weight.to(dtype))

    def read(self, values: Floats) -> Tensor:
        """What the layer reads, (n, numbers * width)."""
        out = np.empty((len(values), self.weight.shape[1]), self.vectors.dtype)
        look_up_numbers(values, self.numbers, self.vectors, out)
        return torch.from_numpy(out).view(self.weight.dtype)


@dataclass(frozen=True, slots=True)
class DeepScorer:
    """The layers taken apart by what their inputs depend on.

    Attributes:
        table: float32 (items + 1, first layer), the sums over what is the item's; with bias.
        embeddings: float32 (ids, width), those of the features of a user, by name.
        of_user: float32 (inputs, first layer), for those and then for the request's numbers.
        of_request: Numbers of the request; their weights stand in `of_user`.
        of_item: Numbers of item and time.
        of_candidate: Numbers that are looked up for each candidate.
        pairs: Those among them that only the pair decides.
        tower: The layers behind.
    """

    table: Singles
    embeddings: Mapping[str, Singles]
    of_user: Singles
    of_request: NumberBlock
    of_item: NumberBlock
    of_candidate: NumberBlock
    pairs: NumberBlock
    tower: Tower

    @classmethod
    @torch.no_grad()
    def of(
        cls, transform: Transform, network: WideDeep, items: ItemFeatures, dtype: torch.dtype
    ) -> Self:
        """Take a network's deep part apart."""
        spec = transform.spec
        columns = [c.name for c in spec.categories] + [bag.name for bag in spec.bags]
        tables = {name: network.embeddings[spec.vocabulary_name(name)].detach() for name in columns}
        weight, bias = weight_and_bias(network.layers[0])
        weights = torch.split(weight.T, _widths(network, len(columns)))
        by_column = dict(zip(columns, weights, strict=False))
        numbers = _Numbers.of(transform, network, weights[len(columns) :])
        names = [number.name for number in spec.numbers]
        request = [i for i, name in enumerate(names) if name in OF_REQUEST]
        item = [i for i, name in enumerate(names) if name in OF_ITEM_AND_TIME]
        pairs = [i for i in range(len(names)) if i not in {*request, *item}]
        of_request = numbers.block(request)
        users = [name for name in columns if name in OF_USERS]
        table = bias.repeat(len(items.original_year), 1)
        for name, held in items.ids.items():
            table.addmm_(_mean(tables[name], held), by_column[name])
        return cls(
            table.numpy(),
            {name: tables[name].numpy() for name in users},
            torch.cat([*(by_column[name] for name in users), of_request.weight.T]).numpy(),
            of_request,
            numbers.block(item),
            numbers.block([*item, *pairs]).to(dtype),
            numbers.block(pairs).to(dtype),
            Tower.of(network.layers[1:], dtype),
        )

    @torch.no_grad()
    def at(self, values: Floats) -> "DeepScorer":
        """For one moment: what items' numbers add then goes into the table.

        `values` are read of every row of the table, with whichever user.
        """
        numbers = self.of_item
        added = torch.from_numpy(self.table).addmm(numbers.read(values), numbers.weight.T)
        return replace(self, table=added.numpy(), of_candidate=self.pairs)

    @torch.no_grad()
    def score(
        self, pairs: PairRows, values: Floats, users: Sequence[Mapping[str, Ints]]
    ) -> Singles:
        """The deep logit of each pair, float32 (n,); those of a user stand together."""
        own = self._users(values[np.searchsorted(pairs.user, np.arange(len(users)))], users)
        first = self._rounded if self.tower.dtype == torch.bfloat16 else self._exact
        logit: Singles = self.tower.score(first(pairs, values, own)).numpy()
        return logit

    def _exact(self, pairs: PairRows, values: Floats, users: Singles) -> Tensor:
        """The first layer's output, float32 (n, first layer)."""
        sums = torch.empty((len(values), users.shape[1]))
        place(pairs, self.table, users, sums.numpy())
        return sums.addmm_(self.of_candidate.read(values), self.of_candidate.weight.T).relu_()

    def _rounded(self, pairs: PairRows, values: Floats, users: Singles) -> Tensor:
        """Likewise in bfloat16, from sums in float32."""
        of_numbers = linear(self.of_candidate.read(values), self.of_candidate.weight)
        out = torch.empty_like(of_numbers)
        place_rounded(pairs, self.table, users, bits_of(of_numbers), bits_of(out))
        return out

    def _users(self, values: Floats, users: Sequence[Mapping[str, Ints]]) -> Singles:
        """What users and the request's numbers add to the first layer, (users, first layer)."""
        numbers = self.of_request.read(values).numpy()
        inputs = np.empty((len(users), len(self.of_user)), np.float32)
        inputs[:, len(self.of_user) - numbers.shape[1] :] = numbers
        for row, user in zip(inputs, users, strict=True):
            begin = 0
            for name, table in self.embeddings.items():
                end = begin + table.shape[1]
                write_mean(table, user[name], row[begin:end])
                begin = end
        found: Singles = multiply_few(inputs, self.of_user)
        return found


@dataclass(frozen=True, slots=True)
class _Numbers:
    """All numbers of a spec: boundaries, vectors and weights by number."""

    names: Sequence[str]
    boundaries: Sequence[Floats]
    vectors: Singles
    weights: Tensor

    @classmethod
    def of(cls, transform: Transform, network: WideDeep, weights: Sequence[Tensor]) -> Self:
        """`weights` are those of the embedded numbers, the values and the marks."""
        names = [number.name for number in transform.spec.numbers]
        normalisers = [transform.normalisers[name] for name in names]
        quantiles = max((n.quantiles for n in normalisers), default=0) + 1
        values = np.zeros((quantiles, len(names)), np.float32)
        for column, normaliser in zip(values.T, normalisers, strict=True):
            # A value of each quantile: missing, below all boundaries, and the boundaries.
            samples = np.array([np.nan, -np.inf, *normaliser.boundaries])
            column[: len(samples)] = normaliser.normalise(samples)
        value = torch.from_numpy(values)
        missing = torch.zeros_like(value)
        missing[:1] = 1
        parts = [value[:, :, None], missing[:, :, None]]
        if names and network.numbers is not None:
            embedded = network.numbers(value, missing)
            parts.insert(0, embedded.reshape(quantiles, len(names), -1))
        vectors = torch.cat(parts, dim=2).transpose(0, 1).contiguous().numpy()
        each = (network.config.number_embedding, 1, 1)
        by_number = torch.cat(
            [
                part.reshape(len(names), size, part.shape[1])
                for part, size in zip(weights, each, strict=True)
            ],
            dim=1,
        )
        return cls(names, [n.boundaries for n in normalisers], vectors, by_number)

    def block(self, chosen: list[int]) -> NumberBlock:
        """Those numbers, in that order."""
        numbers = quantiles_of(
            [self.names[i] for i in chosen], [self.boundaries[i] for i in chosen]
        )
        weight = self.weights[chosen].flatten(0, 1).T.contiguous()
        return NumberBlock(numbers, self.vectors[chosen], weight)


def _widths(network: WideDeep, columns: int) -> list[int]:
    """Of the first layer's inputs: each column, then embedded numbers, values, marks."""
    numbers = network.shape.numbers // 2
    embedded = numbers * network.config.number_embedding
    return [network.config.embedding] * columns + [embedded, numbers, numbers]


def _mean(table: Tensor, ids: Ragged) -> Tensor:
    """The mean embedding of each row, zero where it is empty."""
    values = torch.from_numpy(ids.values.astype(np.int64))
    pooled: Tensor = embedding_bag(values, table, torch.from_numpy(ids.offsets[:-1]), mode="mean")
    return pooled

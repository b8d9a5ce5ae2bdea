"""The deep part of a request: its first layer is a sum, most of which is computed ahead.

The first layer adds up what each of its inputs contributes. The item's share is computed when the
model is loaded, the user's once a request, and only that of the numbers which differ between
candidates for each of them. The layers behind the first run for all candidates at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, linear

from widedeep.features import Ragged, Transform
from widedeep.inputs import Precision
from widedeep.model.kernels import Bits, bfloat16_bits
from widedeep.model.network import WideDeep
from widedeep.serving.scorer.features import (
    ItemFeatures,
    Layout,
    feature_names,
    quantile_tables,
)
from widedeep.serving.scorer.kernels import (
    Floats,
    Ints,
    PairRows,
    QuantileTables,
    Singles,
    add_item_and_user,
    add_item_and_user_bfloat16,
    look_up_numbers,
    multiply_few,
    write_mean,
)

FLOAT32_TOLERANCE = 1e-5
"""How far sums of float32 in another order may move a probability."""

BFLOAT16_TOLERANCE = 2e-2
"""How far bfloat16 (8 bits of mantissa an activation) moves a probability of a preset at most."""


@dataclass(frozen=True, slots=True)
class DeepScorer:
    """The deep part of a network, its first layer taken apart by what its inputs depend on.

    Attributes:
        item_sums: float32 (items + 1, width), the first layer's sums over what is the item's, and
            its bias.
        user_embeddings: float32 (codes, embedding) of each feature of a request, by name.
        user_weights: float32 (inputs, width), the first layer's weights of those embeddings and,
            behind them, of the request's numbers.
        request_numbers: Numbers of the request; their weights stand in `user_weights`.
        item_numbers: Numbers of item and time.
        candidate_numbers: The numbers that are looked up for each candidate.
        pair_numbers: Those among them that only user and item together decide.
        tower: The layers behind the first.
    """

    item_sums: Singles
    user_embeddings: Mapping[str, Singles]
    user_weights: Singles
    request_numbers: "NumberBlock"
    item_numbers: "NumberBlock"
    candidate_numbers: "NumberBlock"
    pair_numbers: "NumberBlock"
    tower: "Tower"

    @classmethod
    @torch.no_grad()
    def from_network(
        cls,
        transform: Transform,
        network: WideDeep,
        items: ItemFeatures,
        layout: Layout,
        dtype: torch.dtype,
    ) -> Self:
        """Take a network's deep part apart, for products in `dtype` (float32 or bfloat16)."""
        spec = transform.spec
        columns = feature_names(spec)
        tables = {name: network.embeddings[spec.vocabulary_name(name)].detach() for name in columns}
        weight, bias = _weight_and_bias(network.layers[0])
        weights = torch.split(weight.T, _input_widths(network, len(columns)))
        by_column = dict(zip(columns, weights, strict=False))
        numbers = _NumberInputs.from_network(
            transform, network, layout.numbers, weights[len(columns) :]
        )
        names = [number.name for number in spec.numbers]
        request = [i for i, name in enumerate(names) if name in layout.request_numbers]
        item = [i for i, name in enumerate(names) if name in layout.item_numbers]
        pairs = [i for i in range(len(names)) if i not in {*request, *item}]
        request_numbers = numbers.select(request)
        user_columns = [name for name in columns if name in layout.request_features]
        item_sums = bias.repeat(items.rows, 1)
        for name, codes in items.codes.items():
            item_sums.addmm_(_mean_embeddings(tables[name], codes), by_column[name])
        user_weights = [*(by_column[name] for name in user_columns), request_numbers.weight.T]
        return cls(
            item_sums.numpy(),
            {name: tables[name].numpy() for name in user_columns},
            torch.cat(user_weights).numpy(),
            request_numbers,
            numbers.select(item),
            numbers.select([*item, *pairs]).to(dtype),
            numbers.select(pairs).to(dtype),
            Tower.from_layers(network.layers[1:], dtype),
        )

    @torch.no_grad()
    def at_moment(self, values: Floats) -> "DeepScorer":
        """Return a scorer for one moment, with the items' numbers added to `item_sums`.

        Args:
            values: The numbers read at that moment, (items + 1, numbers), with any user.
        """
        numbers = self.item_numbers
        sums = torch.from_numpy(self.item_sums).addmm(numbers.read(values), numbers.weight.T)
        return replace(self, item_sums=sums.numpy(), candidate_numbers=self.pair_numbers)

    @torch.no_grad()
    def score(
        self, pairs: PairRows, values: Floats, users: Sequence[Mapping[str, Ints]]
    ) -> Singles:
        """Return the deep logit of each pair, float32 (n,).

        Args:
            pairs: Rows in `item_sums` and in `users`, (n,) each; the pairs of a user are adjacent.
            values: The numbers read of each pair, (n, numbers).
            users: The codes by feature of each user, as `RequestCodes.read` returns them.
        """
        first_pairs = np.searchsorted(pairs.user, np.arange(len(users)))
        user_sums = self._user_sums(values[first_pairs], users)
        bfloat16 = self.tower.dtype == torch.bfloat16
        first_layer = self._first_layer_bfloat16 if bfloat16 else self._first_layer
        logit: Singles = self.tower.score(first_layer(pairs, values, user_sums)).numpy()
        return logit

    def _first_layer(self, pairs: PairRows, values: Floats, user_sums: Singles) -> Tensor:
        """Return the first layer's output, float32 (n, width)."""
        sums = torch.empty((len(values), user_sums.shape[1]))
        add_item_and_user(pairs, self.item_sums, user_sums, sums.numpy())
        numbers = self.candidate_numbers
        return sums.addmm_(numbers.read(values), numbers.weight.T).relu_()

    def _first_layer_bfloat16(self, pairs: PairRows, values: Floats, user_sums: Singles) -> Tensor:
        """Return the first layer's output in bfloat16, added up in float32."""
        number_sums = linear(self.candidate_numbers.read(values), self.candidate_numbers.weight)
        output = torch.empty_like(number_sums)
        add_item_and_user_bfloat16(
            pairs, self.item_sums, user_sums, bfloat16_bits(number_sums), bfloat16_bits(output)
        )
        return output

    def _user_sums(self, values: Floats, users: Sequence[Mapping[str, Ints]]) -> Singles:
        """Return what users and the request's numbers add to the first layer, (users, width)."""
        numbers = self.request_numbers.read(values).numpy()
        inputs = np.empty((len(users), len(self.user_weights)), np.float32)
        inputs[:, len(self.user_weights) - numbers.shape[1] :] = numbers
        for row, user in zip(inputs, users, strict=True):
            begin = 0
            for name, table in self.user_embeddings.items():
                end = begin + table.shape[1]
                write_mean(table, user[name], row[begin:end])
                begin = end
        sums: Singles = multiply_few(inputs, self.user_weights)
        return sums


@dataclass(frozen=True, slots=True)
class Tower:
    """The layers behind the first.

    In float32 its scores are those of the network within `tolerance`; in bfloat16 that holds for
    the probabilities of the presets.

    Attributes:
        hidden: Weights (out, in) and biases (out,) of each hidden layer, in `dtype`.
        last: float32 weights (in,) and bias (1,) of the layer that returns the logit.
        dtype: Of the products of the hidden layers.
    """

    hidden: tuple[tuple[Tensor, Tensor], ...]
    last: tuple[Tensor, Tensor]
    dtype: torch.dtype

    @classmethod
    def from_layers(cls, layers: Iterable[nn.Module], dtype: torch.dtype) -> Self:
        """Take the layers behind the first; the last one returns the logit."""
        *hidden, last = [_weight_and_bias(layer) for layer in layers]
        converted = tuple((w.to(dtype).contiguous(), b.to(dtype)) for w, b in hidden)
        return cls(converted, (last[0][0].contiguous(), last[1]), dtype)

    @property
    def precision(self) -> Precision:
        """The precision of the matrix products."""
        return Precision.FLOAT32 if self.dtype == torch.float32 else Precision.BFLOAT16

    @property
    def tolerance(self) -> float:
        """How far a probability may be from the one of the network in float32."""
        return FLOAT32_TOLERANCE if self.dtype == torch.float32 else BFLOAT16_TOLERANCE

    def score(self, first: Tensor) -> Tensor:
        """Return the logits, float32 (n,), of the first layer's output (n, width) in `dtype`."""
        activation = first
        for weight, bias in self.hidden:
            activation = linear(activation, weight, bias).relu_()
        weight, bias = self.last
        return torch.mv(activation.float(), weight) + bias


@dataclass(frozen=True, slots=True)
class NumberBlock:
    """Some numbers on their way into the first layer.

    Attributes:
        quantiles: The numbers' columns and boundaries.
        vectors: float32 (numbers, quantiles + 1, width), or the bits of bfloat16 as uint16: what
            the first layer reads for each quantile, a missing number first. It is the embedding, if
            the network has one, the normalised value and the mark of a missing number.
        weight: float32 or bfloat16 (first layer, numbers * width).
    """

    quantiles: QuantileTables
    vectors: Singles | Bits
    weight: Tensor

    def to(self, dtype: torch.dtype) -> Self:
        """Convert vectors and weight to float32 or bfloat16."""
        converted = torch.from_numpy(self.vectors).to(dtype)
        vectors = converted.numpy() if dtype == torch.float32 else bfloat16_bits(converted)
        return replace(self, vectors=vectors, weight=self.weight.to(dtype))

    def read(self, values: Floats) -> Tensor:
        """Return what the first layer reads, (n, numbers * width), of `values` (n, numbers)."""
        inputs = np.empty((len(values), self.weight.shape[1]), self.vectors.dtype)
        look_up_numbers(values, self.quantiles, self.vectors, inputs)
        return torch.from_numpy(inputs).view(self.weight.dtype)


@dataclass(frozen=True, slots=True)
class _NumberInputs:
    """All numbers of a spec, by number: boundaries, vectors by quantile, first layer's weights.

    `columns` are the names of the columns of values.
    """

    columns: Sequence[str]
    names: Sequence[str]
    boundaries: Sequence[Floats]
    vectors: Singles
    weights: Tensor

    @classmethod
    def from_network(
        cls,
        transform: Transform,
        network: WideDeep,
        columns: Sequence[str],
        weights: Sequence[Tensor],
    ) -> Self:
        """`weights` are the first layer's for embedded numbers, values and missing marks."""
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
        widths = (network.config.number_embedding, 1, 1)
        by_number = torch.cat(
            [
                part.reshape(len(names), width, part.shape[1])
                for part, width in zip(weights, widths, strict=True)
            ],
            dim=1,
        )
        return cls(columns, names, [n.boundaries for n in normalisers], vectors, by_number)

    def select(self, positions: list[int]) -> NumberBlock:
        """Return the numbers at these positions of the spec, in that order."""
        quantiles = quantile_tables(
            [self.names[i] for i in positions],
            [self.boundaries[i] for i in positions],
            self.columns,
        )
        weight = self.weights[positions].flatten(0, 1).T.contiguous()
        return NumberBlock(quantiles, self.vectors[positions], weight)


def _weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a linear layer's float32 weight (out, in) and bias (out,)."""
    parameters = dict(layer.named_parameters())
    return parameters["weight"].detach(), parameters["bias"].detach()


def _input_widths(network: WideDeep, columns: int) -> list[int]:
    """Return the widths of the first layer's inputs: columns, embedded numbers, values, marks."""
    numbers = network.shape.numbers // 2
    embedded = numbers * network.config.number_embedding
    return [network.config.embedding] * columns + [embedded, numbers, numbers]


def _mean_embeddings(table: Tensor, codes: Ragged) -> Tensor:
    """Return the mean embedding of each row of codes, zero where the row is empty."""
    values = torch.from_numpy(codes.values.astype(np.int64))
    starts = torch.from_numpy(codes.offsets[:-1])
    pooled: Tensor = embedding_bag(values, table, starts, mode="mean")
    return pooled

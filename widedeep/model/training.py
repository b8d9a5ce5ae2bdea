"""Joint training: one logistic loss, FTRL on the wide part and AdaGrad on the rest.

Paper, section 3.3: both parts are updated by the same minibatch, not trained apart and averaged.
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from widedeep import metrics
from widedeep.errors import InputError
from widedeep.features.encoded import Encoded
from widedeep.features.examples import Examples
from widedeep.model.adagrad import AdaGrad
from widedeep.model.batch import Batch
from widedeep.model.ftrl import Ftrl, FtrlConfig
from widedeep.model.network import WideDeep
from widedeep.model.precision import Precision, fast_products
from widedeep.model.row_optimizer import RowOptimizer

SCORING_BATCH = 8192


class DivergenceError(ArithmeticError):
    """The loss is no longer a finite number; nothing of this training is kept."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """`patience`: epochs without a better validation loss after which training stops.

    `catch_up_epochs`: how often what is new is learned, with no validation to stop by.
    `learning_rate` and `initial_accumulator` are AdaGrad's. Embeddings of ids take `id_rate` times
    that rate, a catch-up `catch_up_rate` times (the sums that travel have made its steps small).
    Over all epochs the rate falls to 0 along a cosine (Loshchilov and Hutter, "SGDR", 2017).
    `precision`: see `Precision`.
    """

    batch: int = 1024
    epochs: int = 20
    patience: int = 2
    catch_up_epochs: int = 2
    catch_up_rate: float = 1.0
    learning_rate: float = 0.02
    id_rate: float = 1.0
    initial_accumulator: float = 0.1
    ftrl: FtrlConfig = field(default_factory=FtrlConfig)
    precision: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        counts = (self.batch, self.epochs, self.patience, self.catch_up_epochs)
        if min(counts) < 1:
            raise InputError(f"{self}: batch, epochs and patience of at least 1 are wanted")
        rates = (self.learning_rate, self.id_rate, self.catch_up_rate)
        if min(rates) <= 0 or self.initial_accumulator < 0:
            raise InputError(
                f"{self}: learning rates above 0 and an accumulator of at least 0 are wanted"
            )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the JSON values of `dataclasses.asdict`."""
        precision = Precision(values.get("precision", Precision.AUTO))
        return cls(**{**values, "ftrl": FtrlConfig(**values["ftrl"]), "precision": precision})


@dataclass(frozen=True, slots=True)
class EpochResult:
    """Epoch 0 is the state before the first step. Losses are means in nats a row.

    `validation_auc` is that of the first validation set, None if its rows are of one class;
    `validation_loss` is the mean of all. Both are None for an epoch that learned the rows it could
    have been judged by.
    """

    epoch: int
    train_loss: float | None
    validation_loss: float | None
    validation_auc: float | None
    seconds: float
    best: bool = False


class Optimisers:
    """FTRL for the wide weights, AdaGrad for everything else; each parameter has exactly one."""

    def __init__(self, network: WideDeep, config: TrainingConfig) -> None:
        self.wide = Ftrl([network.wide], config.ftrl)
        embeddings = list(network.embeddings.values())
        named = {id(network.wide), *map(id, embeddings)}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in named]
        rate, accumulator = config.learning_rate, config.initial_accumulator
        self.embeddings = AdaGrad(embeddings, rate * config.id_rate, accumulator)
        self.deep = AdaGrad(rest, rate, accumulator)
        self._names: dict[Tensor, str] = {p: name for name, p in network.named_parameters()}

    @property
    def all(self) -> tuple[RowOptimizer, ...]:
        """Each of them, wide first."""
        return self.wide, self.embeddings, self.deep

    def slow(self, share: float) -> None:
        """Let AdaGrad take `share` of its rates from now on."""
        self.embeddings.share = self.deep.share = share

    def state(self) -> dict[str, Tensor]:
        """What they remember, as `<parameter>/<name>`: `wide/z`, `wide/n`, of all others `/sum`."""
        return {
            f"{self._names[parameter]}/{name}": value
            for optimiser in self.all
            for parameter, values in optimiser.state.items()
            for name, value in values.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Overwrite every remembered value in place."""
        for name, value in self.state().items():
            value.copy_(state[name])


class Trainer:
    """Trains `network` in place."""

    def __init__(
        self,
        network: WideDeep,
        optimisers: Optimisers,
        config: TrainingConfig,
        generator: np.random.Generator,
    ) -> None:
        self.network = network
        self.optimisers = optimisers
        self.config = config
        self._generator = generator
        self._best_loss = np.inf
        self._best: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None
        network.multiplied_in = config.precision.in_training(network.widths, network.bias.device)

    def epochs(
        self, training: Examples, validation: Mapping[str, Examples]
    ) -> Iterator[EpochResult]:
        """Train until validation stops improving; yields after each epoch.

        After the last, the network holds the weights of the best one, the optimisers its state.
        Raises DivergenceError on a loss that is not finite.
        """
        worse, shares = 0, self._annealed(self.config.epochs, len(training))
        for epoch in range(1, self.config.epochs + 1):
            started = time.perf_counter()
            result = self._judge(epoch, self._epoch(epoch, training, shares), validation, started)
            yield result
            worse = 0 if result.best else worse + 1
            if worse == self.config.patience:
                break
        self._restore()

    def catch_up(
        self, training: Examples, validation: Mapping[str, Examples], last: int
    ) -> Iterator[EpochResult]:
        """Train for `catch_up_epochs` after epoch `last`, if there is anything to learn.

        What the network is before that, is judged by `validation`, if there is any: ratings that it
        is about to learn say most honestly how good it is. Raises as `epochs` does.
        """
        if validation:
            yield self._judge(last, None, validation, time.perf_counter())
        epochs = self.config.catch_up_epochs if len(training) else 0
        shares = self._annealed(epochs, len(training), self.config.catch_up_rate)
        for epoch in range(last + 1, last + 1 + epochs):
            started = time.perf_counter()
            loss = self._epoch(epoch, training, shares)
            yield EpochResult(epoch, loss, None, None, time.perf_counter() - started)

    def _annealed(self, epochs: int, rows: int, first: float = 1.0) -> Iterator[float]:
        """The share of the rate that each minibatch takes, from `first` down to 0."""
        steps = epochs * -(-rows // self.config.batch)
        return (first * (0.5 + 0.5 * math.cos(math.pi * i / steps)) for i in range(steps))

    def _epoch(self, epoch: int, training: Examples, shares: Iterator[float]) -> float:
        self.network.train()
        order = self._generator.permutation(len(training))
        total = 0.0
        for start in range(0, len(order), self.config.batch):
            self.optimisers.slow(next(shares))
            value = self._step(training.take(order[start : start + self.config.batch]))
            if not np.isfinite(value):
                row = f"epoch {epoch}, row {start} of {len(order)}"
                raise DivergenceError(f"the training loss became {value} at {row}")
            total += value
        return total / float(training.weight.sum(dtype=np.float64))

    @fast_products()
    def _step(self, examples: Examples) -> float:
        """Learn from a minibatch; returns its summed loss, and learns nothing if it is strange."""
        loss = self._loss(examples)
        value = loss.item()
        if np.isfinite(value):
            self._update(loss)
        return value

    def _loss(self, examples: Examples) -> Tensor:
        """The summed loss of a minibatch.

        FTRL's penalties are stated against the summed loss, and AdaGrad does not mind the scale
        (but for its initial accumulator).
        """
        device = self.network.bias.device
        logit = self.network(Batch.from_encoded(examples.rows, device))
        label = torch.from_numpy(examples.label.astype(np.float32)).to(device)
        weight = torch.from_numpy(examples.weight).to(device)
        return binary_cross_entropy_with_logits(logit, label, weight, reduction="sum")

    def _update(self, loss: Tensor) -> None:
        """One joint step of all optimisers."""
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in self.optimisers.all:
            optimiser.step()

    def _judge(
        self,
        epoch: int,
        train_loss: float | None,
        validation: Mapping[str, Examples],
        started: float,
    ) -> EpochResult:
        """Measure, and remember the state if it is the best so far."""
        scores = [(v.label, self._scores(epoch, name, v)) for name, v in validation.items()]
        loss = float(np.mean([metrics.log_loss(label, p) for label, p in scores]))
        best = loss < self._best_loss
        if best:
            self._best_loss = loss
            self._best = copy.deepcopy((self.network.state_dict(), self.optimisers.state()))
        label = scores[0][0]
        auc = metrics.auc(*scores[0]) if 0 < label.sum() < len(label) else None
        return EpochResult(epoch, train_loss, loss, auc, time.perf_counter() - started, best)

    def _scores(self, epoch: int, name: str, validation: Examples) -> NDArray[np.float64]:
        found = logits(self.network, validation.rows)
        strange = np.flatnonzero(~np.isfinite(found))
        if len(strange):
            row = f"epoch {epoch}, row {strange[0]} of {len(found)} of {name} validation"
            raise DivergenceError(f"the score became {found[strange[0]]} at {row}")
        return sigmoid(found)

    def _restore(self) -> None:
        if self._best is not None:
            weights, state = self._best
            self.network.load_state_dict(weights)
            self.optimisers.load(state)


@torch.no_grad()
def logits(network: WideDeep, rows: Encoded) -> NDArray[np.float64]:
    """Scores of the rows before the sigmoid, float64 of shape (rows,)."""
    network.eval()
    parts = []
    for start in range(0, len(rows), SCORING_BATCH):
        part = rows.take(np.arange(start, min(start + SCORING_BATCH, len(rows))))
        parts.append(network(Batch.from_encoded(part, network.bias.device)).cpu().numpy())
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def predict(network: WideDeep, rows: Encoded) -> NDArray[np.float64]:
    """P(y = 1 | x) of each row, float64 of shape (rows,)."""
    return sigmoid(logits(network, rows))


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logit)), in a form that doesn't overflow."""
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logit))
    return found

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
from widedeep.choices import Device, Precision
from widedeep.features.encoded import EncodedRows, Examples
from widedeep.inputs import InputError
from widedeep.model.adagrad import AdaGrad
from widedeep.model.batch import Batch, BatchSlice, DropoutMasks
from widedeep.model.compute import BackgroundThread, fast_matmul, threads, training_dtype
from widedeep.model.distributed import Replicas, SingleProcess
from widedeep.model.ftrl import Ftrl, FtrlConfig
from widedeep.model.network import WideDeep
from widedeep.model.sparse_optimiser import SparseOptimiser
from widedeep.parallel import look_ahead

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
    So many examples that all epochs together would be more than `most_examples` are learned in
    fewer epochs, but at least once. `precision`, `device`: see `Precision`, `Device`.
    """

    batch: int = 1024
    epochs: int = 20
    patience: int = 2
    catch_up_epochs: int = 2
    catch_up_rate: float = 1.0
    most_examples: int = 6_000_000
    learning_rate: float = 0.02
    id_rate: float = 1.0
    initial_accumulator: float = 0.1
    ftrl: FtrlConfig = field(default_factory=FtrlConfig)
    precision: Precision = Precision.AUTO
    device: Device = Device.AUTO

    def __post_init__(self) -> None:
        epochs = (self.epochs, self.patience, self.catch_up_epochs)
        if min(*epochs, self.batch, self.most_examples) < 1:
            raise InputError(f"{self}: batch, epochs, patience and examples from 1 on are wanted")
        rates = (self.learning_rate, self.id_rate, self.catch_up_rate)
        if min(rates) <= 0 or self.initial_accumulator < 0:
            raise InputError(
                f"{self}: learning rates above 0 and an accumulator of at least 0 are wanted"
            )

    def epochs_of(self, examples: int) -> int:
        """How often so many `examples` are learned at most, in a training from the beginning."""
        return self._affordable(self.epochs, examples)

    def catch_up_epochs_of(self, examples: int) -> int:
        """How often so many `examples` are learned in a catch-up; never if there are none."""
        return self._affordable(self.catch_up_epochs, examples) if examples else 0

    def _affordable(self, epochs: int, examples: int) -> int:
        return max(1, min(epochs, self.most_examples // max(examples, 1)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the JSON values of `dataclasses.asdict`."""
        read = {
            "ftrl": FtrlConfig(**values["ftrl"]),
            "precision": Precision(values.get("precision", Precision.AUTO)),
            "device": Device(values.get("device", Device.AUTO)),
        }
        return cls(**{**values, **read})


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


@dataclass(frozen=True, slots=True)
class Minibatch:
    """What this process learns of a minibatch, all rows or its share, and what is `kept` of it."""

    batch: Batch
    kept: DropoutMasks
    label: Tensor
    weight: Tensor

    @classmethod
    def of(cls, examples: Examples, kept: DropoutMasks, device: torch.device) -> Self:
        """Move the examples to `device`."""
        label = torch.from_numpy(examples.label.astype(np.float32)).to(device)
        weight = torch.from_numpy(examples.weight).to(device)
        return cls(Batch.from_encoded(examples.rows, device), kept.to(device), label, weight)


class Optimisers:
    """FTRL for the wide weights, AdaGrad for everything else; each parameter has exactly one."""

    def __init__(self, network: WideDeep, config: TrainingConfig) -> None:
        self.wide = Ftrl([network.wide], config.ftrl)
        embeddings = list(network.embeddings.parameters())
        named = {id(network.wide), *map(id, embeddings)}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in named]
        rate, accumulator = config.learning_rate, config.initial_accumulator
        self.embeddings = AdaGrad(embeddings, rate * config.id_rate, accumulator)
        self.deep = AdaGrad(rest, rate, accumulator)
        # A parameter's rows by what they are called; that of the embeddings holds many tables.
        self._parts: dict[Tensor, dict[str, slice]] = {
            parameter: {name: slice(None)} for name, parameter in network.named_parameters()
        }
        tables = {f"embeddings.{name}": rows for name, rows in network.embeddings.places.items()}
        self._parts |= dict.fromkeys(embeddings, tables)

    @property
    def all(self) -> tuple[SparseOptimiser, ...]:
        """Each of them, wide first."""
        return self.wide, self.embeddings, self.deep

    def slow(self, share: float) -> None:
        """Let AdaGrad take `share` of its rates from now on."""
        self.embeddings.share = self.deep.share = share

    def state(self) -> dict[str, Tensor]:
        """What they remember, as `<parameter>/<name>`: `wide/z`, `wide/n`, of all others `/sum`."""
        return {
            f"{part}/{name}": value[rows]
            for optimiser in self.all
            for parameter, values in optimiser.state.items()
            for part, rows in self._parts[parameter].items()
            for name, value in values.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Overwrite every remembered value in place."""
        for name, value in self.state().items():
            value.copy_(state[name])


@dataclass(slots=True)
class Progress:
    """How far a trainer has come: what it was after its last `epoch` (None: not begun).

    `worse` epochs have passed since the best one, of which `best_loss` and `best` (the weights, and
    what the optimisers remember) are kept.
    """

    epoch: int | None = None
    worse: int = 0
    best_loss: float = math.inf
    best: tuple[Mapping[str, Tensor], Mapping[str, Tensor]] | None = None


class Trainer:
    """Trains `network` in place, alone or as one of several `replicas`."""

    def __init__(
        self,
        network: WideDeep,
        optimisers: Optimisers,
        config: TrainingConfig,
        generator: np.random.Generator,
        replicas: Replicas | None = None,
    ) -> None:
        self.network = network
        self.optimisers = optimisers
        self.config = config
        self.progress = Progress()
        self._generator = generator
        self._device = network.bias.device
        network.threads = torch.get_num_threads()
        asked = config.precision, network.widths, self._device
        network.multiplied_in = training_dtype(*asked)
        self._side = BackgroundThread(network.threads)
        self._replicas = replicas or SingleProcess()
        self._replicas.agree({**network.state_dict(), **optimisers.state()})

    def epochs(
        self, training: Examples, validation: Mapping[str, Examples]
    ) -> Iterator[EpochResult]:
        """Train until validation stops improving; yields after each epoch.

        After the last, the network holds the weights of the best one, the optimisers its state.
        Raises DivergenceError on a loss that is not finite.
        """
        progress = self.progress
        epochs = self.config.epochs_of(len(training))
        shares = self._annealed(progress.epoch or 0, epochs, len(training))
        while progress.worse < self.config.patience:
            epoch = (progress.epoch or 0) + 1
            if epoch > epochs:
                break
            started = time.perf_counter()
            loss = self._epoch(epoch, training, shares)
            yield self._judge(epoch, loss, validation, started)
        self._restore()

    def catch_up(
        self, training: Examples, validation: Mapping[str, Examples], last: int
    ) -> Iterator[EpochResult]:
        """Train for `catch_up_epochs` after epoch `last`, if there is anything to learn.

        What the network is before that, is judged by `validation`, if there is any: ratings that it
        is about to learn say most honestly how good it is. Raises as `epochs` does.
        """
        progress = self.progress
        if progress.epoch is None:
            progress.epoch = last
            if validation:
                yield self._judge(last, None, validation, time.perf_counter())
        epochs = self.config.catch_up_epochs_of(len(training))
        done, rate = progress.epoch - last, self.config.catch_up_rate
        shares = self._annealed(done, epochs, len(training), rate)
        for epoch in range(progress.epoch + 1, last + 1 + epochs):
            started = time.perf_counter()
            loss = self._epoch(epoch, training, shares)
            progress.epoch = epoch
            yield EpochResult(epoch, loss, None, None, time.perf_counter() - started)

    def _annealed(self, done: int, epochs: int, rows: int, first: float = 1.0) -> Iterator[float]:
        """The share of the rate each minibatch takes, from `first` to 0, after `done` epochs."""
        each = -(-rows // self.config.batch)
        steps, left = epochs * each, range(done * each, epochs * each)
        return (first * (0.5 + 0.5 * math.cos(math.pi * i / steps)) for i in left)

    def _epoch(self, epoch: int, training: Examples, shares: Iterator[float]) -> float:
        self.network.train()
        order = self._generator.permutation(len(training))
        total = 0.0
        for start, minibatch in self._minibatches(training, order):
            self.optimisers.slow(next(shares))
            value = self._step(minibatch)
            if not np.isfinite(value):
                row = f"epoch {epoch}, row {start} of {len(order)}"
                raise DivergenceError(f"the training loss became {value} at {row}")
            total += value
        return total / float(training.weight.sum(dtype=np.float64))

    def _minibatches(
        self, training: Examples, order: NDArray[np.int64]
    ) -> Iterator[tuple[int, Minibatch]]:
        """Where each begins in `order`, and it; the next one is taken while one is learned."""
        batch = self.config.batch
        taking = (
            (start, self._side.begin(self._taken, training, order[start : start + batch]))
            for start in range(0, len(order), batch)
        )
        for start, taken in look_ahead(taking):
            yield start, taken()

    def _taken(self, training: Examples, rows: NDArray[np.int64]) -> Minibatch:
        share = BatchSlice(len(rows), self._replicas.part(len(rows)))
        kept = self.network.draw(share)
        return Minibatch.of(training.select_rows(rows[share.part]), kept, self._device)

    @threads(1)
    def _step(self, minibatch: Minibatch) -> float:
        """Learn from a minibatch; returns its summed loss, and learns nothing if it is strange."""
        with fast_matmul(self._device):
            value = self._differentiate(minibatch)
        if np.isfinite(value):
            wide = self._side.begin(self.optimisers.wide.step)
            self.optimisers.embeddings.step()
            self.optimisers.deep.step()
            wide()
        return value

    def _loss(self, minibatch: Minibatch) -> Tensor:
        """The summed loss of a minibatch.

        FTRL's penalties are stated against the summed loss, and AdaGrad does not mind the scale
        (but for its initial accumulator).
        """
        logit = self.network(minibatch.batch, minibatch.kept)
        label, weight = minibatch.label, minibatch.weight
        return binary_cross_entropy_with_logits(logit, label, weight, reduction="sum")

    def _differentiate(self, minibatch: Minibatch) -> float:
        """The summed loss of a minibatch; all parameters have its gradient then."""
        loss = self._loss(minibatch)
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return self._replicas.sum_up(loss, self.network.parameters())

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
        progress, best = self.progress, loss < self.progress.best_loss
        progress.epoch, progress.worse = epoch, 0 if best else progress.worse + 1
        if best:
            progress.best_loss = loss
            progress.best = copy.deepcopy((self.network.state_dict(), self.optimisers.state()))
        label = scores[0][0]
        auc = metrics.auc(*scores[0]) if 0 < label.sum() < len(label) else None
        return EpochResult(epoch, train_loss, loss, auc, time.perf_counter() - started, best)

    def _scores(self, epoch: int, name: str, validation: Examples) -> NDArray[np.float64]:
        rows = len(validation)
        mine = logits(self.network, validation.rows, self._replicas.part(rows))
        found = self._replicas.joined(mine, rows)
        strange = np.flatnonzero(~np.isfinite(found))
        if len(strange):
            row = f"epoch {epoch}, row {strange[0]} of {len(found)} of {name} validation"
            raise DivergenceError(f"the score became {found[strange[0]]} at {row}")
        return sigmoid(found)

    def _restore(self) -> None:
        if self.progress.best is not None:
            weights, state = self.progress.best
            self.network.load_state_dict(weights)
            self.optimisers.load(state)


@torch.no_grad()
def logits(network: WideDeep, rows: EncodedRows, asked: slice = slice(None)) -> NDArray[np.float64]:
    """Scores of the `asked` rows before the sigmoid, float64 of shape (asked,)."""
    network.eval()
    parts = []
    first, stop, _ = asked.indices(len(rows))
    for start in range(first, stop, SCORING_BATCH):
        part = rows.select_rows(np.arange(start, min(start + SCORING_BATCH, stop)))
        parts.append(network(Batch.from_encoded(part, network.bias.device)).cpu().numpy())
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def predict(network: WideDeep, rows: EncodedRows) -> NDArray[np.float64]:
    """P(y = 1 | x) of each row, float64 of shape (rows,)."""
    return sigmoid(logits(network, rows))


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logit)), in a form that doesn't overflow."""
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logit))
    return found

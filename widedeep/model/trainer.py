"""Joint training: one logistic loss, FTRL on the wide part and AdaGrad on everything else.

Both parts are updated by the same minibatch; they are not trained apart and averaged (paper,
section 3.3). `Trainer.epochs` trains until validation stops improving, `Trainer.catch_up` for a
fixed number of epochs; both yield an `EpochResult` after each epoch.
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
from widedeep.features import Examples
from widedeep.inputs import Device, InputError, Precision
from widedeep.model.adagrad import AdaGrad
from widedeep.model.batch import BatchSlice, Minibatch
from widedeep.model.compute import BackgroundThread, fast_matmul, torch_threads, training_dtype
from widedeep.model.distributed import Replicas, SingleProcess
from widedeep.model.ftrl import Ftrl, FtrlConfig
from widedeep.model.network import WideDeep, logits, sigmoid
from widedeep.model.sparse_optimiser import SparseOptimiser
from widedeep.parallel import look_ahead


class DivergenceError(ArithmeticError):
    """The loss or a score is no longer a finite number; the training is discarded."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Settings of a training.

    Over all epochs the learning rate falls to 0 along a cosine (Loshchilov and Hutter, "SGDR",
    2017).

    Attributes:
        batch: Rows of a minibatch.
        epochs: Most epochs of a cold start.
        patience: Training stops after so many epochs without a better validation loss.
        catch_up_epochs: Epochs in which new examples are learned, without validation to stop by.
        catch_up_rate: Factor of the learning rate in a catch-up; the AdaGrad sums that a warm start
            carries over have made its steps small.
        most_examples: Examples that are learned at most, counted once an epoch. With more there are
            fewer epochs, but at least one.
        learning_rate: Of AdaGrad.
        id_rate: Factor of the learning rate for embeddings of categories and bags.
        initial_accumulator: Of AdaGrad.
        ftrl: Settings of the wide part's optimiser.
        precision: Of the hidden layers' matrix products.
        device: Where tensors are kept in training.
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
            raise InputError(
                f"{self}: expected batch, epochs, patience, catch_up_epochs and most_examples "
                "of at least 1"
            )
        rates = (self.learning_rate, self.id_rate, self.catch_up_rate)
        if min(rates) <= 0 or self.initial_accumulator < 0:
            raise InputError(
                f"{self}: expected learning rates above 0 and an initial_accumulator of at least 0"
            )

    def max_epochs(self, examples: int) -> int:
        """Return how many epochs a cold start learns this number of examples for at most."""
        return self._affordable(self.epochs, examples)

    def max_catch_up_epochs(self, examples: int) -> int:
        """Return how many epochs a catch-up takes for this number of examples; 0 if it is 0."""
        return self._affordable(self.catch_up_epochs, examples) if examples else 0

    def _affordable(self, epochs: int, examples: int) -> int:
        return max(1, min(epochs, self.most_examples // max(examples, 1)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the JSON values of `dataclasses.asdict`."""
        typed = {
            "ftrl": FtrlConfig(**values["ftrl"]),
            "precision": Precision(values.get("precision", Precision.AUTO)),
            "device": Device(values.get("device", Device.AUTO)),
        }
        return cls(**{**values, **typed})


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch achieved. Losses are means in nats per row.

    Attributes:
        epoch: Number of the epoch; 0 is the state before the first step.
        train_loss: None for epoch 0.
        validation_loss: Mean of all validation sets; None for an epoch that learned the rows it
            could have been validated on.
        validation_auc: Of the first validation set; None where the loss is, and if the set has rows
            of one class only.
        seconds: Wall time of the epoch.
        best: Whether its validation loss is the lowest so far.
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
        embeddings = list(network.embeddings.parameters())
        owned = {id(network.wide), *map(id, embeddings)}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in owned]
        rate, accumulator = config.learning_rate, config.initial_accumulator
        self.embeddings = AdaGrad(embeddings, rate * config.id_rate, accumulator)
        self.deep = AdaGrad(rest, rate, accumulator)
        # The rows of each parameter by name: the embeddings' one parameter holds many tables.
        self._parts: dict[Tensor, dict[str, slice]] = {
            parameter: {name: slice(None)} for name, parameter in network.named_parameters()
        }
        table_rows = network.embeddings.table_rows.items()
        tables = {f"embeddings.{name}": rows for name, rows in table_rows}
        self._parts |= dict.fromkeys(embeddings, tables)

    @property
    def all(self) -> tuple[SparseOptimiser, ...]:
        """All optimisers, that of the wide part first."""
        return self.wide, self.embeddings, self.deep

    def set_rate_factor(self, factor: float) -> None:
        """Multiply AdaGrad's learning rates by `factor` from now on."""
        self.embeddings.rate_factor = self.deep.rate_factor = factor

    def state(self) -> dict[str, Tensor]:
        """Return views of the state as `<parameter>/<name>`: `wide/z`, `wide/n`, else `…/sum`."""
        return {
            f"{part}/{name}": value[rows]
            for optimiser in self.all
            for parameter, values in optimiser.state.items()
            for part, rows in self._parts[parameter].items()
            for name, value in values.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Overwrite the whole state in place; `state` is named as `state` returns it."""
        for name, value in self.state().items():
            value.copy_(state[name])


@dataclass(slots=True)
class Progress:
    """How far a trainer has come.

    Attributes:
        epoch: The last epoch that ended; None before the first one.
        epochs_since_best: Epochs since the one with the lowest validation loss.
        best_loss: That loss.
        best: Weights and optimiser state after that epoch.
    """

    epoch: int | None = None
    epochs_since_best: int = 0
    best_loss: float = math.inf
    best: tuple[Mapping[str, Tensor], Mapping[str, Tensor]] | None = None


class Trainer:
    """Train `network` in place, in one process or as one of several `replicas`."""

    def __init__(
        self,
        network: WideDeep,
        optimisers: Optimisers,
        config: TrainingConfig,
        generator: np.random.Generator,
        replicas: Replicas | None = None,
    ) -> None:
        """Prepare a training; all replicas start from the first one's weights.

        Args:
            network: The network, already on the device that it is trained on.
            optimisers: Its optimisers.
            config: Settings.
            generator: Source of the order of the rows.
            replicas: The processes that train it; None for this one alone.
        """
        self.network = network
        self.optimisers = optimisers
        self.config = config
        self.progress = Progress()
        self._generator = generator
        self._device = network.bias.device
        network.threads = torch.get_num_threads()
        network.training_dtype = training_dtype(
            config.precision, network.layer_widths, self._device
        )
        self._background = BackgroundThread(network.threads)
        self._replicas = replicas or SingleProcess()
        self._replicas.broadcast({**network.state_dict(), **optimisers.state()})

    def epochs(
        self, training: Examples, validation: Mapping[str, Examples]
    ) -> Iterator[EpochResult]:
        """Train until validation stops improving, yielding after each epoch.

        After the last one the network has the weights of the best epoch, and the optimisers their
        state then.

        Raises:
            DivergenceError: A loss or a score is not finite.
        """
        progress = self.progress
        epochs = self.config.max_epochs(len(training))
        rate_factors = self._rate_factors(progress.epoch or 0, epochs, len(training))
        while progress.epochs_since_best < self.config.patience:
            epoch = (progress.epoch or 0) + 1
            if epoch > epochs:
                break
            started = time.perf_counter()
            loss = self._epoch(epoch, training, rate_factors)
            yield self._validate(epoch, loss, validation, started)
        self._restore_best()

    def catch_up(
        self, training: Examples, validation: Mapping[str, Examples], last: int
    ) -> Iterator[EpochResult]:
        """Train for `catch_up_epochs` after epoch `last`, if there is anything to learn.

        If there is validation, the network is validated once before it learns: interactions that it
        is about to learn are the most honest measure of how good it is. Raises as `epochs` does.
        """
        progress = self.progress
        if progress.epoch is None:
            progress.epoch = last
            if validation:
                yield self._validate(last, None, validation, time.perf_counter())
        epochs = self.config.max_catch_up_epochs(len(training))
        done, rate = progress.epoch - last, self.config.catch_up_rate
        rate_factors = self._rate_factors(done, epochs, len(training), rate)
        for epoch in range(progress.epoch + 1, last + 1 + epochs):
            started = time.perf_counter()
            loss = self._epoch(epoch, training, rate_factors)
            progress.epoch = epoch
            yield EpochResult(epoch, loss, None, None, time.perf_counter() - started)

    def _rate_factors(
        self, done: int, epochs: int, rows: int, first: float = 1.0
    ) -> Iterator[float]:
        """Return each minibatch's factor of the rate, from `first` to 0, after `done` epochs."""
        minibatches = -(-rows // self.config.batch)
        steps, left = epochs * minibatches, range(done * minibatches, epochs * minibatches)
        return (first * (0.5 + 0.5 * math.cos(math.pi * i / steps)) for i in left)

    def _epoch(self, epoch: int, training: Examples, rate_factors: Iterator[float]) -> float:
        """Learn all rows once in random order; return the weighted mean loss."""
        self.network.train()
        order = self._generator.permutation(len(training))
        total = 0.0
        for start, minibatch in self._minibatches(training, order):
            self.optimisers.set_rate_factor(next(rate_factors))
            loss = self._step(minibatch)
            if not np.isfinite(loss):
                position = f"epoch {epoch}, row {start} of {len(order)}"
                raise DivergenceError(f"the training loss became {loss} at {position}")
            total += loss
        return total / float(training.weight.sum(dtype=np.float64))

    def _minibatches(
        self, training: Examples, order: NDArray[np.int64]
    ) -> Iterator[tuple[int, Minibatch]]:
        """Yield minibatches with their start in `order`; the next is made while one is learned."""
        batch = self.config.batch
        pending = (
            (
                start,
                self._background.submit(self._minibatch, training, order[start : start + batch]),
            )
            for start in range(0, len(order), batch)
        )
        for start, minibatch in look_ahead(pending):
            yield start, minibatch()

    def _minibatch(self, training: Examples, rows: NDArray[np.int64]) -> Minibatch:
        part = BatchSlice(len(rows), self._replicas.share(len(rows)))
        masks = self.network.draw_masks(part)
        return Minibatch.from_examples(training.select_rows(rows[part.rows]), masks, self._device)

    @torch_threads(1)
    def _step(self, minibatch: Minibatch) -> float:
        """Learn a minibatch and return its summed loss; if that is not finite, learn nothing."""
        with fast_matmul(self._device):
            loss = self._backward(minibatch)
        if np.isfinite(loss):
            wait_for_wide = self._background.submit(self.optimisers.wide.step)
            self.optimisers.embeddings.step()
            self.optimisers.deep.step()
            wait_for_wide()
        return loss

    def _backward(self, minibatch: Minibatch) -> float:
        """Compute the gradient of every parameter; return the minibatch's summed loss."""
        loss = self._loss(minibatch)
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return self._replicas.all_reduce(loss, self.network.parameters())

    def _loss(self, minibatch: Minibatch) -> Tensor:
        """Return the summed loss of a minibatch.

        It is a sum and not a mean because FTRL's penalties refer to the summed loss; AdaGrad does
        not depend on the scale (except through its initial accumulator).
        """
        logit = self.network(minibatch.batch, minibatch.masks)
        label, weight = minibatch.label, minibatch.weight
        return binary_cross_entropy_with_logits(logit, label, weight, reduction="sum")

    def _validate(
        self,
        epoch: int,
        train_loss: float | None,
        validation: Mapping[str, Examples],
        started: float,
    ) -> EpochResult:
        """Measure the network, and remember its state if it is the best so far."""
        scores = [
            (rows.label, self._probabilities(epoch, name, rows))
            for name, rows in validation.items()
        ]
        loss = float(np.mean([metrics.log_loss(label, p) for label, p in scores]))
        progress, best = self.progress, loss < self.progress.best_loss
        progress.epoch = epoch
        progress.epochs_since_best = 0 if best else progress.epochs_since_best + 1
        if best:
            progress.best_loss = loss
            progress.best = copy.deepcopy((self.network.state_dict(), self.optimisers.state()))
        label = scores[0][0]
        auc = metrics.auc(*scores[0]) if 0 < label.sum() < len(label) else None
        return EpochResult(epoch, train_loss, loss, auc, time.perf_counter() - started, best)

    def _probabilities(self, epoch: int, name: str, validation: Examples) -> NDArray[np.float64]:
        rows = len(validation)
        own = logits(self.network, validation.rows, self._replicas.share(rows))
        scores = self._replicas.all_gather(own, rows)
        infinite = np.flatnonzero(~np.isfinite(scores))
        if len(infinite):
            position = f"epoch {epoch}, row {infinite[0]} of {rows} of {name} validation"
            raise DivergenceError(f"the score became {scores[infinite[0]]} at {position}")
        return sigmoid(scores)

    def _restore_best(self) -> None:
        if self.progress.best is not None:
            weights, state = self.progress.best
            self.network.load_state_dict(weights)
            self.optimisers.load(state)

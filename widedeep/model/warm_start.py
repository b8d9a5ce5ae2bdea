"""Where a training starts, cold or warm, and how a warm start carries a model over.

`TrainingStart.choose` decides whether a run may continue the champion. `warm_start` fills a new
network from the previous model (paper, section 4.2).

The paper starts from the previous embeddings and linear weights. Here the function itself is
preserved: before the first step a row of known ids gets the previous model's logit to the bit,
whatever ids were added, removed or reordered. Weights travel by id, never by row number, and with
them the state of their optimiser: FTRL's weight is a function of (z, n), so a weight that travelled
without them would be overwritten at its first gradient.

A new id starts with the weights of out-of-vocabulary, by which its rows were scored until now; a
new cross starts at 0, since it added nothing. Both start without past gradients, so they learn at
the full rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from widedeep.data.split import Split
from widedeep.features import Transform, match_wide_ids, wide_blocks
from widedeep.features.vocabulary import OUT_OF_VOCABULARY
from widedeep.features.wide_ids import ABSENT
from widedeep.inputs import InputError, StartMode, to_iso
from widedeep.model.compute import CPU
from widedeep.model.network import NetworkConfig, WideDeep
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import Optimisers, TrainingConfig
from widedeep.store import ModelVersion


@dataclass(frozen=True, slots=True)
class TrainingStart:
    """Where a training starts.

    Attributes:
        reason: `cold` or `warm`, a comma, and why, for logs and reports.
        previous: The version that a warm start continues; None for a cold start.
    """

    reason: str
    previous: ModelVersion | None = None

    @classmethod
    def choose(
        cls, mode: StartMode, champion: ModelVersion | None, split: Split, preset: Preset
    ) -> Self:
        """Decide by the mode and by what the champion has learned from.

        Raises:
            InputError: `mode` is warm and the champion cannot be continued.
        """
        if mode is StartMode.COLD:
            return cls("cold, as requested")
        objection = "there is no champion yet"
        if champion is not None:
            objection = _objection(TrainedModel.load(champion.gated.path), split, preset)
            if not objection:
                return cls(f"warm, from version {champion.number}", champion)
        if mode is StartMode.WARM:
            raise InputError(f"no warm start is possible: {objection}; use --mode cold or auto")
        return cls(f"cold, {objection}")

    @property
    def warm(self) -> bool:
        """Whether the training continues a previous model."""
        return self.previous is not None

    @property
    def model_id(self) -> str | None:
        """The previous model's artefact id, for the keys of what is made from it."""
        return self.previous.gated.id if self.previous else None

    @property
    def folder(self) -> Path | None:
        """The previous model's folder, None for a cold start."""
        return self.previous.gated.path if self.previous else None

    def load_model(self) -> TrainedModel | None:
        """Load the previous model; None for a cold start."""
        return TrainedModel.load(self.folder) if self.folder else None


def _objection(champion: TrainedModel, split: Split, preset: Preset) -> str:
    """Return why a run must not continue the champion, empty if it may."""
    if champion.network.config != preset.network or champion.transform.spec != preset.features:
        return f"the champion's features or network differ from those of preset {preset.name!r}"
    if champion.learned_until > split.holdout_from:
        return (
            f"the champion learned from interactions up to {to_iso(champion.learned_until)}, past "
            f"this run's holdout-from {to_iso(split.holdout_from)}"
        )
    return ""


@dataclass(frozen=True, slots=True)
class CarriedRows:
    """How many rows of one table a warm start carried over, added and dropped."""

    carried: int
    added: int
    dropped: int


def warm_start(
    previous: TrainedModel, network: WideDeep, transform: Transform, training: TrainingConfig
) -> tuple[Optimisers, dict[str, CarriedRows]]:
    """Fill a new network from a previous model.

    Args:
        previous: The previous model, on the CPU.
        network: A new network for `transform`, on any device; it is filled in place.
        transform: Encodes the rows that the network will learn.
        training: Settings of the new training.

    Returns:
        The network's optimisers, in the state carried over, and what became of each table.

    Raises:
        InputError: The previous model has other features or another architecture.
    """
    check_compatible(previous, network.config, transform)
    weights = previous.network.state_dict()
    sources = _row_sources(previous.transform, transform, network.config)
    for name, weight in network.state_dict().items():
        weight.copy_(_carry(weights[name], sources.get(name)))
    optimisers = Optimisers(network, training)
    optimisers.load(_carry_state(previous.optimiser_state, optimisers.state(), sources))
    if training.ftrl != previous.training.ftrl:
        optimisers.wide.keep_weights()
    carried = {name: source.count(len(weights[name])) for name, source in sources.items()}
    return optimisers, carried


def check_compatible(previous: TrainedModel, network: NetworkConfig, transform: Transform) -> None:
    """Check that a warm start can preserve the function of `previous`.

    Raises:
        InputError: It cannot; the message names the first difference.
    """
    pairs = {
        "network": (previous.network.config, network),
        "features": (previous.transform.spec, transform.spec),
        "prior": (previous.transform.prior, transform.prior),
    }
    for name, (old, new) in pairs.items():
        if old != new:
            difference = _first_difference(name, old, new)
            raise InputError(f"cannot warm-start: the previous model's {difference}; start cold")
    for name, normaliser in previous.transform.normalisers.items():
        if not np.array_equal(normaliser.boundaries, transform.normalisers[name].boundaries):
            raise InputError(
                f"cannot warm-start: the quantile boundaries of {name} differ from the previous "
                "model's; fit the features with its transform, or start cold"
            )


def _first_difference(name: str, old: Any, new: Any) -> str:  # noqa: ANN401
    """Return the path of the first value in which two unequal settings differ, and both values."""
    if is_dataclass(old) and is_dataclass(new):
        names = [field.name for field in fields(old)]
        inner = [(f"{name}.{n}", getattr(old, n), getattr(new, n)) for n in names]
    elif isinstance(old, tuple) and isinstance(new, tuple):
        pairs = enumerate(zip_longest(old, new))
        inner = [(f"{name}[{i}]", *pair) for i, pair in pairs]
    else:
        return f"{name} is {old!r}, the new one's {new!r}"
    return next(_first_difference(*part) for part in inner if part[1] != part[2])


@dataclass(frozen=True, slots=True)
class _RowSource:
    """Where the rows of a new table start from.

    Attributes:
        rows: For each new row the row of the old table, int64 (rows,); ABSENT starts at zero.
        fresh: Rows of new ids, bool (rows,): they take the weights, but no past gradients.
    """

    rows: NDArray[np.int64]
    fresh: NDArray[np.bool_]

    def count(self, previous_rows: int) -> CarriedRows:
        carried = int((~self.fresh).sum())
        return CarriedRows(carried, int(self.fresh.sum()), previous_rows - carried)


def _row_sources(old: Transform, new: Transform, network: NetworkConfig) -> dict[str, _RowSource]:
    """Return the sources of all tables whose rows stand for ids, by parameter name."""
    sources = {
        f"embeddings.{name}": _vocabulary_source(old, new, name)
        for name in new.vocabularies
        if network.deep
    }
    if network.wide:
        sources["wide"] = _wide_source(old, new)
    return sources


def _vocabulary_source(old: Transform, new: Transform, name: str) -> _RowSource:
    """Match an embedding table by id; a new id starts from out-of-vocabulary."""
    codes = old.vocabularies[name].encode(new.vocabularies[name].ids).astype(np.int64)
    rows = np.concatenate([[OUT_OF_VOCABULARY], codes])
    fresh = np.concatenate([[False], codes == OUT_OF_VOCABULARY])
    return _RowSource(rows, fresh)


def _wide_source(old: Transform, new: Transform) -> _RowSource:
    """Match wide ids by their features; a new id of a feature starts from out-of-vocabulary."""
    rows = match_wide_ids(new, old)
    fresh = rows == ABSENT
    for block in wide_blocks(new):
        if len(block.features) == 1:
            unknown = old.wide_offsets[block.name] + OUT_OF_VOCABULARY
            rows[block.wide_ids][fresh[block.wide_ids]] = unknown
    return _RowSource(rows, fresh)


def _carry(old: Tensor, source: _RowSource | None) -> Tensor:
    """Gather the rows of `old` that the new ones start from, 0 where there is none."""
    if source is None:
        return old
    rows = torch.from_numpy(source.rows)
    gathered = old[rows.clamp(min=0)]
    gathered[rows == ABSENT] = 0
    return gathered


def _carry_state(
    old: Mapping[str, Tensor], initial: Mapping[str, Tensor], sources: Mapping[str, _RowSource]
) -> dict[str, Tensor]:
    """Gather the old optimiser state; fresh rows keep the initial state of their own."""
    state = {}
    for name, value in initial.items():
        source = sources.get(name.partition("/")[0])
        if source is None:
            state[name] = old[name]
            continue
        fresh = torch.from_numpy(source.fresh)
        state[name] = torch.where(fresh[:, None], value.to(CPU), _carry(old[name], source))
    return state

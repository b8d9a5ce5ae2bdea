"""A new model that begins where the previous one ended (paper, section 4.2).

The paper starts from the previous embeddings and linear weights. Here the function itself is
preserved: before the first step, a row of known ids gets the previous model's logit to the bit,
whatever tokens were added, removed or reordered. Weights travel by token, never by row number, and
with them what their optimiser remembers: FTRL's weight is a function of (z, n), so a weight that
travelled alone would be overwritten at its first gradient.

A new token begins where out-of-vocabulary stands, which is what its rows were scored by until now;
a new cross begins at 0, since it fired nothing. Both begin with no gradients behind them, so they
learn at full rate.

Where a training begins: cold, or warm from a previous model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from widedeep.data.split import Split
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import OUT_OF_VOCABULARY
from widedeep.features.wide_ids import ABSENT, match_wide_ids, wide_blocks
from widedeep.inputs import InputError, to_iso
from widedeep.model.compute import CPU
from widedeep.model.network import NetworkConfig, WideDeep
from widedeep.model.presets import Preset
from widedeep.model.trained_model import ModelVersion, TrainedModel
from widedeep.model.trainer import Optimisers, TrainingConfig

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CarriedRows:
    """What became of one table's rows."""

    carried: int
    added: int
    dropped: int


@dataclass(frozen=True, slots=True)
class _Source:
    """For each row of a new table, the row of the old one it begins from (or ABSENT: at zero).

    `fresh` marks rows of new tokens: they take the value, but no memory of gradients.
    """

    rows: Rows
    fresh: NDArray[np.bool_]

    def report(self, previous_rows: int) -> CarriedRows:
        carried = int((~self.fresh).sum())
        return CarriedRows(carried, int(self.fresh.sum()), previous_rows - carried)


def warm_start(
    previous: TrainedModel, network: WideDeep, transform: Transform, training: TrainingConfig
) -> tuple[Optimisers, dict[str, CarriedRows]]:
    """Fill `network` (new, for `transform`) from `previous`; returns its optimisers and a report.

    The network may lie on any device, the previous model lies with the processor.

    Raises:
        InputError: the previous model has other features or another architecture.
    """
    check_compatible(previous, network.config, transform)
    weights = previous.network.state_dict()
    sources = {
        f"embeddings.{name}": _vocabulary_source(previous.transform, transform, name)
        for name in transform.vocabularies
        if network.config.deep
    }
    if network.config.wide:
        sources["wide"] = _wide_source(previous.transform, transform)
    for name, weight in network.state_dict().items():
        weight.copy_(_carry(weights[name], sources.get(name)))
    optimisers = Optimisers(network, training)
    optimisers.load(_carried_state(previous.state, optimisers.state(), sources))
    if training.ftrl != previous.training.ftrl:
        optimisers.wide.keep_weights()
    report = {name: s.report(len(weights[name])) for name, s in sources.items()}
    return optimisers, report


def check_compatible(previous: TrainedModel, network: NetworkConfig, transform: Transform) -> None:
    """Raise InputError, naming the difference, where a warm start cannot preserve the function."""
    pairs = {
        "network": (previous.network.config, network),
        "features": (previous.transform.spec, transform.spec),
        "prior": (previous.transform.prior, transform.prior),
    }
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            difference = _difference(name, found, wanted)
            raise InputError(f"cannot warm-start: the previous model's {difference}; start cold")
    for name, normaliser in previous.transform.normalisers.items():
        if not np.array_equal(normaliser.boundaries, transform.normalisers[name].boundaries):
            raise InputError(
                f"cannot warm-start: the quantile boundaries of {name} are not the previous "
                "model's; fit the features with its transform, or start cold"
            )


def _difference(name: str, found: Any, wanted: Any) -> str:  # noqa: ANN401
    """The first place at which two unequal settings differ, and what stands there."""
    if is_dataclass(found) and is_dataclass(wanted):
        names = [field.name for field in fields(found)]
        inner = [(f"{name}.{n}", getattr(found, n), getattr(wanted, n)) for n in names]
    elif isinstance(found, tuple) and isinstance(wanted, tuple):
        pairs = enumerate(zip_longest(found, wanted))
        inner = [(f"{name}[{i}]", *pair) for i, pair in pairs]
    else:
        return f"{name} is {found!r}, the new one's {wanted!r}"
    return next(_difference(*part) for part in inner if part[1] != part[2])


def _vocabulary_source(old: Transform, new: Transform, name: str) -> _Source:
    """By token; a new token, as the unknown, from the unknown."""
    found = old.vocabularies[name].encode(new.vocabularies[name].tokens).astype(np.int64)
    rows = np.concatenate([[OUT_OF_VOCABULARY], found])
    fresh = np.concatenate([[False], found == OUT_OF_VOCABULARY])
    return _Source(rows, fresh)


def _wide_source(old: Transform, new: Transform) -> _Source:
    """By what each wide id stands for; a new token of a raw feature, as the unknown."""
    rows = match_wide_ids(new, old)
    fresh = rows == ABSENT
    for block in wide_blocks(new):
        if len(block.features) == 1:
            rows[block.ids][fresh[block.ids]] = old.wide_offsets[block.name] + OUT_OF_VOCABULARY
    return _Source(rows, fresh)


def _carry(old: Tensor, source: _Source | None) -> Tensor:
    """Gather rows of `old`; zeros where a row comes from nowhere."""
    if source is None:
        return old
    rows = torch.from_numpy(source.rows)
    gathered = old[rows.clamp(min=0)]
    gathered[rows == ABSENT] = 0
    return gathered


def _carried_state(
    old: Mapping[str, Tensor], beginnings: Mapping[str, Tensor], sources: Mapping[str, _Source]
) -> dict[str, Tensor]:
    """What the old optimisers remember, by token; new tokens keep their own beginning."""
    state = {}
    for name, beginning in beginnings.items():
        source = sources.get(name.partition("/")[0])
        if source is None:
            state[name] = old[name]
            continue
        fresh = torch.from_numpy(source.fresh)
        state[name] = torch.where(fresh[:, None], beginning.to(CPU), _carry(old[name], source))
    return state


class StartMode(StrEnum):
    """What a user may ask for: `auto` is warm where that is possible and honest."""

    AUTO = "auto"
    WARM = "warm"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class TrainingStart:
    """`previous` is what a warm start begins from; `reason` is a phrase for people."""

    reason: str
    previous: ModelVersion | None = None

    @property
    def warm(self) -> bool:
        """Whether there is a previous model to begin from."""
        return self.previous is not None

    @property
    def model_id(self) -> str | None:
        """The previous model's id, for keys of what is made from it."""
        return self.previous.gated.id if self.previous else None

    @classmethod
    def choose(
        cls, mode: StartMode, champion: ModelVersion | None, split: Split, preset: Preset
    ) -> Self:
        """Decide by the mode and by what the champion has seen.

        Raises:
            InputError: a warm start was asked for and is not possible.
        """
        if mode is StartMode.COLD:
            return cls("cold, as asked")
        objection = "there is no champion yet"
        if champion is not None:
            found = _objection(TrainedModel.load(champion.gated.path), split, preset)
            if found is None:
                return cls(f"warm, from version {champion.number}", champion)
            objection = f"not from the champion: {found}"
        if mode is StartMode.WARM:
            raise InputError(f"no warm start is possible, {objection}; use --mode cold or auto")
        return cls(f"cold, {objection}")

    @property
    def folder(self) -> Path | None:
        """Where the previous model is, if any."""
        return self.previous.gated.path if self.previous else None

    def model(self) -> TrainedModel | None:
        """The previous model, if any."""
        return TrainedModel.load(self.folder) if self.folder else None


def _objection(previous: TrainedModel, split: Split, preset: Preset) -> str | None:
    """Why a run must not begin from `previous`, if it must not."""
    if previous.network.config != preset.network or previous.transform.spec != preset.features:
        return f"it has other features or another architecture than preset {preset.name!r}"
    if previous.learned_until > split.holdout_from:
        return (
            f"it learned from ratings up to {to_iso(previous.learned_until)}, past this run's "
            f"holdout-from {to_iso(split.holdout_from)}"
        )
    return None

"""Where a training begins: cold, or warm from a previous model."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from widedeep.data.split import Split
from widedeep.errors import InputError
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.version import ModelVersion
from widedeep.when import iso


class Mode(StrEnum):
    """What a user may ask for: `auto` is warm where that is possible and honest."""

    AUTO = "auto"
    WARM = "warm"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class Start:
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
        cls, mode: Mode, champion: ModelVersion | None, split: Split, preset: Preset
    ) -> Self:
        """Decide by the mode and by what the champion has seen.

        Raises:
            InputError: a warm start was asked for and is not possible.
        """
        if mode is Mode.COLD:
            return cls("cold, as asked")
        objection = "there is no champion yet"
        if champion is not None:
            found = _objection(TrainedModel.load(champion.gated.path), split, preset)
            if found is None:
                return cls(f"warm, from version {champion.number}", champion)
            objection = f"not from the champion: {found}"
        if mode is Mode.WARM:
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
            f"it learned from ratings up to {iso(previous.learned_until)}, past this run's "
            f"holdout-from {iso(split.holdout_from)}"
        )
    return None

"""A training between two epochs: all it takes to go on from there as if nothing had happened."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from widedeep.model.training import Progress, Trainer

_TENSORS = "checkpoint.safetensors"
_JSON = "checkpoint.json"
_DRAWS = "draws"
_PARTS = ("weights", "memories", "best_weights", "best_memories")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a trainer and of what its randomness comes from.

    Attributes:
        tensors: By part and name: weights, memories of the optimisers, both of the best epoch (if
            there was one), and the state of torch's generator.
        progress: Epoch, epochs since the best one, and its loss.
        order: The state of numpy's generator.
        phase: JSON values that the owner wants back.
    """

    tensors: Mapping[str, Tensor]
    progress: tuple[int | None, int, float]
    order: Mapping[str, Any]
    phase: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        trainer: Trainer,
        draws: torch.Generator,
        order: np.random.Generator,
        phase: Mapping[str, Any],
    ) -> Self:
        """Copy nothing: to be saved before training goes on."""
        progress = trainer.progress
        now = (trainer.network.state_dict(), trainer.optimisers.state())
        held = zip(_PARTS, (*now, *(progress.best or ())), strict=False)
        tensors = {f"{part}/{name}": value for part, of in held for name, value in of.items()}
        return cls(
            {**tensors, _DRAWS: draws.get_state()},
            (progress.epoch, progress.worse, progress.best_loss),
            order.bit_generator.state,
            phase,
        )

    def restore(self, trainer: Trainer, draws: torch.Generator, order: np.random.Generator) -> None:
        """Put all of them into the state they were in; `trainer` is new."""
        trainer.network.load_state_dict(self._part("weights"))
        trainer.optimisers.load(self._part("memories"))
        best = self._part("best_weights"), self._part("best_memories")
        trainer.progress = Progress(*self.progress, best if best[0] else None)
        draws.set_state(self.tensors[_DRAWS])
        order.bit_generator.state = self.order

    def save(self, folder: Path) -> None:
        """Write safetensors and JSON into `folder`."""
        save_file({k: v.contiguous() for k, v in self.tensors.items()}, folder / _TENSORS)
        text = {"progress": self.progress, "order": self.order, "phase": self.phase}
        (folder / _JSON).write_text(json.dumps(text), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        text = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        tensors = load_file(folder / _TENSORS)
        return cls(tensors, tuple(text["progress"]), text["order"], text["phase"])

    def _part(self, name: str) -> dict[str, Tensor]:
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

"""A trained model with everything needed to use it or to train it further, and its files.

What `save` writes, `load` returns to the bit.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from widedeep.features import FeatureSupport, Transform
from widedeep.inputs import InputError
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trainer import Optimisers, TrainingConfig

FORMAT = 5
"""Format of the files; it is raised whenever older ones can no longer be read."""

_JSON = "model.json"
_WEIGHTS = "weights.safetensors"
_OPTIMISERS = "optimisers.safetensors"
_SUPPORT = "support.safetensors"
_TRANSFORM = "transform"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model and its training.

    Attributes:
        transform: Turns raw rows into encoded rows.
        network: The trained network, on the CPU.
        training: Settings of the training.
        optimiser_state: What the optimisers remember, named as by `Optimisers.state`.
        learned_until: UNIX seconds; every interaction that the model learned from, or by which its
            best epoch was chosen, is older.
        support: How often each wide feature fired in training.
    """

    transform: Transform
    network: WideDeep
    training: TrainingConfig
    optimiser_state: Mapping[str, Tensor]
    learned_until: int
    support: FeatureSupport

    @property
    def wide_weights(self) -> NDArray[np.float32]:
        """A copy of each wide id's weight, (wide_size,); zeros if the network has no wide part."""
        weights = self.network.wide.detach().cpu().numpy()[:, 0].copy()
        return weights if len(weights) else np.zeros(self.transform.wide_size, np.float32)

    def save(self, folder: Path) -> None:
        """Write JSON, Parquet and safetensors (no pickle) into `folder`."""
        self.transform.save(folder / _TRANSFORM)
        save_file(self.network.state_dict(), folder / _WEIGHTS)
        state = {name: value.contiguous() for name, value in self.optimiser_state.items()}
        save_file(state, folder / _OPTIMISERS)
        self.support.save(folder / _SUPPORT)
        text = {
            "format": FORMAT,
            "network": asdict(self.network.config),
            "training": asdict(self.training),
            "learned_until": self.learned_until,
        }
        (folder / _JSON).write_text(json.dumps(text, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the same rows get the same logits to the bit.

        Raises:
            InputError: The files have another format than this version reads.
        """
        text: dict[str, Any] = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        if text.get("format") != FORMAT:
            raise InputError(
                f"{folder}: unsupported model format {text.get('format')} (this version reads "
                f"{FORMAT}); retrain in a new --home"
            )
        transform = Transform.load(folder / _TRANSFORM)
        config = NetworkConfig.from_json(text["network"])
        network = WideDeep(config, InputShape.from_transform(transform), torch.Generator())
        network.load_state_dict(load_file(folder / _WEIGHTS))
        network.eval()
        return cls(
            transform,
            network,
            TrainingConfig.from_json(text["training"]),
            load_file(folder / _OPTIMISERS),
            text["learned_until"],
            FeatureSupport.load(folder / _SUPPORT),
        )

    def restore_optimisers(self) -> Optimisers:
        """Return optimisers in the state in which the training left them."""
        optimisers = Optimisers(self.network, self.training)
        optimisers.load(self.optimiser_state)
        return optimisers

"""A trained model and all it needs to be used, or to be trained further.

A model in the registry.
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

from widedeep.features.encoded import FeatureSupport
from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trainer import Optimisers, TrainingConfig

FORMAT = 3
"""Of the files; it changes when older ones can no longer be read."""

_JSON = "model.json"
_WEIGHTS = "weights.safetensors"
_OPTIMISERS = "optimisers.safetensors"
_EVIDENCE = "evidence.safetensors"
_TRANSFORM = "transform"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """`state` is what the optimisers remember, as `Optimisers.state` names it.

    Every rating it learned from, or was chosen by (early stopping), is older than `learned_until`,
    UNIX seconds. `evidence` counts what it learned from by wide feature.
    """

    transform: Transform
    network: WideDeep
    training: TrainingConfig
    state: Mapping[str, Tensor]
    learned_until: int
    evidence: FeatureSupport

    @property
    def wide_weights(self) -> NDArray[np.float32]:
        """The weight of each wide id, (wide_size,); all 0 for a network without a wide part."""
        held = self.network.wide.detach().cpu().numpy()[:, 0].copy()
        return held if len(held) else np.zeros(self.transform.wide_size, np.float32)

    def save(self, folder: Path) -> None:
        """Write JSON, Parquet and safetensors (no pickle) into `folder`."""
        self.transform.save(folder / _TRANSFORM)
        save_file(self.network.state_dict(), folder / _WEIGHTS)
        save_file({k: v.contiguous() for k, v in self.state.items()}, folder / _OPTIMISERS)
        self.evidence.save(folder / _EVIDENCE)
        text = {
            "format": FORMAT,
            "network": asdict(self.network.config),
            "training": asdict(self.training),
            "learned_until": self.learned_until,
        }
        (folder / _JSON).write_text(json.dumps(text, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the same rows get the same logits to the bit."""
        text: dict[str, Any] = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        if text.get("format") != FORMAT:
            raise InputError(
                f"{folder}: a model of format {text.get('format')}, wanted is {FORMAT}; it was "
                "made by another version of widedeep, so begin anew in another --home"
            )
        transform = Transform.load(folder / _TRANSFORM)
        config = NetworkConfig.from_json(text["network"])
        network = WideDeep(config, InputShape.of(transform), torch.Generator())
        network.load_state_dict(load_file(folder / _WEIGHTS))
        network.eval()
        return cls(
            transform,
            network,
            TrainingConfig.from_json(text["training"]),
            load_file(folder / _OPTIMISERS),
            text["learned_until"],
            FeatureSupport.load(folder / _EVIDENCE),
        )

    def optimisers(self) -> Optimisers:
        """The optimisers in the state in which training left them."""
        optimisers = Optimisers(self.network, self.training)
        optimisers.load(self.state)
        return optimisers


@dataclass(frozen=True, slots=True)
class StoredModel:
    """The id of an artefact of kind `models`, and the folder of its files."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Its number there and its two models.

    `gated` was judged on a holdout it had not seen; later models start from it and are compared
    with it. `served` answers users: the same one, or `gated` caught up on that holdout.
    """

    number: str
    gated: StoredModel
    served: StoredModel

    @property
    def folder(self) -> Path:
        """The registry's folder of the version, which holds the folders of both."""
        return self.served.path.parents[1]

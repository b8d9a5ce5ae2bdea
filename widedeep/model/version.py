"""A model in the registry."""

from dataclasses import dataclass
from pathlib import Path


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

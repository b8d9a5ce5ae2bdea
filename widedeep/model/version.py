"""A model in the registry."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Its number there, the id of the artefact it was made from, and the folder of its files."""

    number: str
    model_id: str
    path: Path

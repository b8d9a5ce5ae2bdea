"""A registered version, as a server finds it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """The folders of what it serves and of what it came with."""

    model: str
    number: str
    served: Path
    history: Path

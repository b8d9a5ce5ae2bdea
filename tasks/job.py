"""One retrain: what its stages need to know besides each other's artefacts."""

from dataclasses import dataclass

from tasks.engine import LOCAL, Engine
from tasks.ingest import Ingested, Window
from widedeep.errors import InputError
from widedeep.home import Home
from widedeep.model.device import Device
from widedeep.model.precision import Precision
from widedeep.model.presets import Preset
from widedeep.model.publication import Publication
from widedeep.model.start import Mode, Start
from widedeep.model.version import ModelVersion
from widedeep.when import iso


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked for."""

    data: str
    window: Window
    mode: Mode
    preset: str
    publication: Publication
    seed: int
    precision: Precision = Precision.AUTO
    engine: Engine = LOCAL
    device: Device = Device.AUTO

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; a whole number from 0 is wanted")


@dataclass(frozen=True, slots=True)
class Job:
    """`champion` is the version that served when the job began."""

    home: Home
    ingested: Ingested
    preset: Preset
    champion: ModelVersion | None
    start: Start
    seed: int
    engine: Engine = LOCAL

    @property
    def title(self) -> str:
        """Data and as-of, for people."""
        return f"{self.ingested.source.name} as of {iso(self.ingested.split.as_of)[:10]}"

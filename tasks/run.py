"""One retrain: what its stages need to know besides each other's artefacts.

What is worth knowing of a run besides its numbers: settings, moments, origin.

The settings that a search found best, kept for each registered model.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.engine import LOCAL, Engine
from tasks.ingest import Ingested, SplitMoments
from widedeep.choices import Device, Precision, Publish
from widedeep.inputs import InputError, to_iso
from widedeep.model.presets import Preset, Setting, preset, with_settings
from widedeep.model.trained_model import ModelVersion
from widedeep.model.warm_start import StartMode, TrainingStart
from widedeep.store import code_version, drafted
from widedeep.workspace import Workspace


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a user asked for."""

    data: str
    window: SplitMoments
    mode: StartMode
    preset: str
    publication: Publish
    seed: int
    precision: Precision = Precision.AUTO
    engine: Engine = LOCAL
    device: Device = Device.AUTO

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; a whole number from 0 is wanted")


@dataclass(frozen=True, slots=True)
class RunContext:
    """`champion` is the version that served when the job began."""

    workspace: Workspace
    ingested: Ingested
    preset: Preset
    champion: ModelVersion | None
    start: TrainingStart
    seed: int
    engine: Engine = LOCAL

    @property
    def title(self) -> str:
        """Data and as-of, for people."""
        return f"{self.ingested.source.name} as of {to_iso(self.ingested.split.as_of)[:10]}"


@dataclass(frozen=True, slots=True)
class RunInputs:
    """The data set of a run: a digest of what was read, and its counts."""

    name: str
    digest: str
    folder: str
    profile: Mapping[str, int]


def run_inputs(ingested: Ingested) -> RunInputs:
    """The ratings that a run knew."""
    counts = asdict(ingested.counts)
    parts = dict(zip(("train", "validation", "holdout"), ingested.examples, strict=True))
    profile = {**counts, **parts}
    source = ingested.source
    return RunInputs(source.name, ingested.artifact.id, str(source.folder), profile)


def run_parameters(job: RunContext) -> dict[str, Any]:
    """Everything that made the model, for comparing runs."""
    preset, start = job.preset, job.start
    return {
        "data": job.ingested.source.name,
        "preset": preset.name,
        "seed": job.seed,
        "engine": job.engine.name.value,
        "replicas": job.engine.replicas,
        "mode": "warm" if start.warm else "cold",
        "warm_started_from": start.previous.number if start.previous else "nothing",
        "positive_rating": preset.features.history.positive_rating,
        **split_moments(job.ingested),
        **flatten("sampling", asdict(preset.sampling)),
        **flatten("network", asdict(preset.network)),
        **flatten("training", asdict(preset.training)),
    }


def split_moments(ingested: Ingested) -> dict[str, str]:
    """The split's, as ISO-8601."""
    split = ingested.split
    return {
        name: to_iso(getattr(split, name)) for name in ("validation_from", "holdout_from", "as_of")
    }


def run_origin(ingested: Ingested, prefect_run: str | None) -> dict[str, str]:
    """Tags that lead back to where a run came from."""
    commit = git_commit()
    return {
        "prefect.flow_run_id": prefect_run or "none",
        "widedeep.ratings": ingested.artifact.id,
        "widedeep.origin": ingested.source.origin,
        "widedeep.code": code_version("data", "features", "model", "evaluation"),
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def flatten(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings as `prefix_name`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        found |= flatten(f"{prefix}_{name}", value) if nested else {f"{prefix}_{name}": value}
    return found


def git_commit() -> str | None:
    """The project's commit, where it is a checkout and git is installed."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


TUNED = "tuned"


def save_tuned(
    workspace: Workspace, model: str, settings: Mapping[str, Setting], validation_loss: float
) -> Path:
    """Write settings where `preset_by_name` finds them; returns the file."""
    path = _file(workspace, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"settings": dict(settings), "validation_loss": validation_loss}
    with drafted(path) as draft:
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


def preset_by_name(workspace: Workspace, model: str, name: str) -> Preset:
    """A preset by its name, `TUNED` being what the last search on a model's data found best.

    Raises:
        InputError: There is none of that name, or no search yet.
    """
    if name != TUNED:
        return preset(name)
    path = _file(workspace, model)
    if not path.exists():
        raise InputError(f"there are no tuned settings for {model}; begin with: widedeep tune")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return with_settings(preset("default"), found["settings"], TUNED)


def _file(workspace: Workspace, model: str) -> Path:
    return workspace.root / TUNED / f"{model}.json"

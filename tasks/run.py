"""The context of a run: what its stages need to know besides each other's artefacts.

Also what MLflow records of a run besides its numbers (`run_inputs`, `run_parameters`,
`run_origin`), and the settings that a search found best, which are kept for each registered model
(`save_tuned`, `preset_by_name`).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.engine import LOCAL, Engine
from widedeep import InputError
from widedeep.inputs import PresetName, to_iso
from widedeep.store import atomic_write, code_version

# Commands that only look something up load neither Prefect nor torch for their types.
if TYPE_CHECKING:
    from tasks.ingest import Ingested
    from widedeep import Preset, Workspace
    from widedeep.data.source import Source
    from widedeep.model.presets import Setting
    from widedeep.model.warm_start import TrainingStart
    from widedeep.store import ModelVersion


PREFECT_RUN = "prefect.flow_run_id"
"""Tag of a run in MLflow: the id of the Prefect run that made it, or `none`."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """One training: its data, its settings, where it starts, and where it is computed.

    `champion` is the version that served when the run began; None: none did.
    """

    workspace: Workspace
    ingested: Ingested
    preset: Preset
    champion: ModelVersion | None
    start: TrainingStart
    seed: int
    engine: Engine = LOCAL

    @property
    def title(self) -> str:
        """Data set and as-of, as `kmrd-small as of 2018-10-01`."""
        return f"{self.ingested.source.name} as of {to_iso(self.ingested.split.as_of)[:10]}"


@dataclass(frozen=True, slots=True)
class RunInputs:
    """The data set of a run: a digest of what was read, and its counts."""

    name: str
    digest: str
    folder: str
    profile: Mapping[str, int]


def run_inputs(ingested: Ingested) -> RunInputs:
    """Return the data set of a run, with the number of rows in each part."""
    counts = asdict(ingested.counts)
    parts = dict(zip(("train", "validation", "holdout"), ingested.examples, strict=True))
    profile = {**counts, **parts}
    source = ingested.source
    return RunInputs(source.name, ingested.artifact.id, str(source.folder), profile)


def run_parameters(context: RunContext) -> dict[str, Any]:
    """Return all settings that made the model, by which runs are compared."""
    preset, start = context.preset, context.start
    return {
        "data": context.ingested.source.name,
        "preset": preset.name,
        "seed": context.seed,
        "engine": context.engine.engine.value,
        "replicas": context.engine.replicas,
        "mode": "warm" if start.warm else "cold",
        "warm_started_from": start.previous.number if start.previous else "nothing",
        "label": preset.features.label,
        **split_moments(context.ingested),
        **flatten("sampling", asdict(preset.sampling)),
        **flatten("network", asdict(preset.network)),
        **flatten("training", asdict(preset.training)),
    }


def split_moments(ingested: Ingested) -> dict[str, str]:
    """Return the moments of the split as ISO-8601."""
    split = ingested.split
    return {
        name: to_iso(getattr(split, name)) for name in ("validation_from", "holdout_from", "as_of")
    }


def run_origin(ingested: Ingested, prefect_run: str | None) -> dict[str, str]:
    """Return tags that lead back to the Prefect run, the interactions and the code."""
    commit = git_commit()
    return {
        PREFECT_RUN: prefect_run or "none",
        "widedeep.ratings": ingested.artifact.id,
        "widedeep.origin": ingested.source.origin,
        "widedeep.code": code_version("evaluation"),
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def flatten(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings as one mapping whose names are `prefix_name`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= flatten(f"{prefix}_{name}", value) if nested else {f"{prefix}_{name}": value}
    return flat


def git_commit() -> str | None:
    """Return the project's commit, if the project is a checkout and git is installed."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return None
    return process.stdout.strip() or None if process.returncode == 0 else None


def save_tuned(
    workspace: Workspace, model: str, settings: Mapping[str, Setting], validation_loss: float
) -> Path:
    """Write settings where `preset_by_name` reads them; return the file."""
    path = _tuned_file(workspace, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    tuned = {"settings": dict(settings), "validation_loss": validation_loss}
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(tuned, indent=1) + "\n", encoding="utf-8")
    return path


def preset_by_name(workspace: Workspace, source: Source, name: PresetName) -> Preset:
    """Return a preset for a data set; `TUNED` has the settings that the last search found.

    Raises:
        InputError: There was no search on the data yet, or a cross has an unknown part.
    """
    from widedeep import get_preset
    from widedeep.model.presets import with_settings

    if name is not PresetName.TUNED:
        return get_preset(name, source.spec)
    path = _tuned_file(workspace, source.model)
    if not path.exists():
        raise InputError(
            f"there are no tuned settings for {source.model}; begin with: widedeep tune"
        )
    tuned: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    default = get_preset(PresetName.DEFAULT, source.spec)
    return with_settings(default, tuned["settings"], name.value)


def _tuned_file(workspace: Workspace, model: str) -> Path:
    return workspace.root / PresetName.TUNED / f"{model}.json"

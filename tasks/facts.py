"""What is worth knowing of a run besides its numbers: settings, moments, origin."""

import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.ingest import Ingested
from tasks.job import Job
from widedeep.artifact_store import code_version
from widedeep.when import iso


@dataclass(frozen=True, slots=True)
class Inputs:
    """The data set of a run: a digest of what was read, and its counts."""

    name: str
    digest: str
    folder: str
    profile: Mapping[str, int]


def inputs_of(ingested: Ingested) -> Inputs:
    """The ratings that a run knew."""
    counts = asdict(ingested.counts)
    parts = dict(zip(("train", "validation", "holdout"), ingested.examples, strict=True))
    profile = {**counts, **parts}
    source = ingested.source
    return Inputs(source.name, ingested.artifact.id, str(source.folder), profile)


def parameters_of(job: Job) -> dict[str, Any]:
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
        **moments_of(job.ingested),
        **flat("sampling", asdict(preset.sampling)),
        **flat("network", asdict(preset.network)),
        **flat("training", asdict(preset.training)),
    }


def moments_of(ingested: Ingested) -> dict[str, str]:
    """The split's, as ISO-8601."""
    split = ingested.split
    return {
        name: iso(getattr(split, name)) for name in ("validation_from", "holdout_from", "as_of")
    }


def origin_of(ingested: Ingested, prefect_run: str | None) -> dict[str, str]:
    """Tags that lead back to where a run came from."""
    commit = git_commit()
    return {
        "prefect.flow_run_id": prefect_run or "none",
        "widedeep.ratings": ingested.artifact.id,
        "widedeep.origin": ingested.source.origin,
        "widedeep.code": code_version("data", "features", "model", "evaluation"),
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings as `prefix_name`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        found |= flat(f"{prefix}_{name}", value) if nested else {f"{prefix}_{name}": value}
    return found


def git_commit() -> str | None:
    """The project's commit, where it is a checkout and git is installed."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None

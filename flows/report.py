"""What a run found: the contract's JSON object."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tasks.job import Job
from tasks.promotion import Outcome
from widedeep.artifact_store import Artifact
from widedeep.evaluation.scoring import PREDICTIONS


class Stopwatch:
    """Seconds of each stage and in all."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        started = time.perf_counter()
        yield
        self._stages[name] = time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Up to now, rounded to milliseconds."""
        total = {"total": time.perf_counter() - self._started}
        return {name: round(value, 3) for name, value in (self._stages | total).items()}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a finished run has to say."""

    job: Job
    run_id: str
    evaluation: Artifact
    outcome: Outcome
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep retrain --json` prints."""
        ingested, previous = self.job.ingested, self.job.start.previous
        split = ingested.split
        train, validation, holdout = ingested.examples
        found = self.evaluation.summary
        return {
            "data": ingested.source.name,
            "as_of": split.as_of,
            "run_id": self.run_id,
            "mode": "warm" if previous else "cold",
            "warm_started_from": previous.number if previous else None,
            "rows": asdict(ingested.counts),
            "split": {
                **asdict(split),
                "train": train,
                "validation": validation,
                "holdout": holdout,
            },
            "challenger": found["challenger"],
            "champion": found["champion"],
            "decision": str(self.outcome.decision.verdict),
            "reasons": [self.job.start.reason, *self.outcome.decision.reasons],
            "model": ingested.model,
            "version": self.outcome.version,
            "champion_version": self.outcome.champion,
            "predictions": str(self.evaluation.path / PREDICTIONS),
            "seconds": dict(self.seconds),
        }

"""What a run found: the contract's JSON object."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tasks.ingest import Ingested
from tasks.promotion import Outcome
from widedeep.artifact_store import Artifact
from widedeep.evaluation.comparison import PREDICTIONS
from widedeep.model.start import Start


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

    ingested: Ingested
    start: Start
    run_id: str
    evaluation: Artifact
    outcome: Outcome
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep retrain --json` prints."""
        split, counts = self.ingested.split, self.ingested.counts
        train, validation, holdout = self.ingested.examples
        found = self.evaluation.summary
        return {
            "data": self.ingested.source.name,
            "as_of": split.as_of,
            "run_id": self.run_id,
            "mode": "warm" if self.start.warm else "cold",
            "warm_started_from": self.start.previous and self.start.previous.number,
            "rows": asdict(counts),
            "split": {
                **asdict(split),
                "train": train,
                "validation": validation,
                "holdout": holdout,
            },
            "challenger": found["challenger"],
            "champion": found["champion"],
            "decision": found["decision"]["verdict"],
            "reasons": [self.start.reason, *found["decision"]["reasons"]],
            "model": self.ingested.model,
            "version": self.outcome.version,
            "champion_version": self.outcome.champion,
            "predictions": str(self.evaluation.path / PREDICTIONS),
            "seconds": dict(self.seconds),
        }

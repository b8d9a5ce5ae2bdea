"""What one training reads: features fitted, rows encoded by them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.features.evidence import Evidence
from widedeep.features.examples import Examples
from widedeep.features.history import Queries
from widedeep.features.transform import Transform

STREAMING = "streaming"
FROZEN = "frozen"
PROTOCOLS = (STREAMING, FROZEN)

_TRANSFORM = "transform"
_TRAINING = "training"
_VALIDATION = "validation_"
_EVIDENCE = "evidence.safetensors"
_JSON = "training_set.json"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """`validation` has rows that training may be judged by, by protocol.

    `evidence` counts the ratings that a model trained on this set has learned from, by wide
    feature: all of them, whether they are learned now or were before. Every one of them is older
    than `until`, UNIX seconds.
    """

    transform: Transform
    training: Examples
    validation: Mapping[str, Examples]
    evidence: Evidence
    until: int

    def summary(self) -> dict[str, Any]:
        """Counts for people and for the tracker."""
        spec, transform = self.transform.spec, self.transform
        crosses = zip(spec.crosses, transform.crosses, strict=True)
        return {
            "until": self.until,
            "training_rows": len(self.training),
            "validation_rows": {name: len(rows) for name, rows in self.validation.items()},
            "vocabularies": {name: len(v) for name, v in transform.vocabularies.items()},
            "crosses": {cross.name: len(vocabulary) for cross, vocabulary in crosses},
            "wide_size": transform.wide_size,
        }

    def save(self, folder: Path) -> None:
        """Write everything into a new `folder`."""
        self.transform.save(folder / _TRANSFORM)
        self.training.save(folder / _TRAINING)
        self.evidence.save(folder / _EVIDENCE)
        (folder / _JSON).write_text(json.dumps({"until": self.until}), encoding="utf-8")
        for name, examples in self.validation.items():
            examples.save(folder / f"{_VALIDATION}{name}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        held = {name: folder / f"{_VALIDATION}{name}" for name in PROTOCOLS}
        return cls(
            Transform.load(folder / _TRANSFORM),
            Examples.load(folder / _TRAINING),
            {name: Examples.load(path) for name, path in held.items() if path.exists()},
            Evidence.load(folder / _EVIDENCE),
            json.loads((folder / _JSON).read_text(encoding="utf-8"))["until"],
        )


def queries(log: RatingLog, rows: NDArray[np.bool_], until: int | None = None) -> Queries:
    """The rated pairs of `rows`, knowing all before each rating, or only what is before `until`."""
    time = log.time[rows]
    known_until = time if until is None else np.minimum(time, until)
    return Queries(log.user[rows], log.movie[rows], time, known_until)


def queries_by_protocol(
    log: RatingLog, rows: NDArray[np.bool_], frozen_from: int
) -> dict[str, Queries]:
    """The rated pairs of `rows` under each protocol; frozen history ends at `frozen_from`."""
    return {STREAMING: queries(log, rows), FROZEN: queries(log, rows, frozen_from)}

"""The features stage: a transform fitted on the training part, and the rows encoded by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.errors import InputError
from widedeep.features.catalogue import Catalogue
from widedeep.features.encoded import Encoded
from widedeep.features.history import Queries
from widedeep.features.raw_columns import RawColumns
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform

DAY = 86_400
STREAMING = "streaming"
FROZEN = "frozen"
PROTOCOLS = (STREAMING, FROZEN)

_TRANSFORM = "transform"
_TRAINING = "training"


@dataclass(frozen=True, slots=True)
class Staleness:
    """Training rows repeated with a history that ends earlier than they could know.

    A model that only ever saw fresh history is misled by last night's. `copies` of each row are
    cut by up to `days` before the rating (drawn with `seed`); each weighs `weight` of a fresh row.
    """

    copies: int = 1
    days: int = 800
    weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.copies < 0 or self.days < 1 or self.weight <= 0:
            raise InputError(f"{self}: copies from 0, days from 1 and a positive weight are wanted")

    def stale(self, fresh: Queries) -> list[Queries]:
        """The copies of the rows, each row with a history that was cut by a time of its own."""
        generator = np.random.default_rng(self.seed)
        cuts = (generator.integers(0, self.days * DAY, len(fresh)) for _ in range(self.copies))
        return [fresh.known_earlier(cut) for cut in cuts]

    def weights(self, rows: int) -> NDArray[np.float32]:
        """Of `rows` fresh rows and, behind them, each copy's."""
        return np.repeat(np.array([1.0] + [self.weight] * self.copies, np.float32), rows)


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded rows with label (bool) and weight (float32), shape (rows,) each."""

    rows: Encoded
    label: NDArray[np.bool_]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        """The named rows, in that order."""
        return Examples(self.rows.take(rows), self.label[rows], self.weight[rows])

    def save(self, folder: Path) -> None:
        """Write Parquet files into a new `folder`."""
        folder.mkdir()
        self.rows.save(folder / "rows.parquet")
        pq.write_table(
            pa.table({"label": self.label, "weight": self.weight}), folder / "labels.parquet"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        labels = pq.read_table(folder / "labels.parquet")
        rows = Encoded.load(folder / "rows.parquet")
        return cls(rows, *(labels[name].to_numpy().copy() for name in ("label", "weight")))


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What training reads. `validation` has the rows under streaming and under frozen history."""

    transform: Transform
    training: Examples
    validation: Mapping[str, Examples]

    @classmethod
    def build(  # noqa: PLR0917  each is a stage's product of its own
        cls,
        log: RatingLog,
        catalogue: Catalogue,
        split: Split,
        spec: FeatureSpec,
        staleness: Staleness,
        previous: Transform | None = None,
    ) -> Self:
        """Fit on the training part and encode training and validation.

        Raises:
            InputError: a part of the split is too small or has one class.
        """
        label = log.rate >= spec.history.positive_rating
        split.check(log.time, label)
        rows = split.training(log.time)
        prior = previous.prior if previous else float(label[rows].mean())
        maker = _Maker(log, catalogue, spec, prior)
        fresh = maker.describe(queries(log, rows))
        transform = Transform.fit(spec, prior, fresh, previous)
        training = maker.with_stale_copies(transform, fresh, label[rows], staleness)
        held = split.validation(log.time)
        validation = {
            name: _unweighted(transform.encode(maker.describe(asked)), label[held])
            for name, asked in queries_by_protocol(log, held, split.validation_from).items()
        }
        return cls(transform, training, validation)

    def summary(self) -> dict[str, Any]:
        """Counts for people and for the tracker."""
        spec, transform = self.transform.spec, self.transform
        crosses = zip(spec.crosses, transform.crosses, strict=True)
        return {
            "training_rows": len(self.training),
            "validation_rows": len(self.validation[STREAMING]),
            "vocabularies": {name: len(v) for name, v in transform.vocabularies.items()},
            "crosses": {cross.name: len(vocabulary) for cross, vocabulary in crosses},
            "wide_size": transform.wide_size,
        }

    def save(self, folder: Path) -> None:
        """Write everything into `folder`."""
        self.transform.save(folder / _TRANSFORM)
        self.training.save(folder / _TRAINING)
        for name, examples in self.validation.items():
            examples.save(folder / f"validation_{name}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(
            Transform.load(folder / _TRANSFORM),
            Examples.load(folder / _TRAINING),
            {name: Examples.load(folder / f"validation_{name}") for name in PROTOCOLS},
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


@dataclass(frozen=True, slots=True)
class _Maker:
    log: RatingLog
    catalogue: Catalogue
    spec: FeatureSpec
    prior: float

    def describe(self, asked: Queries) -> RawColumns:
        return RawColumns.describe(self.log, asked, self.catalogue, self.spec.history, self.prior)

    def with_stale_copies(
        self,
        transform: Transform,
        fresh: RawColumns,
        label: NDArray[np.bool_],
        staleness: Staleness,
    ) -> Examples:
        stale = (self.describe(asked) for asked in staleness.stale(fresh.queries))
        encoded = [transform.encode(rows) for rows in (fresh, *stale)]
        labels = np.tile(label, len(encoded))
        return Examples(Encoded.concatenate(encoded), labels, staleness.weights(len(fresh)))


def _unweighted(rows: Encoded, label: NDArray[np.bool_]) -> Examples:
    return Examples(rows, label, np.ones(len(rows), np.float32))

"""What a run learns from, in order: first training and validation, then what is new since.

What one training reads: features fitted, rows encoded by them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.features.encoded import Examples, FeatureSupport
from widedeep.features.engine import FeatureEngine, FeatureEngines, InMemoryEngine, RowsT
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.sampling import Sampling
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform
from widedeep.inputs import InputError, to_iso

STREAMING = "streaming"
FROZEN = "frozen"
PROTOCOLS = (STREAMING, FROZEN)

_TRANSFORM = "transform"
_TRAINING = "training"
_VALIDATION = "validation_"
_EVIDENCE = "evidence.safetensors"
_JSON = "training_set.json"


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """`validation` has rows that training may be judged by, by protocol.

    `evidence` counts the ratings that a model trained on this set has learned from, by wide
    feature: all of them, whether they are learned now or were before. Every one of them is older
    than `until`, UNIX seconds.
    """

    transform: Transform
    training: Examples
    validation: Mapping[str, Examples]
    evidence: FeatureSupport
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
            FeatureSupport.load(folder / _EVIDENCE),
            json.loads((folder / _JSON).read_text(encoding="utf-8"))["until"],
        )


def example_queries(
    interactions: Interactions, rows: NDArray[np.bool_], until: int | None = None
) -> Queries:
    """The rated pairs of `rows`, knowing all before each rating, or only what is before `until`."""
    time = interactions.time[rows]
    known_until = time if until is None else np.minimum(time, until)
    return Queries(interactions.user[rows], interactions.item[rows], time, known_until)


def queries_by_protocol(
    interactions: Interactions, rows: NDArray[np.bool_], frozen_from: int
) -> dict[str, Queries]:
    """The rated pairs of `rows` under each protocol; frozen history ends at `frozen_from`."""
    return {
        STREAMING: example_queries(interactions, rows),
        FROZEN: example_queries(interactions, rows, frozen_from),
    }


_INITIAL = "initial"
_CATCH_UP = "catch_up"

Parts = Iterator[tuple[str, TrainingPart]]
"""Training sets by name, each made when it is asked for: two of them may not fit into memory."""

Labels = NDArray[np.bool_]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """`initial` is what a cold start learns from and is stopped by; a warm one has none.

    `catch_up` has the ratings that the model is to know and does not yet (after a cold start those
    from validation on, after a warm one those since the previous model learned) and a replay of
    older ones. Its validation is the new ratings as they come in, for a warm start: it may be
    judged by them before it learns them.
    """

    initial: TrainingPart | None
    catch_up: TrainingPart

    @classmethod
    def of(cls, parts: Parts) -> Self:
        """All parts at once, of `cold_parts` or of `warm_parts`."""
        made = dict(parts)
        return cls(made.get(_INITIAL), made[_CATCH_UP])

    @property
    def parts(self) -> Mapping[str, TrainingPart]:
        """What there is of the two, by name, in order."""
        first = {_INITIAL: self.initial} if self.initial else {}
        return {**first, _CATCH_UP: self.catch_up}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write everything into `folder`; gives counts by part, for people."""
        return save_parts(iter(self.parts.items()), folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        initial = folder / _INITIAL
        return cls(
            TrainingPart.load(initial) if initial.exists() else None,
            TrainingPart.load(folder / _CATCH_UP),
        )


def cold_parts(  # noqa: PLR0917  each is a stage's product of its own
    interactions: Interactions,
    item_table: ItemTable,
    split: Split,
    spec: FeatureSpec,
    sampling: Sampling,
    until: int | None = None,
    *,
    engines: FeatureEngines = InMemoryEngine,
) -> Parts:
    """Fit on the training part, and again on all before `until` for the catch-up.

    Without `until`, that is all before the holdout. `engines` says where features are made.
    """
    until = split.holdout_from if until is None else until
    prior = float(
        spec.history.positive(interactions.value[split.training(interactions.time)]).mean()
    )
    engine = engines(interactions, item_table, spec, prior)
    known = _KnownRows.describe(interactions, engine, until, spec, sampling, prior)
    initial = known.initial(split)
    transform = initial.transform
    yield _INITIAL, initial
    del initial
    yield _CATCH_UP, known.catch_up(transform, split.validation_from)


def warm_parts(  # noqa: PLR0917  see `cold_parts`
    interactions: Interactions,
    item_table: ItemTable,
    until: int,
    sampling: Sampling,
    previous: Transform,
    learned_until: int,
    *,
    engines: FeatureEngines = InMemoryEngine,
) -> Parts:
    """Go on to `until` from a model with the transform `previous` and its `learned_until`."""
    spec, prior = previous.spec, previous.prior
    engine = engines(interactions, item_table, spec, prior)
    known = _KnownRows.describe(interactions, engine, until, spec, sampling, prior)
    yield _CATCH_UP, known.catch_up(previous, learned_until, judged=True)


def save_parts(parts: Parts, folder: Path) -> dict[str, Any]:
    """As `TrainingData.save`, but each part as it is made, and then lets go of it."""
    summary = {}
    for name, part in parts:
        part.save(folder / name)
        summary[name] = part.summary()
        del part
    return summary


@dataclass(frozen=True, slots=True)
class _KnownRows(Generic[RowsT]):
    """Every rating before `until` with all that was known at its time, in order of time.

    A transform is fitted on all of them, whichever are learned from.
    """

    interactions: Interactions
    engine: FeatureEngine[RowsT]
    until: int
    spec: FeatureSpec
    sampling: Sampling
    prior: float
    rows: RowsT
    label: Labels

    @classmethod
    def describe(  # noqa: PLR0917  see `cold_parts`
        cls,
        interactions: Interactions,
        engine: FeatureEngine[RowsT],
        until: int,
        spec: FeatureSpec,
        sampling: Sampling,
        prior: float,
    ) -> Self:
        before = interactions.time < until
        rows = engine.describe(example_queries(interactions, before))
        label = spec.history.positive(interactions.value[before])
        return cls(interactions, engine, until, spec, sampling, prior, rows, label)

    def initial(self, split: Split) -> TrainingPart:
        training = np.flatnonzero(split.training(self.rows.queries.time))
        learned = self._learned(split.validation_from)
        learned = learned[learned < len(training)]
        if not len(learned):
            raise InputError(
                f"no rating is left to train on: none before {to_iso(split.validation_from)} is one "
                f"of {self.sampling.rows} of the last {self.sampling.window} days (0: of all)"
            )
        transform, parts = self._fitted(training, learned)
        examples = self._examples(transform, learned, parts)
        fired = examples.rows.wide.select_rows(np.arange(len(learned)))
        return TrainingPart(
            transform,
            examples,
            self._validation(transform, split),
            FeatureSupport.count(fired, self.label[learned], transform.wide_size),
            split.validation_from,
        )

    def _fitted(self, training: Rows, learned: Rows) -> tuple[Transform, list[RowsT]]:
        """Fitted on the `training` rows, of which those that are `learned` are given."""
        fresh, *stale = self._fresh_and_stale(training)
        transform = self.engine.fit(fresh, stale, None)
        return transform, [part.select_rows(learned) for part in (fresh, *stale)]

    def catch_up(
        self, previous: Transform, learned_until: int, *, judged: bool = False
    ) -> TrainingPart:
        transform = self.engine.fit(self.rows, (), previous)
        learned = self._learned(learned_until)
        is_new = self.rows.queries.time[learned] >= learned_until
        new, old = learned[is_new], learned[~is_new]
        chosen = self.sampling.replayed(len(new), len(old), self.sampling.generator())
        rows = np.concatenate([old[chosen], new])
        examples = self._examples(transform, rows, self._fresh_and_stale(rows))
        met = np.arange(len(chosen), len(rows))
        return TrainingPart(
            transform,
            examples,
            {STREAMING: examples.select_rows(met)} if judged and len(new) else {},
            self.engine.count(transform, self.rows.select_rows(learned), self.label[learned]),
            self.until,
        )

    def _validation(self, transform: Transform, split: Split) -> dict[str, Examples]:
        held = np.flatnonzero(split.validation(self.rows.queries.time))
        frozen = example_queries(
            self.interactions, split.validation(self.interactions.time), split.validation_from
        )
        rows = {STREAMING: self.rows.select_rows(held), FROZEN: self.engine.describe(frozen)}
        return {
            name: Examples.unweighted(self.engine.encode(transform, [part]), self.label[held])
            for name, part in rows.items()
        }

    def _learned(self, new_from: int) -> Rows:
        """The rows that may be learned from, where what is new begins at `new_from`."""
        return np.flatnonzero(self.sampling.learned(self.interactions, new_from)[: len(self.rows)])

    def _fresh_and_stale(self, rows: Rows) -> list[RowsT]:
        fresh = self.rows.select_rows(rows)
        stale = self.sampling.staleness.stale(fresh.queries, self.sampling.generator())
        return [fresh, *(self.engine.describe(asked) for asked in stale)]

    def _examples(self, transform: Transform, rows: Rows, parts: list[RowsT]) -> Examples:
        label = np.tile(self.label[rows], len(parts))
        weight = self.sampling.staleness.weights(len(rows))
        return Examples(self.engine.encode(transform, parts), label, weight)

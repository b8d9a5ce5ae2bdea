"""What one run learns from: features fitted, training and validation rows encoded by them.

`cold_parts` and `warm_parts` make the parts of a run one after another, because two of them may not
fit into memory together. `save_parts` writes each as it is made; `TrainingData` holds them all.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.features.attributes import FeatureTables
from widedeep.features.encoded import Examples, FeatureSupport
from widedeep.features.engine import EngineFactory, FeatureEngine, InMemoryEngine, Labels, RowsT
from widedeep.features.history import Queries
from widedeep.features.sampling import Sampling
from widedeep.features.spec import FeatureSpec
from widedeep.features.transform import Transform
from widedeep.inputs import InputError, to_iso

STREAMING = "streaming"
FROZEN = "frozen"
PROTOCOLS = (STREAMING, FROZEN)

_INITIAL = "initial"
_CATCH_UP = "catch_up"

_TRANSFORM = "transform"
_TRAINING = "training"
_VALIDATION = "validation_"
_SUPPORT = "support.safetensors"
_JSON = "training_set.json"

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """Examples for one training, and the transform that encoded them.

    Attributes:
        transform: Fitted on every rating before `until`, whichever are learned from.
        training: What is learned now: the fresh rows first, then their stale copies.
        validation: Rows to stop or judge the training by, by protocol; may be empty.
        support: Ratings by wide feature that a model trained on this part has learned from: those
            it learns now and those it learned before.
        until: UNIX seconds; every one of those ratings is older.
    """

    transform: Transform
    training: Examples
    validation: Mapping[str, Examples]
    support: FeatureSupport
    until: int

    def summary(self) -> dict[str, Any]:
        """Return the counts that logs and the tracker show, as JSON values."""
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
        """Write everything into `folder`, which must be new."""
        self.transform.save(folder / _TRANSFORM)
        self.training.save(folder / _TRAINING)
        self.support.save(folder / _SUPPORT)
        (folder / _JSON).write_text(json.dumps({"until": self.until}), encoding="utf-8")
        for name, examples in self.validation.items():
            examples.save(folder / f"{_VALIDATION}{name}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files that `save` wrote, equal to the bit."""
        validation = {name: folder / f"{_VALIDATION}{name}" for name in PROTOCOLS}
        return cls(
            Transform.load(folder / _TRANSFORM),
            Examples.load(folder / _TRAINING),
            {name: Examples.load(path) for name, path in validation.items() if path.exists()},
            FeatureSupport.load(folder / _SUPPORT),
            json.loads((folder / _JSON).read_text(encoding="utf-8"))["until"],
        )


TrainingParts = Iterator[tuple[str, TrainingPart]]
"""Parts by name, each made when it is asked for: two of them may not fit into memory."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What one run learns from.

    Attributes:
        initial: What a cold start learns from and is stopped by; None for a warm start.
        catch_up: The ratings that the model does not know yet, and a replay of older ones. After a
            cold start these are the ratings from validation on; for a warm start, those since the
            previous model learned. Its validation holds the new ratings as they come in, for a warm
            start: a model may be judged by them before it learns them.
    """

    initial: TrainingPart | None
    catch_up: TrainingPart

    @classmethod
    def from_parts(cls, parts: TrainingParts) -> Self:
        """Collect all parts that `cold_parts` or `warm_parts` makes."""
        by_name = dict(parts)
        return cls(by_name.get(_INITIAL), by_name[_CATCH_UP])

    @property
    def parts(self) -> Mapping[str, TrainingPart]:
        """The one or two parts by name, in the order in which they are learned."""
        first = {_INITIAL: self.initial} if self.initial else {}
        return {**first, _CATCH_UP: self.catch_up}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write all parts into `folder`; return their summaries by name."""
        return save_parts(self.parts.items(), folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files that `save` or `save_parts` wrote."""
        initial = folder / _INITIAL
        return cls(
            TrainingPart.load(initial) if initial.exists() else None,
            TrainingPart.load(folder / _CATCH_UP),
        )


def save_parts(parts: Iterable[tuple[str, TrainingPart]], folder: Path) -> dict[str, Any]:
    """Write each part into `folder` as it is made, then let go of it; return the summaries."""
    summary = {}
    for name, part in parts:
        part.save(folder / name)
        summary[name] = part.summary()
        del part
    return summary


def cold_parts(  # noqa: PLR0917  each is the product of an earlier stage
    interactions: Interactions,
    tables: FeatureTables,
    split: Split,
    spec: FeatureSpec,
    sampling: Sampling,
    until: int | None = None,
    *,
    make_engine: EngineFactory = InMemoryEngine,
) -> TrainingParts:
    """Make the parts of a cold start: the training rows, then a catch-up on all before `until`.

    Args:
        interactions: In order of time.
        tables: Attributes of items, users and the context.
        split: Moments at which validation and holdout begin.
        spec: The features.
        sampling: Which ratings are learned from, and how often.
        until: UNIX seconds; the holdout's start by default.
        make_engine: Decides where features are computed.

    Raises:
        InputError: No training row is left, or the interactions are not in order of time.
    """
    until = split.holdout_from if until is None else until
    label = interactions.label[split.training(interactions.time)]
    engine = make_engine(interactions, tables, spec, float(label.mean()))
    known = _KnownRows.compute(interactions, engine, until, sampling)
    initial = known.initial(split)
    transform = initial.transform
    yield _INITIAL, initial
    del initial
    yield _CATCH_UP, known.catch_up(transform, split.validation_from)


def warm_parts(  # noqa: PLR0917  each is the product of an earlier stage
    interactions: Interactions,
    tables: FeatureTables,
    until: int,
    sampling: Sampling,
    previous: Transform,
    learned_until: int,
    *,
    make_engine: EngineFactory = InMemoryEngine,
) -> TrainingParts:
    """Make the part of a warm start: the ratings from `learned_until` to `until`, and a replay.

    `previous` is the transform of the model to continue; both moments are in UNIX seconds. The
    other arguments are those of `cold_parts`.

    Raises:
        InputError: The interactions are not in order of time.
    """
    engine = make_engine(interactions, tables, previous.spec, previous.prior)
    known = _KnownRows.compute(interactions, engine, until, sampling)
    yield _CATCH_UP, known.catch_up(previous, learned_until, validate=True)


def example_queries(
    interactions: Interactions, rows: NDArray[np.bool_], until: int | None = None
) -> Queries:
    """Return the rated pairs of `rows`, a mask (n,), as queries.

    Each knows everything before its own rating, or only what is before `until` (UNIX seconds).
    """
    time = interactions.time[rows]
    known_until = time if until is None else np.minimum(time, until)
    context = {name: column[rows] for name, column in interactions.context.items()}
    return Queries(interactions.user[rows], interactions.item[rows], time, known_until, context)


def queries_by_protocol(
    interactions: Interactions, rows: NDArray[np.bool_], frozen_from: int
) -> dict[str, Queries]:
    """Return the rated pairs of `rows`, a mask (n,), under each protocol.

    Frozen history ends at `frozen_from`, UNIX seconds.
    """
    return {
        STREAMING: example_queries(interactions, rows),
        FROZEN: example_queries(interactions, rows, frozen_from),
    }


@dataclass(frozen=True, slots=True)
class _KnownRows(Generic[RowsT]):
    """Every rating before `until` with the history up to its own time, in order of time.

    A transform is fitted on all of them, whichever are learned from.
    """

    interactions: Interactions
    engine: FeatureEngine[RowsT]
    until: int
    sampling: Sampling
    rows: RowsT
    label: Labels
    weight: NDArray[np.float32] | None

    @classmethod
    def compute(
        cls,
        interactions: Interactions,
        engine: FeatureEngine[RowsT],
        until: int,
        sampling: Sampling,
    ) -> Self:
        before = interactions.time < until
        rows = engine.compute_features(example_queries(interactions, before))
        label = interactions.label[before]
        weight = None if interactions.weight is None else interactions.weight[before]
        return cls(interactions, engine, until, sampling, rows, label, weight)

    def initial(self, split: Split) -> TrainingPart:
        training = np.flatnonzero(split.training(self.rows.queries.time))
        learned = self._learned_rows(split.validation_from)
        learned = learned[learned < len(training)]
        if not len(learned):
            raise InputError(
                f"no training rows: no interaction before {to_iso(split.validation_from)} matches "
                f"rows={self.sampling.rows.value!r}, window={self.sampling.window} days (0: all)"
            )
        transform, parts = self._fit(training, learned)
        examples = self._examples(transform, learned, parts)
        fired = examples.rows.wide.select_rows(np.arange(len(learned)))
        return TrainingPart(
            transform,
            examples,
            self._validation(transform, split),
            FeatureSupport.count(fired, self.label[learned], transform.wide_size),
            split.validation_from,
        )

    def _fit(self, training: Ints, learned: Ints) -> tuple[Transform, list[RowsT]]:
        """Fit on the `training` rows; return those that are `learned`, fresh and stale."""
        fresh, *stale = self._fresh_and_stale(training)
        transform = self.engine.fit(fresh, stale, None)
        return transform, [part.select_rows(learned) for part in (fresh, *stale)]

    def catch_up(
        self, previous: Transform, learned_until: int, *, validate: bool = False
    ) -> TrainingPart:
        transform = self.engine.fit(self.rows, (), previous)
        learned = self._learned_rows(learned_until)
        is_new = self.rows.queries.time[learned] >= learned_until
        new, old = learned[is_new], learned[~is_new]
        replay = self.sampling.sample_replay(len(new), len(old), self.sampling.generator())
        rows = np.concatenate([old[replay], new])
        examples = self._examples(transform, rows, self._fresh_and_stale(rows))
        new_positions = np.arange(len(replay), len(rows))
        return TrainingPart(
            transform,
            examples,
            {STREAMING: examples.select_rows(new_positions)} if validate and len(new) else {},
            self.engine.count_support(
                transform, self.rows.select_rows(learned), self.label[learned]
            ),
            self.until,
        )

    def _validation(self, transform: Transform, split: Split) -> dict[str, Examples]:
        validation = np.flatnonzero(split.validation(self.rows.queries.time))
        frozen = example_queries(
            self.interactions, split.validation(self.interactions.time), split.validation_from
        )
        rows = {
            STREAMING: self.rows.select_rows(validation),
            FROZEN: self.engine.compute_features(frozen),
        }
        return {
            name: Examples.unweighted(self.engine.encode(transform, [part]), self.label[validation])
            for name, part in rows.items()
        }

    def _learned_rows(self, new_from: int) -> Ints:
        """Return the rows that may be learned from; what is new begins at `new_from`."""
        is_learned = self.sampling.learned_rows(self.interactions, new_from)
        return np.flatnonzero(is_learned[: len(self.rows)])

    def _fresh_and_stale(self, rows: Ints) -> list[RowsT]:
        fresh = self.rows.select_rows(rows)
        stale = self.sampling.staleness.stale_copies(fresh.queries, self.sampling.generator())
        return [fresh, *(self.engine.compute_features(queries) for queries in stale)]

    def _examples(self, transform: Transform, rows: Ints, parts: list[RowsT]) -> Examples:
        label = np.tile(self.label[rows], len(parts))
        weight = self.sampling.staleness.weights(len(rows))
        if self.weight is not None:
            weight *= np.tile(self.weight[rows], len(parts))
        return Examples(self.engine.encode(transform, parts), label, weight)

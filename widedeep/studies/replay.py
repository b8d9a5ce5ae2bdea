"""Retrain on a simulated clock: what each policy would have published, and how good it was.

At each step the clock stands at a moment; only ratings before it are known. `Replay.step` retrains
under every policy. What a policy publishes is then scored on the ratings of the period that
follows, as its users would have met it (`Replay.score_period`). Every piece of work is an artefact
that is found again by its inputs, so a replay that was killed resumes where it stopped, and
policies that do the same work do it once.

`train_cold_ahead` trains the cold models of all steps in processes of their own. A cold model needs
none of the steps before it, so all of them can be trained while the warm ones, which build on one
another, are waited for. Two trainings of one thread each take 1.6 times less than two trainings of
two threads in turn.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from threading import Thread

import torch

from widedeep.data.split import Split
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.comparison import Evaluator
from widedeep.evaluation.gate import GateConfig, Verdict
from widedeep.evaluation.lists import TopLists
from widedeep.evaluation.scoring import PREDICTIONS, Predictions, model_scorer
from widedeep.features import FeatureTables, Sampling, TrainingData, cold_parts, warm_parts
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.store import Artifact, ArtifactStore, Json, code_version

LISTS = "lists.parquet"

_PROCESSES = 2


class Policy(StrEnum):
    """When to train on what, and what to publish; the values appear in reports."""

    COLD = "always cold"
    WINDOW = "cold on a window"
    ALWAYS = "warm, always promoted"
    CAUGHT_UP = "warm, gated, caught up"
    GATED = "warm, gated"
    NEVER = "never retrained"


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """Settings of a replay; `window` is how many days back the policy with a window looks."""

    preset: Preset
    gate: GateConfig
    seed: int = 0
    window: int = 3 * 365


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """One step of the clock, and what each policy has done by then.

    Attributes:
        at: Where the clock stands, UNIX seconds.
        until: End of the period that follows, UNIX seconds.
        published: The model that serves under each policy.
        trained: The models trained for each policy at this step, reused ones included.
        candidate: The model that the gate judged; at the first step the gated model itself.
        gate: Comparison of the candidate with the gated model before; None at the first step.
        looks: All comparisons with the present gated model.
    """

    at: int
    until: int
    published: Mapping[Policy, Artifact]
    trained: Mapping[Policy, tuple[Artifact, ...]]
    candidate: Artifact
    gate: Artifact | None
    looks: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayClock:
    """The ratings known at `at` (UNIX seconds), and their split."""

    at: int
    interactions: Interactions
    split: Split


class Replay:
    """The work of a replay, step by step; `inputs` recreate it in another process."""

    def __init__(self, store: ArtifactStore, ratings: IngestedData, config: ReplayConfig) -> None:
        self.inputs = (store, ratings, config)
        self._store = store
        self._ratings = ratings
        self._config = config
        self._tables = FeatureTables.from_side_tables(ratings.side_tables())

    def step(self, at: int, until: int, before: ReplayStep | None) -> ReplayStep:
        """Retrain at `at` under every policy; the period to score ends at `until` (UNIX seconds).

        Raises:
            InputError: too little is known at `at`.
        """
        clock = self._clock(at)
        if before is None:
            return self._first_step(clock, until)
        return self._next_step(clock, until, before)

    def train_cold(self, at: int) -> None:
        """Train the cold models of the step at `at` (UNIX seconds); they need no other step.

        Raises:
            InputError: too little is known at `at`.
        """
        self._cold_models(self._clock(at))

    def score_period(self, model: Artifact, at: int, until: int) -> Artifact:
        """Score the ratings from `at` to `until` (UNIX seconds), and rank the top lists at `at`."""

        def build(folder: Path) -> Json:
            interactions, trained = self._ratings.interactions(until), TrainedModel.load(model.path)
            scorer = model_scorer(trained, interactions, self._tables)
            period = Split(0, at, until)
            predictions = Predictions.compute(interactions, period, scorer)
            predictions.save(folder / PREDICTIONS)
            TopLists.compute(self._ratings.interactions(at), at, scorer).save(folder / LISTS)
            return {"rows": len(predictions.label)}

        key = self._key(model=model.id, at=at, until=until)
        return self._store.get_or_build("judgements", key, build)

    def _first_step(self, clock: ReplayClock, until: int) -> ReplayStep:
        """Start every policy with a cold model; no gate judges it."""
        cold, window = self._cold_models(clock)
        champion = self._train_cold(clock, self._sampling, clock.split.holdout_from)
        published = {
            Policy.COLD: cold,
            Policy.WINDOW: window,
            Policy.ALWAYS: cold,
            Policy.CAUGHT_UP: self._train_warm(champion, clock, clock.at),
            Policy.GATED: champion,
            Policy.NEVER: cold,
        }
        trained: dict[Policy, tuple[Artifact, ...]] = {
            policy: (model,) for policy, model in published.items()
        }
        trained[Policy.CAUGHT_UP] = (champion, published[Policy.CAUGHT_UP])
        return ReplayStep(clock.at, until, published, trained, champion, None)

    def _next_step(self, clock: ReplayClock, until: int, before: ReplayStep) -> ReplayStep:
        cold, window = self._cold_models(clock)
        always = self._train_warm(before.published[Policy.ALWAYS], clock, clock.at)
        champion = before.published[Policy.GATED]
        candidate = self._train_warm(champion, clock, clock.split.holdout_from)
        gate = self._compare(candidate, champion, clock, before.looks)
        looks = (*before.looks, gate) if candidate.id != champion.id else before.looks
        published = {
            **before.published,
            Policy.COLD: cold,
            Policy.WINDOW: window,
            Policy.ALWAYS: always,
        }
        trained: dict[Policy, tuple[Artifact, ...]] = {
            Policy.COLD: (cold,),
            Policy.WINDOW: (window,),
            Policy.ALWAYS: (always,),
            Policy.CAUGHT_UP: (candidate,),
            Policy.GATED: (candidate,),
            Policy.NEVER: (),
        }
        if gate.summary["decision"]["verdict"] == Verdict.PROMOTE:
            caught_up = self._train_warm(candidate, clock, clock.at)
            published[Policy.GATED] = candidate
            published[Policy.CAUGHT_UP] = caught_up
            trained[Policy.CAUGHT_UP] = (candidate, caught_up)
            looks = ()
        return ReplayStep(clock.at, until, published, trained, candidate, gate, looks)

    def _clock(self, at: int) -> ReplayClock:
        interactions = self._ratings.interactions(at)
        split = Split.from_times(interactions.time, at)
        split.check(interactions.time, interactions.label)
        return ReplayClock(at, interactions, split)

    def _cold_models(self, clock: ReplayClock) -> tuple[Artifact, Artifact]:
        """Train on all ratings, and on a window."""
        windowed = replace(self._sampling, window=self._config.window)
        return (
            self._train_cold(clock, self._sampling, clock.at),
            self._train_cold(clock, windowed, clock.at),
        )

    @property
    def _sampling(self) -> Sampling:
        return self._config.preset.sampling

    def _train_cold(self, clock: ReplayClock, sampling: Sampling, until: int) -> Artifact:
        """Train a model that is chosen by validation, then caught up to `until`."""
        spec = self._config.preset.features

        def prepare() -> TrainingData:
            return TrainingData.from_parts(
                cold_parts(clock.interactions, self._tables, clock.split, spec, sampling, until)
            )

        key = self._key(sampling=asdict(sampling), split=asdict(clock.split), until=until)
        return self._train(key, prepare, None)

    def _train_warm(self, previous: Artifact, clock: ReplayClock, until: int) -> Artifact:
        """Continue from the model `previous` with the ratings before `until`."""
        model = TrainedModel.load(previous.path)

        def prepare() -> TrainingData:
            return TrainingData.from_parts(
                warm_parts(
                    clock.interactions,
                    self._tables,
                    until,
                    self._sampling,
                    model.transform,
                    model.learned_until,
                )
            )

        key = self._key(sampling=asdict(self._sampling), previous=previous.id, until=until)
        return self._train(key, prepare, model)

    def _train(
        self, key: Json, prepare: Callable[[], TrainingData], previous: TrainedModel | None
    ) -> Artifact:
        def build(folder: Path) -> Json:
            started = time.perf_counter()
            data = prepare()
            prepared = time.perf_counter()
            run = TrainingRun(data, self._config.preset, previous, self._config.seed)
            rows = sum(len(part.training) for part in data.parts.values())
            with _one_thread():
                losses = [result.train_loss for result in run.epochs()]
            trained = time.perf_counter()
            run.trained_model().save(folder)
            vocabularies = data.catch_up.transform.vocabularies.values()
            return {
                **run.summary(),
                "epochs": len([loss for loss in losses if loss is not None]),
                "training_rows": rows,
                "tokens": sum(len(vocabulary) for vocabulary in vocabularies),
                "seconds": {"features": prepared - started, "training": trained - prepared},
            }

        return self._store.get_or_build("models", key, build)

    def _compare(
        self,
        candidate: Artifact,
        champion: Artifact,
        clock: ReplayClock,
        earlier: tuple[Artifact, ...],
    ) -> Artifact:
        def build(folder: Path) -> Json:
            evaluator = Evaluator(clock.interactions, self._tables, clock.split, self._config.gate)
            challenger, serving = (TrainedModel.load(m.path) for m in (candidate, champion))
            return evaluator.compare(challenger, serving, folder, earlier).as_json()

        key = self._key(
            candidate=candidate.id,
            champion=champion.id,
            split=asdict(clock.split),
            gate=asdict(self._config.gate),
            earlier=[evaluation.id for evaluation in earlier],
        )
        return self._store.get_or_build("evaluations", key, build)

    def _key(self, **parts: Json | str | int | list[str]) -> Json:
        return {
            "replay": parts,
            "ratings": self._ratings.artifact.id,
            "preset": self._config.preset.as_json(),
            "seed": self._config.seed,
            "code": code_version("studies"),
        }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Train on one thread, so that the seconds of all models can be compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ColdTrainings:
    """Cold models in training; `wait` for those of a step before they are needed."""

    def __init__(self, futures: dict[int, Future[None]]) -> None:
        self._futures = futures

    def wait(self, at: int) -> None:
        """Return when the models of the step at `at` exist; raise what their training raised."""
        self._futures[at].result()


@contextmanager
def train_cold_ahead(replay: Replay, moments: Sequence[int]) -> Iterator[ColdTrainings]:
    """Train the cold models of all `moments` (UNIX seconds) in parallel, the first one first."""
    pool = ProcessPoolExecutor(
        _PROCESSES,
        multiprocessing.get_context("spawn"),
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    try:
        futures = {at: pool.submit(_train_cold, *replay.inputs, at) for at in moments}
        yield ColdTrainings(futures)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _train_cold(store: ArtifactStore, ratings: IngestedData, config: ReplayConfig, at: int) -> None:
    Replay(store, ratings, config).train_cold(at)


def _end_with(parent: int) -> None:
    """End this worker when its parent ends: one whose parent was killed would wait forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()

"""Retraining on a simulated clock: what each policy would have published, and how good it was.

At each step the clock stands at `at`; only ratings before it are known. What a policy publishes
then is judged by the ratings of the period that follows, as its users would have met it. Every
piece of work is an artefact found again by what it was made from, so a replay that was killed goes
on where it stopped, and policies that do the same do it once.

The cold models of all steps of a replay, trained ahead in processes of their own.

A cold model needs none of the steps before it, so all of them may be trained while the warm ones,
which stand on one another, are waited for. Two trainings of one thread each take 1.6 times less
than of two threads in turn.
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
from widedeep.evaluation.scoring import PREDICTIONS, Predictions, TopLists, model_scorer
from widedeep.features.items import ItemTable
from widedeep.features.sampling import Sampling
from widedeep.features.training_data import TrainingData, cold_parts, warm_parts
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.store import Artifact, ArtifactStore, Json, code_version

LISTS = "lists.parquet"


class Policy(StrEnum):
    """When to train from what, and what to publish; the values are shown to people."""

    COLD = "always cold"
    WINDOW = "cold on a window"
    ALWAYS = "warm, always promoted"
    CAUGHT_UP = "warm, gated, caught up"
    GATED = "warm, gated"
    NEVER = "never retrained"


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """`window` is in days: how far back the policy that forgets looks."""

    preset: Preset
    gate: GateConfig
    seed: int = 0
    window: int = 3 * 365


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """The clock at `at`, and what each policy has done by then.

    `published` has the model that serves under a policy, `trained` those learned for it at this
    step (found again or not). `gate` is the comparison of `candidate` with the gated model before,
    None at the first step; `looks` are all comparisons with the gated model since it is that.
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
    """What is known at `at`; UNIX seconds."""

    at: int
    interactions: Interactions
    split: Split


class Replay:
    """The work of a replay, step by step; `parts` are what it is made of, for another process."""

    def __init__(self, store: ArtifactStore, ratings: IngestedData, config: ReplayConfig) -> None:
        self.parts = (store, ratings, config)
        self._store = store
        self._ratings = ratings
        self._config = config
        self._item_table = ItemTable.from_table(ratings.items())

    def step(self, at: int, until: int, before: ReplayStep | None) -> ReplayStep:
        """Retrain at `at` under every policy; the period to judge by ends at `until`.

        Raises:
            InputError: too little is known at `at`.
        """
        clock = self._clock(at)
        return self._first(clock, until) if before is None else self._next(clock, until, before)

    def train_cold(self, at: int) -> None:
        """Have the models that begin cold at `at` ready; they need no other step's.

        Raises:
            InputError: too little is known at `at`.
        """
        self._cold_models(self._clock(at))

    def judge(self, model: Artifact, at: int, until: int) -> Artifact:
        """Score the ratings of `at` … `until`, and the lists that are shown at `at`."""

        def build(folder: Path) -> Json:
            interactions, trained = self._ratings.load(until), TrainedModel.load(model.path)
            scorer = model_scorer(trained, interactions, self._item_table)
            period = Split(0, at, until)
            history = trained.transform.spec.history
            predictions = Predictions.of(interactions, period, history, scorer)
            predictions.save(folder / PREDICTIONS)
            TopLists.of(self._ratings.load(at), at, scorer).save(folder / LISTS)
            return {"rows": len(predictions.label)}

        key = self._key(model=model.id, at=at, until=until)
        return self._store.get("judgements", key, build)

    def _first(self, clock: ReplayClock, until: int) -> ReplayStep:
        """All policies begin with a cold model; whether a gate would like it is not asked."""
        cold, window = self._cold_models(clock)
        champion = self._cold(clock, self._sampling, clock.split.holdout_from)
        published = {
            Policy.COLD: cold,
            Policy.WINDOW: window,
            Policy.ALWAYS: cold,
            Policy.CAUGHT_UP: self._warm(champion, clock, clock.at),
            Policy.GATED: champion,
            Policy.NEVER: cold,
        }
        trained: dict[Policy, tuple[Artifact, ...]] = {p: (m,) for p, m in published.items()}
        trained[Policy.CAUGHT_UP] = (champion, published[Policy.CAUGHT_UP])
        return ReplayStep(clock.at, until, published, trained, champion, None)

    def _next(self, clock: ReplayClock, until: int, before: ReplayStep) -> ReplayStep:
        cold, window = self._cold_models(clock)
        always = self._warm(before.published[Policy.ALWAYS], clock, clock.at)
        champion = before.published[Policy.GATED]
        candidate = self._warm(champion, clock, clock.split.holdout_from)
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
            fresh = self._warm(candidate, clock, clock.at)
            published[Policy.GATED] = candidate
            published[Policy.CAUGHT_UP] = fresh
            looks = ()
            trained[Policy.CAUGHT_UP] = (candidate, fresh)
        return ReplayStep(clock.at, until, published, trained, candidate, gate, looks)

    def _clock(self, at: int) -> ReplayClock:
        interactions = self._ratings.load(at)
        clock = ReplayClock(at, interactions, Split.of(interactions.time, at))
        label = self._config.preset.features.history.positive(interactions.value)
        clock.split.check(interactions.time, label)
        return clock

    def _cold_models(self, clock: ReplayClock) -> tuple[Artifact, Artifact]:
        """On everything, and on a window."""
        everything = self._cold(clock, self._sampling, clock.at)
        return everything, self._cold(clock, self._forgetful, clock.at)

    @property
    def _sampling(self) -> Sampling:
        return self._config.preset.sampling

    @property
    def _forgetful(self) -> Sampling:
        return replace(self._sampling, window=self._config.window)

    def _cold(self, clock: ReplayClock, sampling: Sampling, until: int) -> Artifact:
        """Chosen by validation, then caught up to `until`."""
        spec = self._config.preset.features

        def plan() -> TrainingData:
            return TrainingData.of(
                cold_parts(clock.interactions, self._item_table, clock.split, spec, sampling, until)
            )

        key = self._key(sampling=asdict(sampling), split=asdict(clock.split), until=until)
        return self._learn(key, plan, None)

    def _warm(self, previous: Artifact, clock: ReplayClock, until: int) -> Artifact:
        """Go on from `previous` to `until`."""
        model = TrainedModel.load(previous.path)

        def plan() -> TrainingData:
            known = model.transform, model.learned_until
            return TrainingData.of(
                warm_parts(clock.interactions, self._item_table, until, self._sampling, *known)
            )

        key = self._key(sampling=asdict(self._sampling), previous=previous.id, until=until)
        return self._learn(key, plan, model)

    def _learn(
        self, key: Json, plan_of: Callable[[], TrainingData], previous: TrainedModel | None
    ) -> Artifact:
        def build(folder: Path) -> Json:
            started = time.perf_counter()
            plan = plan_of()
            described = time.perf_counter()
            fitting = TrainingRun(plan, self._config.preset, previous, self._config.seed)
            rows = sum(len(part.training) for part in plan.parts.values())
            with _one_thread():
                losses = [result.train_loss for result in fitting.epochs()]
            trained = time.perf_counter()
            fitting.finished().save(folder)
            return {
                **fitting.summary(),
                "epochs": len([loss for loss in losses if loss is not None]),
                "training_rows": rows,
                "tokens": sum(len(v) for v in plan.catch_up.transform.vocabularies.values()),
                "seconds": {"features": described - started, "training": trained - described},
            }

        return self._store.get("models", key, build)

    def _compare(
        self,
        candidate: Artifact,
        champion: Artifact,
        clock: ReplayClock,
        earlier: tuple[Artifact, ...],
    ) -> Artifact:
        def build(folder: Path) -> Json:
            evaluator = Evaluator(
                clock.interactions, self._item_table, clock.split, self._config.gate
            )
            ours, theirs = (TrainedModel.load(model.path) for model in (candidate, champion))
            return evaluator.compare(ours, theirs, folder, earlier).as_json()

        key = self._key(
            candidate=candidate.id,
            champion=champion.id,
            split=asdict(clock.split),
            gate=asdict(self._config.gate),
            earlier=[evaluation.id for evaluation in earlier],
        )
        return self._store.get("evaluations", key, build)

    def _key(self, **parts: Json | str | int | list[str]) -> Json:
        return {
            "replay": parts,
            "ratings": self._ratings.artifact.id,
            "preset": self._config.preset.as_json(),
            "seed": self._config.seed,
            "code": code_version("data", "features", "model", "evaluation"),
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


_PROCESSES = 2


class ColdTrainings:
    """What is being trained; `wait` for a step's models before they are asked for."""

    def __init__(self, futures: dict[int, Future[None]]) -> None:
        self._futures = futures

    def wait(self, at: int) -> None:
        """Return when they are there; raises what their training raised."""
        self._futures[at].result()


@contextmanager
def train_cold_ahead(replay: Replay, moments: Sequence[int]) -> Iterator[ColdTrainings]:
    """Train the cold models of all `moments` (UNIX seconds), the first one first."""
    pool = ProcessPoolExecutor(
        _PROCESSES,
        multiprocessing.get_context("spawn"),
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    try:
        futures = {at: pool.submit(_train, *replay.parts, at) for at in moments}
        yield ColdTrainings(futures)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _train(store: ArtifactStore, ratings: IngestedData, config: ReplayConfig, at: int) -> None:
    Replay(store, ratings, config).train_cold(at)


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()

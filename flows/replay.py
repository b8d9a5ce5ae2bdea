"""Years of retraining on a simulated clock: ingest → a step at a time → what it was worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from prefect import flow
from prefect.runtime import flow_run

from flows.environment import default_home
from flows.holding import holding
from flows.report import Stopwatch
from flows.run_form import Clock, DataSet, seconds
from flows.run_name import run_name
from tasks.ingest import Ingested, Window, ingest
from tasks.replaying import FILES, NUMBERS, PLOT, TABLE, retrain_step, summarise
from tasks.tracking import Run, Tracker
from widedeep.artifact_store import Artifact
from widedeep.data.ratings import Ratings
from widedeep.errors import InputError
from widedeep.evaluation.promotion import GateConfig
from widedeep.evaluation.replay import Policy, Replay, ReplayConfig, Step
from widedeep.evaluation.replay_ahead import trained_ahead
from widedeep.evaluation.replay_result import PolicyStep
from widedeep.features.sampling import DAY
from widedeep.model.presets import preset as named
from widedeep.when import iso


@dataclass(frozen=True, slots=True)
class Replayed:
    """Everything a finished replay has to say; its artefact's summary holds the figures."""

    ingested: Ingested
    run_id: str
    moments: Sequence[int]
    every: int
    summary: Artifact
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep replay --json` prints."""
        folder = self.summary.path
        return {
            "data": self.ingested.source.name,
            "model": self.ingested.model,
            "run_id": self.run_id,
            "every_days": self.every,
            "steps": list(self.moments),
            "policies": self.summary.summary["policies"],
            "gate": self.summary.summary["gate"],
            "table": str(folder / TABLE),
            "numbers": str(folder / NUMBERS),
            "plot": str(folder / PLOT),
            "seconds": self.seconds,
        }


@flow(name="replay", flow_run_name=run_name)
def replay(
    data: DataSet = DataSet(),
    clock: Clock = Clock(),
    preset: Literal["default", "paper"] = "default",
    seed: int = 0,
) -> Replayed:
    """Retrain again and again as if it were then, under several policies; nothing is promoted.

    Args:
        data: Where the ratings come from.
        clock: Where it begins and ends, and how far it goes at a step.
        preset: Settings of features, network and training.
        seed: Of the initial weights and the order of the rows.

    Returns:
        All that was found.
    """
    home = default_home()
    config = ReplayConfig(named(preset), GateConfig(), seed)
    with holding(home):
        watch = Stopwatch()
        ingested = ingest(home, data.text, Window(as_of=seconds(clock.end)))
        moments = _moments(ingested, seconds(clock.begin), clock.every_days * DAY)
        tracker = Tracker(home)
        run = tracker.start_replay(ingested, _parameters(config, clock.every_days), flow_run.id)
        with tracker.closing(run):
            work = Replay(home.stages, Ratings(ingested.artifact), config)
            steps = _steps(work, tracker, run, moments)
            summary = summarise(
                home.stages, work, steps, _title(ingested, moments, clock.every_days)
            )
            tracker.log_files(run, [summary.path / name for name in FILES], "")
        total = watch.seconds()["total"]
    return Replayed(ingested, run.run_id, moments[:-1], clock.every_days, summary, total)


def _steps(work: Replay, tracker: Tracker, run: Run, moments: Sequence[int]) -> list[Step]:
    below = {policy: tracker.start_policy(run, policy) for policy in Policy}
    steps: list[Step] = []
    ahead = trained_ahead(work, moments[:-1])
    with tracker.all_closing(below.values()), ahead as cold:
        for at, until in pairwise(moments):
            cold.wait(at)
            step, judged = retrain_step(work, at, until, steps[-1] if steps else None)
            for policy, found in judged.items():
                tracker.log_period(below[policy], len(steps), _measured(found), at)
            steps.append(step)
    return steps


def _moments(ingested: Ingested, begin: int | None, every: int) -> list[int]:
    """Where the clock stands, and the end of the last period."""
    end = ingested.split.as_of
    if begin is None:
        time = ingested.known().time
        begin = int(time[len(time) // 2])
    moments = list(range(begin, end, every))
    if not moments:
        raise InputError(f"the replay begins {iso(begin)}, not before its end {iso(end)}")
    return [*moments, min(moments[-1] + every, end)]


def _measured(found: PolicyStep) -> Mapping[str, float | None]:
    return {
        "next_auc": found.score.auc if found.score else None,
        "next_log_loss": found.score.log_loss if found.score else None,
        "next_rows": found.rows,
        "seconds_train": found.seconds,
        "training_rows": found.training_rows,
        "tokens": found.tokens,
        "churn": found.churn,
    }


def _parameters(config: ReplayConfig, every_days: int) -> Mapping[str, Any]:
    return {
        "preset": config.preset.name,
        "seed": config.seed,
        "every_days": every_days,
        "window_days": config.window,
    }


def _title(ingested: Ingested, moments: Sequence[int], every_days: int) -> str:
    first, last = (iso(moments[place])[:10] for place in (0, -1))
    return f"Replay of {ingested.model}, {first} to {last}, every {every_days} days"

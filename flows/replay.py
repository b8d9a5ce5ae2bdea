"""Years of retraining on a simulated clock: ingest → a step at a time → what it was worth.

The end of a replay, for people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from prefect import flow
from prefect.runtime import flow_run

from flows.console import figures, plain_console, show_files
from flows.environment import default_workspace
from flows.exclusive_run import exclusive_run
from flows.retrain import Stopwatch
from flows.run_form import Clock, DataSet, run_name, seconds
from tasks.ingest import Ingested, SplitMoments, ingest
from tasks.studies import (
    REPLAY_FILES,
    REPLAY_NUMBERS,
    REPLAY_PLOT,
    REPLAY_TABLE,
    retrain_step,
    summarise,
)
from tasks.tracking import TrackedRun, Tracker
from widedeep.data.tables import IngestedData
from widedeep.evaluation.gate import GateConfig
from widedeep.features.sampling import DAY
from widedeep.inputs import InputError, to_iso
from widedeep.model.presets import preset as named
from widedeep.store import Artifact
from widedeep.studies.replay import Policy, Replay, ReplayConfig, ReplayStep, train_cold_ahead
from widedeep.studies.replay_report import COLUMNS, PolicyStep
from widedeep.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ReplayReport:
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
            "table": str(folder / REPLAY_TABLE),
            "numbers": str(folder / REPLAY_NUMBERS),
            "plot": str(folder / REPLAY_PLOT),
            "seconds": self.seconds,
        }


@flow(name="replay", flow_run_name=run_name)
def replay(
    data: DataSet = DataSet(),
    clock: Clock = Clock(),
    preset: Literal["default", "paper"] = "default",
    seed: int = 0,
) -> ReplayReport:
    """Retrain again and again as if it were then, under several policies; nothing is promoted.

    Args:
        data: Where the ratings come from.
        clock: Where it begins and ends, and how far it goes at a step.
        preset: Settings of features, network and training.
        seed: Of the initial weights and the order of the rows.

    Returns:
        All that was found.
    """
    workspace = default_workspace()
    config = ReplayConfig(named(preset), GateConfig(), seed)
    with exclusive_run(workspace):
        watch = Stopwatch()
        ingested = ingest(workspace, data.text, SplitMoments(as_of=seconds(clock.end)))
        moments = _moments(ingested, seconds(clock.begin), clock.every_days * DAY)
        tracker = Tracker(workspace)
        run = tracker.start_replay(ingested, _parameters(config, clock.every_days), flow_run.id)
        with tracker.closing(run):
            work = Replay(workspace.stages, IngestedData(ingested.artifact), config)
            steps = _steps(work, tracker, run, moments)
            summary = summarise(
                workspace.stages, work, steps, _title(ingested, moments, clock.every_days)
            )
            tracker.log_files(run, [summary.path / name for name in REPLAY_FILES], "")
        total = watch.seconds()["total"]
    return ReplayReport(ingested, run.run_id, moments[:-1], clock.every_days, summary, total)


def _steps(
    work: Replay, tracker: Tracker, run: TrackedRun, moments: Sequence[int]
) -> list[ReplayStep]:
    below = {policy: tracker.start_policy(run, policy) for policy in Policy}
    steps: list[ReplayStep] = []
    ahead = train_cold_ahead(work, moments[:-1])
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
        raise InputError(f"the replay begins {to_iso(begin)}, not before its end {to_iso(end)}")
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
    first, last = (to_iso(moments[place])[:10] for place in (0, -1))
    return f"Replay of {ingested.model}, {first} to {last}, every {every_days} days"


def show_replay(found: ReplayReport, workspace: Workspace) -> None:
    """Print the policies, what the gate was worth, and where to look next."""
    console = plain_console()
    report, summary = found.as_json(), found.summary.summary
    console.print(f"\n[bold]{found.ingested.model}[/bold]  ({found.ingested.source.origin})")
    console.print(figures(COLUMNS, summary["rows"], words=1))
    console.print("\nthe gate", style="bold")
    for sentence in summary["sentences"]:
        console.print(f"  {sentence}")
    console.print()
    files = {name: report[name] for name in ("plot", "table", "numbers")}
    show_files(console, files, workspace, f"{report['model']}-replay", "the policies")

"""Years of retraining on a simulated clock: ingest → one step after another → what it was worth.

`replay` is the flow, a `ReplayReport` is what it returns, and `show_replay` prints it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from rich.markup import escape

from flows.console import figures, plain_console, show_next
from flows.environment import default_workspace
from flows.exclusive_run import Stopwatch, exclusive_run, run_name
from tasks.ingest import Ingested, ingest
from tasks.run_form import Clock, DataSet, FixedPreset, Moments, ReplayTraining, Seed
from tasks.studies import (
    REPLAY_FILES,
    REPLAY_NUMBERS,
    REPLAY_PLOT,
    REPLAY_TABLE,
    retrain_step,
    summarise,
)
from tasks.tracking import TrackedRun, Tracker
from widedeep import Artifact, GateConfig, IngestedData, InputError, Workspace, get_preset
from widedeep.features.sampling import DAY
from widedeep.inputs import Moment, to_iso
from widedeep.studies.replay import Policy, Replay, ReplayConfig, ReplayStep, train_cold_ahead
from widedeep.studies.replay_report import POLICY_COLUMNS
from widedeep.studies.replay_result import PolicyStep


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The result of a finished replay; `moments` are those of the retrains, in UNIX seconds.

    The summary of the artefact `summary` holds the figures.
    """

    ingested: Ingested
    run_id: str
    moments: Sequence[Moment]
    every_days: int
    summary: Artifact
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep replay --json` prints."""
        folder = self.summary.path
        return {
            "data": self.ingested.source.name,
            "model": self.ingested.model,
            "run_id": self.run_id,
            "every_days": self.every_days,
            "steps": list(self.moments),
            "policies": self.summary.summary["policies"],
            "gate": self.summary.summary["gate"],
            "table": str(folder / REPLAY_TABLE),
            "numbers": str(folder / REPLAY_NUMBERS),
            "plot": str(folder / REPLAY_PLOT),
            "seconds": self.seconds,
        }


_DEFAULTS = ReplayTraining()


@flow(name="replay", flow_run_name=run_name)
def replay(
    data: DataSet = DataSet(),
    clock: Clock = Clock(),
    preset: FixedPreset = _DEFAULTS.preset,
    seed: Seed = _DEFAULTS.seed,
) -> ReplayReport:
    """Retrain again and again with the clock put back, under several policies; promote nothing.

    Args:
        data: Where the interactions come from.
        clock: Where the clock begins and ends, and how far it moves at a step.
        preset: Settings of features, network and training.
        seed: Seed of the initial weights and of the order of the rows.

    Returns:
        The report, whose `as_json` is the object that `widedeep replay --json` prints.
    """
    workspace = default_workspace()
    with exclusive_run(workspace):
        watch = Stopwatch()
        ingested = ingest(workspace, data, Moments(as_of=clock.end))
        config = ReplayConfig(get_preset(preset, ingested.source.spec), GateConfig(), seed)
        moments = _moments(ingested, clock.begin, clock.every_days * DAY)
        tracker = Tracker(workspace)
        run = tracker.start_replay(ingested, _parameters(config, clock.every_days), flow_run.id)
        with tracker.closing(run):
            work = Replay(workspace.stages, IngestedData(ingested.artifact), config)
            steps = _steps(work, tracker, run, moments)
            title = _title(ingested, moments, clock.every_days)
            summary = summarise(workspace.stages, work, steps, title)
            tracker.log_files(run, [summary.path / name for name in REPLAY_FILES], "")
        total = watch.seconds()["total"]
    return ReplayReport(ingested, run.run_id, moments[:-1], clock.every_days, summary, total)


def _moments(ingested: Ingested, begin: Moment | None, step: int) -> list[Moment]:
    """Return the moments of the retrains, `step` seconds apart, and the end of the last period."""
    end = ingested.split.as_of
    if begin is None:
        times = ingested.known().time
        begin = int(times[len(times) // 2])
    moments = list(range(begin, end, step))
    if not moments:
        raise InputError(f"the replay begins {to_iso(begin)}, not before its end {to_iso(end)}")
    return [*moments, min(moments[-1] + step, end)]


def _steps(
    work: Replay, tracker: Tracker, run: TrackedRun, moments: Sequence[Moment]
) -> list[ReplayStep]:
    """Retrain at each moment under every policy, and log what its users got until the next."""
    policy_runs = {policy: tracker.start_policy(run, policy) for policy in Policy}
    steps: list[ReplayStep] = []
    cold_trainings = train_cold_ahead(work, moments[:-1])
    with tracker.all_closing(policy_runs.values()), cold_trainings as cold:
        for at, until in pairwise(moments):
            cold.wait(at)
            step, results = retrain_step(work, at, until, steps[-1] if steps else None)
            for policy, result in results.items():
                tracker.log_period(policy_runs[policy], len(steps), _metrics(result), at)
            steps.append(step)
    return steps


def _metrics(result: PolicyStep) -> Mapping[str, float | None]:
    return {
        "next_auc": result.score.auc if result.score else None,
        "next_log_loss": result.score.log_loss if result.score else None,
        "next_rows": result.rows,
        "seconds_train": result.seconds,
        "training_rows": result.training_rows,
        "tokens": result.tokens,
        "churn": result.churn,
    }


def _parameters(config: ReplayConfig, every_days: int) -> Mapping[str, Any]:
    return {
        "preset": config.preset.name,
        "seed": config.seed,
        "every_days": every_days,
        "window_days": config.window,
    }


def _title(ingested: Ingested, moments: Sequence[Moment], every_days: int) -> str:
    first, last = (to_iso(moments[position])[:10] for position in (0, -1))
    return f"Replay of {ingested.model}, {first} to {last}, every {every_days} days"


def show_replay(report: ReplayReport, workspace: Workspace) -> None:
    """Print the policies, what the gate was worth, and where to look next."""
    console = plain_console()
    ingested, values, summary = report.ingested, report.as_json(), report.summary.summary
    console.print(f"\n[bold]{ingested.model}[/bold]  ({ingested.source.origin})")
    console.print(f"label     {escape(ingested.label)}")
    console.print(figures(POLICY_COLUMNS, summary["rows"], words=1))
    console.print("\nthe gate", style="bold")
    for sentence in summary["sentences"]:
        console.print(f"  {sentence}")
    console.print()
    files = {name: values[name] for name in ("plot", "table", "numbers")}
    pages = Tracker(workspace).pages(report.run_id)
    links = {"this run": pages.run, "policies": pages.children}
    show_next(console, workspace, files, links, pages.prefect_run)

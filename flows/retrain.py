"""The chain: ingest → features → train → evaluate → promote.

What a run found: the contract's JSON object.

The moments at which a schedule should have retrained since the last decision.

The end of a run, for people.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from rich import box
from rich.console import Console
from rich.table import Table

from flows.console import plain_console, split_line
from flows.environment import default_workspace
from flows.exclusive_run import exclusive_run, newest_only
from flows.run_form import Computing, DataSet, Gate, Moments, Training, run_name, seconds
from tasks.dry_run import DryRunProcess
from tasks.evaluation import evaluate
from tasks.ingest import checked, describe, ingest
from tasks.prefect_page import show_data
from tasks.promotion import Challenger, PromotionOutcome, Registry, passed_gate, promote
from tasks.run import RunContext, RunRequest, preset_by_name
from tasks.tracking import Tracker
from tasks.training import catch_up, features, train
from widedeep import decision_log
from widedeep.choices import Device, Precision, Publish
from widedeep.data.source import resolve
from widedeep.data.tables import IngestedData
from widedeep.evaluation.comparison import headlines, opponent_name
from widedeep.evaluation.gate import GateConfig
from widedeep.evaluation.scoring import PREDICTIONS
from widedeep.features.sampling import DAY
from widedeep.inputs import InputError
from widedeep.model.compute import resolve_device
from widedeep.model.warm_start import StartMode, TrainingStart
from widedeep.store import Artifact
from widedeep.workspace import Workspace


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
class RetrainReport:
    """Everything a finished run has to say."""

    job: RunContext
    run_id: str
    evaluation: Artifact
    outcome: PromotionOutcome
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep retrain --json` prints."""
        ingested, previous = self.job.ingested, self.job.start.previous
        split = ingested.split
        train, validation, holdout = ingested.examples
        found = self.evaluation.summary
        return {
            "data": ingested.source.name,
            "as_of": split.as_of,
            "run_id": self.run_id,
            "mode": "warm" if previous else "cold",
            "warm_started_from": previous.number if previous else None,
            "rows": asdict(ingested.counts),
            "split": {
                **asdict(split),
                "train": train,
                "validation": validation,
                "holdout": holdout,
            },
            "challenger": found["challenger"],
            "champion": found["champion"],
            "decision": str(self.outcome.decision.verdict),
            "reasons": [self.job.start.reason, *self.outcome.decision.reasons],
            "model": ingested.model,
            "version": self.outcome.version,
            "champion_version": self.outcome.champion,
            "predictions": str(self.evaluation.path / PREDICTIONS),
            "seconds": dict(self.seconds),
        }


@flow(name="retrain", flow_run_name=run_name)
@newest_only
def retrain(
    data: DataSet = DataSet(),
    moments: Moments = Moments(),
    training: Training = Training(),
    gate: Gate = Gate(),
    computing: Computing = Computing(),
) -> RetrainReport:
    """Retrain on the ratings known at a moment, and promote the model if it is really better.

    Args:
        data: Where the ratings come from.
        moments: What is known when.
        training: How the model is made.
        gate: What a promotion takes.
        computing: Where the work is done.

    Returns:
        All that was found; `RetrainReport.as_json` is the contract's object.
    """
    workspace = default_workspace()
    request = RunRequest(
        data.text,
        moments.window,
        StartMode(training.mode),
        training.preset,
        Publish(gate.publish),
        training.seed,
        Precision(training.precision),
        computing.config,
        Device(training.device),
    )
    with exclusive_run(workspace), request.engine.running(workspace):
        return _chain(workspace, request, gate.config)


def _chain(workspace: Workspace, request: RunRequest, gate: GateConfig) -> RetrainReport:
    if not request.engine.on_ray:  # there it is the workers' devices that count
        resolve_device(request.device)
    watch = Stopwatch()
    with watch.stage("ingest"):
        ingested = ingest(workspace, request.data, request.window, request.engine)
    show_data(ingested)
    tracker = Tracker(workspace)
    champion = Registry(workspace, tracker, ingested.model).champion()
    asked = preset_by_name(workspace, ingested.model, request.preset)
    preset = asked.multiplied_in(request.precision).trained_on(request.device)
    start = TrainingStart.choose(request.mode, champion, ingested.split, preset)
    job = RunContext(workspace, ingested, preset, champion, start, request.seed, request.engine)
    run = tracker.start(job, flow_run.id)
    with tracker.closing(run), tracker.observing(run):
        with watch.stage("features"):
            encoded = features(job)
        with watch.stage("train"):
            model = train(job, encoded)
        if model.id != start.model_id:
            tracker.log_training(run, model)
        with watch.stage("evaluate"):
            evaluation = evaluate(job, model, gate)
        with watch.stage("promote"), DryRunProcess() as stranger:
            served = model
            if passed_gate(evaluation):
                stranger.call()
                served = _published(job, request.publication, model)
            candidate = Challenger(model, served, evaluation)
            outcome = promote(job, run, candidate, gate, stranger)
        report = RetrainReport(job, run.run_id, evaluation, outcome, watch.seconds())
        tracker.log_seconds(run, report.seconds)
    return report


def _published(job: RunContext, publication: Publish, gated: Artifact) -> Artifact:
    return catch_up(job, gated) if publication is Publish.CAUGHT_UP else gated


def missed_moments(
    workspace: Workspace, data: str, as_of: datetime | None, every: int
) -> list[datetime]:
    """Each `every` days since the last decision's as-of, and at the end `as_of`, in order.

    Without `as_of` it is the moment after the last rating; with no decision yet nothing was missed.

    Raises:
        InputError: `every` is not at least 1.
    """
    if every < 1:
        raise InputError(f"every is {every} days; a whole number from 1 is wanted")
    source = resolve(data, workspace.data, os.environ)
    end = seconds(as_of)
    if end is None:
        end = IngestedData(checked(workspace, source)).last_time + 1
    decisions = decision_log.history(workspace.decisions / source.model)
    decided = [decision["as_of"] for decision in decisions if "as_of" in decision]
    begin = max(decided) + every * DAY if decided else end
    moments = [*range(begin, end, every * DAY), end]
    return [datetime.fromtimestamp(moment, UTC) for moment in moments]


def show_retrain(report: RetrainReport, workspace: Workspace) -> None:
    """Print data, split, comparison, decision, and where to look next."""
    console = plain_console()
    ingested = report.job.ingested
    counts = ingested.counts
    console.print()
    console.print(f"[bold]{ingested.model}[/bold]  ({ingested.source.origin})")
    console.print(
        f"rows      {counts.read:,} read = {counts.examples:,} examples + "
        f"{counts.superseded:,} superseded + {counts.quarantined:,} set aside"
    )
    if ingested.arrivals is not None:
        console.print(f"arrived   {describe(ingested.arrivals)}")
    console.print(split_line(ingested))
    console.print(f"start     {report.job.start.reason}")
    console.print(_table(report))
    _show_decision(report, console)
    _show_next(report, workspace, console)


def _table(report: RetrainReport) -> Table:
    found = report.evaluation.summary
    columns = ("holdout", "challenger", opponent_name(found), "difference, 95 % interval")
    table = Table(*columns, box=box.SIMPLE)
    for one in headlines(found):
        if one.challenger is None or one.other is None:
            table.add_row(one.title, "no user has rows to rank", "", "")
            continue
        apart = f"{one.challenger - one.other:+.4f}  {one.interval}".rstrip()
        table.add_row(one.title, f"{one.challenger:.4f}", f"{one.other:.4f}", apart)
    return table


def _show_decision(report: RetrainReport, console: Console) -> None:
    decision = report.outcome.decision
    champion = report.outcome.champion
    serving = f"version {champion} is the champion" if champion else "there is no champion yet"
    console.print(
        f"decision  [bold]{decision.verdict}[/bold] version {report.outcome.version}; {serving}"
    )
    for reason in decision.reasons:
        console.print(f"          - {reason}")
    times = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
    console.print(f"seconds   {times}")


def _show_next(report: RetrainReport, workspace: Workspace, console: Console) -> None:
    console.print("\nlook next", style="bold")
    lines = (
        f"  predictions  {report.as_json()['predictions']}",
        f"  MLflow       .venv/bin/mlflow ui --backend-store-uri {workspace.tracking_uri}",
        f"  Prefect      PREFECT_HOME={workspace.prefect} .venv/bin/prefect server start",
    )
    for line in lines:
        console.print(line)

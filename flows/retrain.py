"""The chain of a retrain: ingest → features → train → evaluate → promote.

`retrain` is the flow and `Gate` a part of its run form. A `RetrainReport` is what a finished run
returns, `show_retrain` prints it. `missed_moments` says for which moments a schedule should have
retrained since the last decision.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.console import plain_console, show_next, split_line
from flows.environment import default_workspace
from flows.exclusive_run import Stopwatch, exclusive_run, newest_only, run_name
from tasks.dry_run import DryRunProcess
from tasks.engine import Engine
from tasks.ingest import arrivals_to_text, ingest, ingest_source
from tasks.model_store import ModelStore
from tasks.prefect_page import show_data
from tasks.promotion import (
    Challenger,
    PromotionOutcome,
    evaluate,
    learned_nothing_new,
    passed_gate,
    promote,
)
from tasks.registry import Registry
from tasks.run import RunContext, preset_by_name
from tasks.run_form import AtLeastOne, DataSet, Moments, Publication, Training
from tasks.tracking import Tracker
from tasks.training import catch_up, features, train
from widedeep import Artifact, GateConfig, IngestedData, Workspace
from widedeep.data.source import resolve_source
from widedeep.evaluation.gate import Guardrail, Verdict
from widedeep.evaluation.report import headlines, opponent_name
from widedeep.evaluation.scoring import PREDICTIONS
from widedeep.features.sampling import DAY
from widedeep.inputs import Moment, Publish
from widedeep.model.compute import resolve_device
from widedeep.model.warm_start import TrainingStart
from widedeep.store import ModelVersion

_DEFAULT_GATE = GateConfig()


class Gate(Publication):
    """What a challenger has to show to be promoted."""

    confidence: float = Field(
        _DEFAULT_GATE.confidence,
        ge=0.5,
        lt=1,
        title="Confidence",
        description="The interval of the AUC's difference must lie above 0 with this confidence.",
    )
    log_loss_margin: float = Field(
        _DEFAULT_GATE.log_loss_margin,
        gt=0,
        title="Margin of log loss",
        description="By how many nats log loss may rise where AUC is better.",
    )
    ece_margin: float = Field(
        _DEFAULT_GATE.ece_margin,
        gt=0,
        title="Margin of calibration",
        description="By how much the calibration error may rise.",
    )
    slice_margin: float = Field(
        _DEFAULT_GATE.slice_margin,
        gt=0,
        title="Margin of slices",
        description="By how much AUC may fall for new or returning users, new or known items.",
    )
    coverage_margin: float = Field(
        _DEFAULT_GATE.coverage_margin,
        gt=0,
        title="Margin of coverage",
        description="By which share the number of items in top-10 lists may fall.",
    )
    minimum_rows: AtLeastOne = Field(
        _DEFAULT_GATE.minimum_rows,
        title="Least rows of the holdout",
        description="With fewer rows nothing is promoted.",
    )

    @property
    def config(self) -> GateConfig:
        """The settings of the gate without `publish`."""
        return GateConfig(**self.model_dump(exclude={"publish"}))


@dataclass(frozen=True, slots=True)
class RetrainReport:
    """The result of a finished retrain: artefacts, decision, and seconds by stage.

    `repeated` says whether the run before came to the same evaluation, as nothing is new.
    """

    context: RunContext
    run_id: str
    evaluation: Artifact
    outcome: PromotionOutcome
    repeated: bool
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep retrain --json` prints."""
        ingested, previous = self.context.ingested, self.context.start.previous
        sizes = zip(("train", "validation", "holdout"), ingested.examples, strict=True)
        summary = self.evaluation.summary
        return {
            "data": ingested.source.name,
            "as_of": ingested.split.as_of,
            "run_id": self.run_id,
            "mode": "warm" if previous else "cold",
            "warm_started_from": previous.number if previous else None,
            "rows": asdict(ingested.counts),
            "split": {**asdict(ingested.split), **dict(sizes)},
            "challenger": summary["challenger"],
            "champion": summary["champion"],
            "decision": str(self.outcome.decision.verdict),
            "reasons": [self.context.start.reason, *self.outcome.decision.reasons],
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
    computing: Engine = Engine(),
) -> RetrainReport:
    """Retrain on the interactions known at a moment, and promote the model if it is really better.

    Args:
        data: Where the interactions come from.
        moments: What is known when.
        training: How the model is trained.
        gate: What a promotion takes.
        computing: Where the work is done.

    Returns:
        The report, whose `as_json` is the object that `widedeep retrain --json` prints.
    """
    workspace = default_workspace()
    with exclusive_run(workspace), computing.running(workspace):
        if not computing.on_ray:  # on Ray the workers' devices are used
            resolve_device(training.device)
        watch = Stopwatch()
        with watch.stage("ingest"):
            ingested = ingest(workspace, data, moments, computing)
        show_data(ingested)
        tracker = Tracker(workspace)
        champion = Registry(workspace, ModelStore(workspace), ingested.model).champion()
        preset = preset_by_name(workspace, ingested.source, training.preset)
        preset = preset.with_precision(training.precision).with_device(training.device)
        start = TrainingStart.choose(training.mode, champion, ingested.split, preset)
        context = RunContext(workspace, ingested, preset, champion, start, training.seed, computing)
        return _train_and_promote(context, tracker, gate, watch)


def _train_and_promote(
    context: RunContext, tracker: Tracker, gate: Gate, watch: Stopwatch
) -> RetrainReport:
    run = tracker.start(context, flow_run.id)
    with tracker.closing(run), tracker.observing(run):
        with watch.stage("features"):
            encoded = features(context)
        with watch.stage("train"):
            model = train(context, encoded)
        if model.id != context.start.model_id:
            tracker.log_training(run, model)
        with watch.stage("evaluate"):
            evaluation = evaluate(context, model, gate.config)
        with watch.stage("promote"), DryRunProcess() as process:
            served = model
            if passed_gate(evaluation):
                process.start()
                if gate.publish is Publish.CAUGHT_UP:
                    served = catch_up(context, model)
            decisions = context.workspace.decision_log(run.model).history()
            repeated = bool(decisions) and decisions[-1].get("evaluation") == evaluation.id
            challenger = Challenger(model, served, evaluation)
            outcome = promote(context, run, challenger, gate.config, process)
        report = RetrainReport(context, run.run_id, evaluation, outcome, repeated, watch.seconds())
        tracker.log_seconds(run, report.seconds)
    return report


def missed_moments(
    workspace: Workspace, data: DataSet, as_of: Moment | None, every_days: int
) -> list[Moment]:
    """Return each `every_days` since the last decision's as-of, and `as_of` itself, in order.

    `as_of` is the moment after the last interaction if it is None. If there is no decision yet, no
    moment was missed.
    """
    source = resolve_source(str(data), workspace.data, os.environ)
    if as_of is None:
        as_of = IngestedData(ingest_source(workspace, source)).last_time + 1
    decisions = workspace.decision_log(source.model).history()
    decided = [decision["as_of"] for decision in decisions if "as_of" in decision]
    step = every_days * DAY
    begin = max(decided) + step if decided else as_of
    return [*range(begin, as_of, step), as_of]


def show_retrain(report: RetrainReport, workspace: Workspace) -> None:
    """Print data, split, comparison, decision, and where to look next."""
    console = plain_console()
    ingested = report.context.ingested
    console.print()
    console.print(f"[bold]{ingested.model}[/bold]  ({ingested.source.origin})")
    _show_decision(report, console)
    counts = ingested.counts
    console.print(
        f"rows      {counts.read:,} read = {counts.examples:,} examples + "
        f"{counts.superseded:,} repeats + {counts.quarantined:,} set aside"
    )
    console.print(f"label     {escape(ingested.label)}")
    if ingested.arrivals is not None:
        console.print(f"arrived   {arrivals_to_text(ingested.arrivals)}")
    console.print(split_line(ingested))
    console.print(f"start     {report.context.start.reason}")
    if not learned_nothing_new(report.evaluation):
        _show_comparison(report.evaluation.summary, report.context.champion, console)
    stages = dict(report.seconds)
    total = stages.pop("total")
    times = {**stages, "start-up and the rest": total - sum(stages.values()), "total": total}
    console.print(f"seconds   {', '.join(f'{name} {value:.1f}' for name, value in times.items())}")
    _show_next(report, workspace, console)


def _show_decision(report: RetrainReport, console: Console) -> None:
    """Print the conclusion, what serves now, and how to serve a version that was not promoted."""
    outcome = report.outcome
    serving = f"version {outcome.champion} serves" if outcome.champion else "nothing serves yet"
    if learned_nothing_new(report.evaluation):
        console.print(f"decision  [bold]{outcome.decision.reasons[0]}[/bold]; {serving}")
        return
    known = "nothing is new since the last run; " if report.repeated else ""
    text = escape(outcome.decision.to_text())
    console.print(f"decision  {known}[bold]version {outcome.version} {text}[/bold]; {serving}")
    if outcome.decision.verdict is not Verdict.PROMOTE:
        console.print(
            f"          to serve it anyway: widedeep promote {outcome.version} --reason …"
        )


def _show_comparison(
    summary: Mapping[str, Any], champion: ModelVersion | None, console: Console
) -> None:
    """Print the metrics of both models on the holdout, and the margins of the guardrails."""
    other = f"version {champion.number}" if champion else opponent_name(summary)
    guardrails = {values["name"]: Guardrail.from_json(values) for values in summary["guards"]}
    columns = ("holdout", "challenger", other, "difference, 95 % interval", "margin")
    table = Table(*columns, box=box.SIMPLE)
    for headline in headlines(summary):
        measured, compared = headline.challenger, headline.other
        if measured is None or compared is None:
            table.add_row(headline.title, "nothing to rank")
            continue
        difference = f"{measured - compared:+.4f}  {headline.interval}".rstrip()
        guardrail = guardrails.pop(headline.title, None)
        margin = guardrail.margin_text if guardrail else ""
        table.add_row(headline.title, f"{measured:.4f}", f"{compared:.4f}", difference, margin)
    for guardrail in guardrails.values():
        table.add_row(*guardrail.cells())
    console.print(table)
    console.print(
        "streaming: each row with what was known before it; frozen: with what was known before the "
        "holdout.\nNeither model has learned from the holdout. GAUC and NDCG: within a user."
    )


def _show_next(report: RetrainReport, workspace: Workspace, console: Console) -> None:
    tracker, model = Tracker(workspace), report.context.ingested.model
    pages = tracker.pages(report.run_id)
    links = {"this run": pages.run, "all runs": pages.decisions}
    champion = report.context.champion
    if champion is not None:
        other = tracker.run_of_version(model, champion.number)
        if other is not None and other != report.run_id:
            links[f"beside version {champion.number}"] = pages.beside(other)
    console.print()
    files = {"predictions": report.as_json()["predictions"]}
    show_next(console, workspace, files, links, pages.prefect_run)

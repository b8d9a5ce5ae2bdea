"""The stage `promote`: register the challenger, decide, and move the champion if it passed.

The registry is read once before a run's work and written once, here, after it.
"""

from dataclasses import dataclass

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.dry_run import DryRunProcess
from tasks.engine import STAGE_SECONDS
from tasks.ingest import Ingested
from tasks.prefect_page import announce, show_evaluation, show_link
from tasks.registry import Registry
from tasks.run import RunContext, git_commit
from tasks.tracking import TrackedRun, Tracker
from widedeep.evaluation.gate import Decision, GateConfig, Verdict
from widedeep.evaluation.report import ModelCard
from widedeep.inputs import to_iso
from widedeep.store import Artifact, ModelVersion


def model_card(
    context: RunContext, version: str, served: Artifact, evaluation: Artifact, decision: Decision
) -> str:
    """Return the model card of a registered version, as Markdown."""
    ingested, preset = context.ingested, context.preset
    facts = {
        "label": f"a rating of {preset.features.history.positive_rating} or more is positive",
        "data": _data(ingested),
        "holdout": _holdout(ingested),
        "start": context.start.reason,
        "serves": _serves(served, evaluation),
        "preset": f"{preset.name}, seed {context.seed}",
        "features": ", ".join(
            (
                f"{len(preset.features.categories)} categories",
                f"{len(preset.features.bags)} bags",
                f"{len(preset.features.numbers)} numbers",
                f"{len(preset.features.crosses)} cross-products",
            )
        ),
        "code": f"commit {git_commit() or 'unknown'}",
    }
    title = f"{ingested.model} version {version}"
    return ModelCard(
        title, facts, evaluation.summary, str(decision.verdict), decision.reasons
    ).as_markdown()


def _data(ingested: Ingested) -> str:
    counts = ingested.counts
    return (
        f"{ingested.source.name} ({ingested.source.origin}), {counts.examples:,} examples of "
        f"{counts.read:,} ratings, known before {to_iso(ingested.split.as_of)}, "
        f"digest {ingested.artifact.id}"
    )


def _holdout(ingested: Ingested) -> str:
    return f"{ingested.examples[2]:,} ratings from {to_iso(ingested.split.holdout_from)} on"


def _serves(served: Artifact, evaluation: Artifact) -> str:
    if served.id == evaluation.key["challenger"]:
        return "the model that was evaluated"
    return "the model that was evaluated, after it has also learned the holdout's ratings"


@dataclass(frozen=True, slots=True)
class PromotionOutcome:
    """The challenger's version, the decision, and the version that serves now (None: no version)."""

    version: str
    decision: Decision
    champion: str | None


def passed_gate(evaluation: Artifact) -> bool:
    """Return whether the gate's verdict on the evaluation is to promote."""
    return bool(evaluation.summary["decision"]["verdict"] == Verdict.PROMOTE)


@dataclass(frozen=True, slots=True)
class Challenger:
    """A trained model that may become the champion.

    Attributes:
        gated: The model that was evaluated.
        served: The model to serve after a promotion: the same one, or the one that also learned the
            holdout.
        evaluation: Its evaluation.
    """

    gated: Artifact
    served: Artifact
    evaluation: Artifact


@task(
    name="promote",
    task_run_name="promote {context.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
)
def promote(
    context: RunContext,
    run: TrackedRun,
    challenger: Challenger,
    gate: GateConfig,
    dry_run_process: DryRunProcess,
) -> PromotionOutcome:
    """Register the challenger and, if it passed the gate and a dry run, make it the champion.

    The alias moves last, so a run that is killed before that leaves what serves unchanged.
    """
    logger = get_run_logger()
    gated, served, evaluation = challenger.gated, challenger.served, challenger.evaluation
    tracker = Tracker(context.workspace)
    tracker.log_evaluation(run, evaluation)
    version = tracker.register(run, gated, served, context.ingested)
    decision = _decide(evaluation, version, gate, dry_run_process)
    record = {
        "version": version.number,
        "action": decision.verdict,
        "reason": "; ".join(decision.reasons),
        "run_id": run.run_id,
        "as_of": context.ingested.split.as_of,
        "model": gated.id,
        "served": served.id,
        "evaluation": evaluation.id,
        "ratings": context.ingested.artifact.id,
        "difference": evaluation.summary["difference"],
    }
    successor = version if decision.verdict is Verdict.PROMOTE else None
    registry = Registry(context.workspace, tracker, run.model)
    serving = registry.decide(record, context.champion, successor)
    tracker.log_decision(run, decision, version.number)
    card = model_card(context, version.number, served, evaluation, decision)
    tracker.log_card(run, version.number, card)
    logger.info("promote: version %s: %s", version.number, decision.verdict)
    outcome = PromotionOutcome(version.number, decision, serving.number if serving else None)
    _announce(tracker, run, evaluation, outcome)
    return outcome


def _announce(
    tracker: Tracker, run: TrackedRun, evaluation: Artifact, outcome: PromotionOutcome
) -> None:
    """Show the outcome on the run's page in Prefect, and emit it as an event."""
    show_evaluation(run.model, evaluation)
    show_link(run.model, tracker.page(run))
    decision = outcome.decision
    announce(run.model, decision.verdict, outcome.version, outcome.champion, decision.reasons)


def _decide(
    evaluation: Artifact, version: ModelVersion, gate: GateConfig, dry_run_process: DryRunProcess
) -> Decision:
    """Return the gate's decision, or hold if the gate would promote but the dry run fails."""
    decision = evaluation.summary["decision"]
    verdict, reasons = Verdict(decision["verdict"]), tuple(decision["reasons"])
    if verdict is not Verdict.PROMOTE:
        return Decision(verdict, reasons)
    dry_run = dry_run_process.try_model(version.folder, gate.latency_budget)
    return Decision(Verdict.HOLD if dry_run.faults else verdict, (*reasons, *dry_run.reasons()))

"""The registry, read once before the work and written once after it."""

from dataclasses import dataclass

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks import run_page, time_limit
from tasks.announcement import announce
from tasks.card import model_card
from tasks.dry_run import Stranger
from tasks.job import Job
from tasks.registry import Registry
from tasks.tracking import Run, Tracker
from widedeep.artifact_store import Artifact
from widedeep.evaluation.promotion import Decision, GateConfig, Verdict
from widedeep.model.version import ModelVersion


@dataclass(frozen=True, slots=True)
class Outcome:
    """The challenger's version, what was decided, and which one serves now (None: none does)."""

    version: str
    decision: Decision
    champion: str | None


def passed(evaluation: Artifact) -> bool:
    """Whether the numbers speak for a promotion."""
    return bool(evaluation.summary["decision"]["verdict"] == Verdict.PROMOTE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model on its way to users.

    Attributes:
        gated: The one that was judged.
        served: What users are to get if it passed: the same, or the one caught up.
        evaluation: The judgement.
    """

    gated: Artifact
    served: Artifact
    evaluation: Artifact


@task(
    name="promote",
    task_run_name="promote {job.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=time_limit.STAGE,
)
def promote(
    job: Job, run: Run, candidate: Candidate, gate: GateConfig, stranger: Stranger
) -> Outcome:
    """Register the challenger and, if it passed the gate and a dry run, make it the champion.

    The alias moves last, so a run that dies before has changed nothing that serves.
    """
    logger = get_run_logger()
    gated, served, evaluation = candidate.gated, candidate.served, candidate.evaluation
    tracker = Tracker(job.home)
    tracker.log_evaluation(run, evaluation)
    version = tracker.register(run, gated, served, job.ingested)
    decision = _decide(evaluation, version, gate, stranger)
    record = {
        "version": version.number,
        "action": decision.verdict,
        "reason": "; ".join(decision.reasons),
        "run_id": run.run_id,
        "as_of": job.ingested.split.as_of,
        "model": gated.id,
        "served": served.id,
        "evaluation": evaluation.id,
        "ratings": job.ingested.artifact.id,
        "difference": evaluation.summary["difference"],
    }
    successor = version if decision.verdict is Verdict.PROMOTE else None
    serving = Registry(job.home, tracker, run.model).decide(record, job.champion, successor)
    tracker.log_decision(run, decision, version.number)
    card = model_card(job, version.number, served, evaluation, decision)
    tracker.log_card(run, version.number, card)
    logger.info("promote: version %s: %s", version.number, decision.verdict)
    outcome = Outcome(version.number, decision, serving.number if serving else None)
    _announce(tracker, run, evaluation, outcome)
    return outcome


def _announce(tracker: Tracker, run: Run, evaluation: Artifact, outcome: Outcome) -> None:
    """On the run's page, and as an event that automations may wait for."""
    run_page.show_evaluation(run.model, evaluation)
    run_page.show_link(run.model, tracker.page(run))
    decision = outcome.decision
    announce(run.model, decision.verdict, outcome.version, outcome.champion, decision.reasons)


def _decide(
    evaluation: Artifact, version: ModelVersion, gate: GateConfig, stranger: Stranger
) -> Decision:
    """By the numbers and, where they speak for a promotion, by whether the model really works."""
    found = evaluation.summary["decision"]
    verdict, reasons = Verdict(found["verdict"]), tuple(found["reasons"])
    if verdict is not Verdict.PROMOTE:
        return Decision(verdict, reasons)
    tried = stranger.try_out(version.folder, gate.latency_budget)
    held = Verdict.HOLD if tried.faults else verdict
    return Decision(held, (*reasons, *tried.sentences()))

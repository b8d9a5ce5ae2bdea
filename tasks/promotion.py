"""The registry, read once before the work and written once after it."""

from dataclasses import dataclass

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.job import Job
from tasks.registry import Registry
from tasks.tracking import Run, Tracker
from widedeep.artifact_store import Artifact
from widedeep.evaluation.promotion import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """The challenger's version, and which one serves now (None if still none does)."""

    version: str
    champion: str | None


def passed(evaluation: Artifact) -> bool:
    """Whether the gate said to promote."""
    return bool(evaluation.summary["decision"]["verdict"] == Verdict.PROMOTE)


@task(name="promote", task_run_name="promote {run.model}", cache_policy=NO_CACHE)
def promote(job: Job, run: Run, gated: Artifact, served: Artifact, evaluation: Artifact) -> Outcome:
    """Register the challenger and, if the gate said so, make it the champion.

    Args:
        job: What was asked for.
        run: Where it is tracked.
        gated: The model that was judged.
        served: What users are to get if it passed: the same, or the one caught up.
        evaluation: The judgement.

    Aliases move last, so a run that dies before has changed nothing that serves.
    """
    logger = get_run_logger()
    tracker = Tracker(job.home)
    tracker.log_evaluation(run, evaluation)
    version = tracker.register(run, gated, served, job.ingested)
    verdict = evaluation.summary["decision"]["verdict"]
    decision = {
        "version": version.number,
        "action": verdict,
        "reason": "; ".join(evaluation.summary["decision"]["reasons"]),
        "run_id": run.run_id,
        "as_of": job.ingested.split.as_of,
        "model": gated.id,
        "served": served.id,
        "evaluation": evaluation.id,
        "ratings": job.ingested.artifact.id,
        "difference": evaluation.summary["difference"],
    }
    registry = Registry(job.home, tracker, run.model)
    serving = registry.decide(decision, job.champion, version if passed(evaluation) else None)
    tracker.log_decision(run, verdict, version.number, evaluation.summary["decision"]["reasons"])
    logger.info("promote: version %s: %s", version.number, verdict)
    return Outcome(version.number, serving.number if serving else None)

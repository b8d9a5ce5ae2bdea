"""The registry, read once before the work and written once after it."""

from dataclasses import dataclass

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.job import Job
from tasks.tracking import Run, Tracker
from widedeep import decision_log
from widedeep.artifact_store import Artifact
from widedeep.evaluation.promotion import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """The challenger's version, and which one serves now (None if still none does)."""

    version: str
    champion: str | None


@task(name="promote", task_run_name="promote {run.model}", cache_policy=NO_CACHE)
def promote(job: Job, run: Run, model: Artifact, evaluation: Artifact) -> Outcome:
    """Register the challenger and, if the gate said so, make it the champion.

    Aliases move last, so a run that dies before has changed nothing that serves.
    """
    logger = get_run_logger()
    tracker = Tracker(job.home)
    tracker.log_evaluation(run, evaluation)
    version = tracker.register(run, model, job.ingested)
    verdict = evaluation.summary["decision"]["verdict"]
    if verdict == Verdict.PROMOTE:
        tracker.promote(run.model, version.number, replacing=job.champion)
    serving = tracker.champion(run.model)
    serving_number = serving.number if serving else None
    decision = {
        "version": version.number,
        "action": verdict,
        "reason": "; ".join(evaluation.summary["decision"]["reasons"]),
        "champion_version": serving_number,
        "run_id": run.run_id,
        "model": model.id,
        "evaluation": evaluation.id,
        "ratings": job.ingested.artifact.id,
    }
    decision_log.record(job.home.decisions / run.model, decision)
    tracker.log_decision(run, verdict, version.number, evaluation.summary["decision"]["reasons"])
    logger.info("promote: version %s: %s", version.number, verdict)
    return Outcome(version.number, serving_number)

"""The stages of a replay: a step of the clock, and what all steps come to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from tasks import time_limit
from widedeep.artifact_store import Artifact, ArtifactStore, code_version
from widedeep.evaluation.csv_file import write_csv
from widedeep.evaluation.replay import Policy, Replay, Step
from widedeep.evaluation.replay_plot import draw
from widedeep.evaluation.replay_result import PolicyStep, judge_step, result
from widedeep.evaluation.replay_table import as_markdown, gate_sentences, numbers, rows
from widedeep.when import iso

TABLE = "replay.md"
NUMBERS = "replay.csv"
PLOT = "replay.png"
FILES = (TABLE, NUMBERS, PLOT)


def _title() -> str:
    return f"retrain as of {iso(task_run.parameters['at'])[:10]}"


@task(
    name="retrain", task_run_name=_title, cache_policy=NO_CACHE, timeout_seconds=time_limit.TRAINING
)
def retrain_step(
    replay: Replay, at: int, until: int, before: Step | None
) -> tuple[Step, Mapping[Policy, PolicyStep]]:
    """Retrain under every policy with the clock at `at`, and judge by what came until `until`."""
    step = replay.step(at, until, before)
    judged = judge_step(replay, step, before)
    logger = get_run_logger()
    for policy, found in judged.items():
        logger.info("replay: %s", describe(policy, found))
    if step.gate is not None:
        logger.info("replay: the gate: %s", step.gate.summary["decision"]["verdict"])
    return step, judged


@task(
    name="summarise",
    task_run_name="{title}",
    cache_policy=NO_CACHE,
    timeout_seconds=time_limit.STAGE,
)
def summarise(store: ArtifactStore, replay: Replay, steps: Sequence[Step], title: str) -> Artifact:
    """Table, numbers and a plot of all steps; the summary holds them for programs, too."""
    key = {
        "steps": [(step.at, step.until, step.candidate.id) for step in steps],
        "published": [{str(p): m.id for p, m in step.published.items()} for step in steps],
        "title": title,
        "code": code_version("data", "features", "model", "evaluation"),
    }

    def build(folder: Path) -> dict[str, Any]:
        found = result(replay, steps)
        (folder / TABLE).write_text(as_markdown(found, title), encoding="utf-8")
        write_csv(folder / NUMBERS, numbers(found))
        draw(found, title, folder / PLOT)
        return {**found.as_json(), "rows": rows(found), "sentences": gate_sentences(found)}

    return store.get("replays", key, build)


def describe(policy: Policy, found: PolicyStep) -> str:
    """One line for people."""
    score = "one class only"
    if found.score:
        score = f"AUC {found.score.auc:.4f}, log loss {found.score.log_loss:.4f}"
    return (
        f"{iso(found.at)[:10]} {policy}: {score} on the next {found.rows:,} ratings; "
        f"{found.seconds:.1f} s of training"
    )

"""The registry, read once before the work and written once after it.

Who serves: every move of the champion is recorded before it is made.

The record is the truth. A process that was killed between record and move has its move finished by
the next one that holds the home; a champion that somebody moved in MLflow itself is taken as it is,
and recorded.

The model card of a version.
"""

import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.dry_run import DryRunProcess
from tasks.engine import STAGE_SECONDS
from tasks.ingest import Ingested
from tasks.prefect_page import announce, show_evaluation, show_link
from tasks.run import RunContext, git_commit
from tasks.tracking import TrackedRun, Tracker
from widedeep import decision_log
from widedeep.evaluation.gate import Decision, GateConfig, Verdict
from widedeep.evaluation.report import ModelCard
from widedeep.inputs import InputError, to_iso
from widedeep.model.trained_model import ModelVersion
from widedeep.store import Artifact
from widedeep.workspace import Workspace

PROMOTE = "promote"
ROLLBACK = "rollback"
OUTSIDE = "moved outside widedeep"


class Registry:
    """The champion of one registered model, and its history.

    Only for the holder of the home's lock.
    """

    def __init__(self, workspace: Workspace, tracker: Tracker, model: str) -> None:
        self._tracker = tracker
        self.model = model
        self._folder = workspace.decisions / model

    def champion(self) -> ModelVersion | None:
        """The version that serves, once a move that was cut off is finished."""
        self._settle()
        return self._tracker.champion(self.model)

    def decide(
        self,
        decision: Mapping[str, Any],
        champion: ModelVersion | None,
        successor: ModelVersion | None,
    ) -> ModelVersion | None:
        """Record a decision and, if there is a successor to `champion`, let it serve.

        Returns:
            What serves then.

        Raises:
            ChampionChangedError: There is one, but `champion` serves no more; nothing was done.
        """
        if successor is None:
            serving = self._tracker.champion(self.model)
            decision_log.record(self._folder, _signed(decision, serving, serving))
            return serving
        self._tracker.expect_champion(self.model, champion)
        pending = decision_log.begin(self._folder, _signed(decision, successor, champion))
        self._tracker.promote(self.model, successor.number, replacing=champion)
        decision_log.finish(pending)
        return successor

    def candidate(self, version: str, reason: str) -> ModelVersion:
        """A version (its number or an alias) that `promote` would let serve.

        Raises:
            InputError: There is no such version, it serves already, or no reason was given.
        """
        found = self._tracker.find(self.model, version)
        if found is None:
            raise InputError(f"{self.model} has no version {version!r}; see widedeep status")
        _check(self.model, found, self.champion(), reason)
        return found

    def promote(self, version: ModelVersion, reason: str) -> None:
        """Let a candidate serve, by hand."""
        self._move(version, self.champion(), PROMOTE, reason)

    def roll_back(self, reason: str) -> ModelVersion:
        """Let the version serve that served before the champion; returns it.

        Raises:
            InputError: There is none, or no reason was given.
        """
        champion = self.champion()
        previous = self._tracker.previous(self.model)
        if previous is None:
            raise InputError(f"{self.model} has no previous champion to go back to")
        self._move(previous, champion, ROLLBACK, reason)
        return previous

    def _move(
        self, to: ModelVersion, champion: ModelVersion | None, action: str, reason: str
    ) -> None:
        _check(self.model, to, champion, reason)
        decision = {"version": to.number, "action": action, "reason": reason.strip()}
        self.decide(decision, champion, to)

    def _settle(self) -> None:
        """Finish a move that was cut off, and record one that was made elsewhere."""
        serving = self._tracker.champion(self.model)
        number = serving.number if serving else None
        pending = decision_log.pending(self._folder)
        if pending is not None:
            cut_off = decision_log.read(pending)
            if number == cut_off["replaced_version"]:
                number = cut_off["champion_version"]
                self._tracker.promote(self.model, number, replacing=serving)
            decision_log.finish(pending)
        decisions = decision_log.history(self._folder)
        known = decisions[-1]["champion_version"] if decisions else None
        if number != known:
            outside = {"version": number, "action": OUTSIDE, "reason": "found so in MLflow"}
            replaced = self._tracker.find(self.model, known) if known else None
            decision_log.record(self._folder, _signed(outside, serving, replaced))


def _check(model: str, to: ModelVersion, champion: ModelVersion | None, reason: str) -> None:
    if champion is not None and to.number == champion.number:
        raise InputError(f"{model}: version {to.number} is the champion already")
    if not reason.strip():
        raise InputError("the reason is empty; a sentence for those who ask later is wanted")


def _signed(
    decision: Mapping[str, Any], champion: ModelVersion | None, replaced: ModelVersion | None
) -> dict[str, Any]:
    """With who decided, and which version serves instead of which from then on."""
    return {
        **decision,
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "champion_version": champion.number if champion else None,
        "replaced_version": replaced.number if replaced else None,
    }


def model_card(
    job: RunContext, version: str, served: Artifact, evaluation: Artifact, decision: Decision
) -> str:
    """As Markdown."""
    ingested, preset = job.ingested, job.preset
    facts = {
        "label": f"a rating of {preset.features.history.positive_rating} or more is positive",
        "data": _data(ingested),
        "holdout": _holdout(ingested),
        "start": job.start.reason,
        "serves": _serves(served, evaluation),
        "preset": f"{preset.name}, seed {job.seed}",
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
        return "the very model that was judged"
    return "the model that was judged, after it learned the holdout's ratings, too"


@dataclass(frozen=True, slots=True)
class PromotionOutcome:
    """The challenger's version, what was decided, and which one serves now (None: none does)."""

    version: str
    decision: Decision
    champion: str | None


def passed_gate(evaluation: Artifact) -> bool:
    """Whether the numbers speak for a promotion."""
    return bool(evaluation.summary["decision"]["verdict"] == Verdict.PROMOTE)


@dataclass(frozen=True, slots=True)
class Challenger:
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
    timeout_seconds=STAGE_SECONDS,
)
def promote(
    job: RunContext,
    run: TrackedRun,
    candidate: Challenger,
    gate: GateConfig,
    stranger: DryRunProcess,
) -> PromotionOutcome:
    """Register the challenger and, if it passed the gate and a dry run, make it the champion.

    The alias moves last, so a run that dies before has changed nothing that serves.
    """
    logger = get_run_logger()
    gated, served, evaluation = candidate.gated, candidate.served, candidate.evaluation
    tracker = Tracker(job.workspace)
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
    serving = Registry(job.workspace, tracker, run.model).decide(record, job.champion, successor)
    tracker.log_decision(run, decision, version.number)
    card = model_card(job, version.number, served, evaluation, decision)
    tracker.log_card(run, version.number, card)
    logger.info("promote: version %s: %s", version.number, decision.verdict)
    outcome = PromotionOutcome(version.number, decision, serving.number if serving else None)
    _announce(tracker, run, evaluation, outcome)
    return outcome


def _announce(
    tracker: Tracker, run: TrackedRun, evaluation: Artifact, outcome: PromotionOutcome
) -> None:
    """On the run's page, and as an event that automations may wait for."""
    show_evaluation(run.model, evaluation)
    show_link(run.model, tracker.page(run))
    decision = outcome.decision
    announce(run.model, decision.verdict, outcome.version, outcome.champion, decision.reasons)


def _decide(
    evaluation: Artifact, version: ModelVersion, gate: GateConfig, stranger: DryRunProcess
) -> Decision:
    """By the numbers and, where they speak for a promotion, by whether the model really works."""
    found = evaluation.summary["decision"]
    verdict, reasons = Verdict(found["verdict"]), tuple(found["reasons"])
    if verdict is not Verdict.PROMOTE:
        return Decision(verdict, reasons)
    tried = stranger.try_out(version.folder, gate.latency_budget)
    held = Verdict.HOLD if tried.faults else verdict
    return Decision(held, (*reasons, *tried.sentences()))

"""Numbers that speak for a promotion are not enough if the model does not work.

A champion moves with its record or not at all, however often it is interrupted.
"""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.dry_run import DryRunResult
from tasks.promotion import OUTSIDE, Registry, _decide
from tasks.tracking import ChampionChangedError
from widedeep import decision_log
from widedeep.evaluation.gate import GateConfig, Verdict
from widedeep.inputs import InputError
from widedeep.store import Artifact, ModelVersion, StoredModel


class Found:
    """A stranger that has found something already."""

    def __init__(self, *faults):
        self.faults = faults
        self.asked = []

    def try_model(self, folder, budget):
        self.asked.append((folder, budget))
        return DryRunResult(self.faults, rows=200, seconds=0.1)


@pytest.fixture
def decide(tmp_path):
    stored = StoredModel("id", tmp_path / "m" / "artifacts" / "id")

    def with_verdict(verdict, dry_run_process):
        summary = {"decision": {"verdict": str(verdict), "reasons": ["numbers"]}}
        evaluation = Artifact("evaluations", "e", Path(), {}, summary)
        return _decide(evaluation, ModelVersion("1", stored, stored), GateConfig(), dry_run_process)

    return with_verdict


def test_a_model_that_works_is_promoted_and_the_dry_run_is_told(decide, tmp_path):
    dry_run_process = Found()
    decision = decide(Verdict.PROMOTE, dry_run_process)
    assert decision.verdict is Verdict.PROMOTE
    assert decision.reasons[0] == "numbers"
    assert "200 requests answered as in training" in decision.reasons[1]
    assert dry_run_process.asked == [(tmp_path / "m", GateConfig().latency_budget)]


def test_a_model_that_does_not_work_is_held(decide):
    decision = decide(Verdict.PROMOTE, Found("it fell over", "twice"))
    assert decision.verdict is Verdict.HOLD
    assert decision.reasons == ("numbers", "dry run: it fell over", "dry run: twice")


@pytest.mark.parametrize("verdict", [Verdict.HOLD, Verdict.INSUFFICIENT])
def test_nobody_is_asked_about_a_model_that_is_not_promoted(decide, verdict):
    dry_run_process = Found("never seen")
    assert decide(verdict, dry_run_process).reasons == ("numbers",)
    assert not dry_run_process.asked


MODEL = "widedeep-test"


@pytest.fixture
def registry(workspace, tracker):
    return Registry(workspace, tracker, MODEL)


@pytest.fixture
def history(workspace):
    """The decisions of the model, as (action, version, champion, replaced)."""

    def read():
        names = ("action", "version", "champion_version", "replaced_version")
        decisions = decision_log.history(workspace.decisions / MODEL)
        return [tuple(decision[name] for name in names) for decision in decisions]

    return read


class Killed(BaseException):
    """The process died here."""


def cut(monkeypatch, tracker, calls):
    """Die at the given call of MLflow's alias, counted from 1."""
    made, real = [], tracker._client.set_registered_model_alias

    def alias(*arguments):
        made.append(arguments)
        if len(made) == calls:
            raise Killed
        real(*arguments)

    monkeypatch.setattr(tracker._client, "set_registered_model_alias", alias)


def let_serve(registry, version, reason):
    registry.promote(registry.candidate(version, reason), reason)


def test_a_version_is_promoted_by_hand_and_rolled_back(registry, tracker, history):
    let_serve(registry, "1", "first")
    let_serve(registry, "2", "looks better")
    registry.roll_back("it was not")
    assert tracker.champion(MODEL).number == "1"
    assert tracker.previous(MODEL).number == "2"
    assert history() == [
        ("promote", "1", "1", None),
        ("promote", "2", "2", "1"),
        ("rollback", "1", "1", "2"),
    ]


def test_a_record_says_who_when_and_why(registry, workspace):
    let_serve(registry, "1", " because  ")
    (decision,) = decision_log.history(workspace.decisions / MODEL)
    assert decision["reason"] == "because"
    assert "@" in decision["by"]
    assert decision["at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("version", "reason", "message"),
    [("9", "why", "no version '9'"), ("1", "why", "champion already"), ("2", "  ", "is empty")],
)
def test_what_cannot_be_promoted_is_said_and_changes_nothing(
    registry, tracker, history, version, reason, message
):
    let_serve(registry, "1", "first")
    with pytest.raises(InputError, match=message):
        let_serve(registry, version, reason)
    assert tracker.champion(MODEL).number == "1"
    assert len(history()) == 1


def test_there_is_nothing_to_roll_back_to_at_first(registry):
    let_serve(registry, "1", "first")
    with pytest.raises(InputError, match="no previous champion"):
        registry.roll_back("hm")


@pytest.mark.parametrize("calls", [1, 2])
def test_a_move_that_was_cut_off_is_finished_by_the_next(
    registry, tracker, history, monkeypatch, calls
):
    let_serve(registry, "1", "first")
    with monkeypatch.context() as patch:
        cut(patch, tracker, calls)
        with pytest.raises(Killed):
            let_serve(registry, "2", "better")
    assert tracker.champion(MODEL).number == "1"
    assert len(history()) == 1
    assert registry.champion().number == "2"
    assert tracker.previous(MODEL).number == "1"
    assert history()[-1] == ("promote", "2", "2", "1")


def test_a_move_that_was_made_but_not_noted_is_noted(registry, tracker, history, monkeypatch):
    let_serve(registry, "1", "first")
    with monkeypatch.context() as patch:
        patch.setattr(decision_log, "finish", lambda _: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            let_serve(registry, "2", "better")
    assert tracker.champion(MODEL).number == "2"
    assert registry.champion().number == "2"
    assert history()[-1] == ("promote", "2", "2", "1")


def test_a_champion_moved_in_mlflow_stays_and_is_recorded(registry, workspace, history):
    let_serve(registry, "1", "first")
    let_serve(registry, "2", "better")
    MlflowClient(workspace.tracking_uri).set_registered_model_alias(MODEL, "champion", "1")
    assert registry.champion().number == "1"
    assert registry.champion().number == "1"
    assert history()[2:] == [(OUTSIDE, "1", "1", "2")]


def test_a_stale_evaluation_promotes_nothing(registry, tracker, history, version):
    let_serve(registry, "1", "first")
    decision = {"version": "3", "action": "promote", "reason": "measured against version 2"}
    with pytest.raises(ChampionChangedError):
        registry.decide(decision, version("2"), version("3"))
    assert tracker.champion(MODEL).number == "1"
    assert len(history()) == 1


def test_a_decision_that_moves_nothing_is_recorded_with_what_serves(registry, history, version):
    let_serve(registry, "1", "first")
    decision = {"version": "2", "action": "hold", "reason": "worse"}
    assert registry.decide(decision, version("1"), None) == version("1")
    assert history()[-1] == ("hold", "2", "1", "1")

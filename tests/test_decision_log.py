"""Decisions are kept forever, in their order."""

from widedeep.decision_log import DecisionLog
from widedeep.workspace import Workspace


def test_decisions_come_back_in_order_with_their_moment(tmp_path):
    log = DecisionLog(tmp_path / "m")
    for version in ("1", "2", "3"):
        log.record({"version": version, "reason": "재훈련"})
    decisions = log.history()
    assert [decision["version"] for decision in decisions] == ["1", "2", "3"]
    assert {decision["reason"] for decision in decisions} == {"재훈련"}
    assert all(decision["at"].endswith("+00:00") for decision in decisions)


def test_a_half_written_record_is_not_read(tmp_path):
    log = DecisionLog(tmp_path)
    log.record({"version": "1"})
    (tmp_path / ".20990101T000000.000000.pending.77").write_text("{", encoding="utf-8")
    assert log.pending() is None
    assert len(log.history()) == 1


def test_a_decision_is_pending_until_its_move_is_made(tmp_path):
    log = DecisionLog(tmp_path)
    file = log.begin({"version": "1"})
    assert log.pending() == file
    assert log.read(file)["version"] == "1"
    assert log.history() == []
    log.finish(file)
    assert log.pending() is None
    assert len(log.history()) == 1


def test_no_decision_yet_is_an_empty_history(tmp_path):
    assert DecisionLog(tmp_path / "none").history() == []


def test_the_models_with_decisions_are_named(tmp_path):
    workspace = Workspace(tmp_path)
    for model in ("b", "a"):
        workspace.decision_log(model).record({"version": "1"})
    workspace.decision_log("c").begin({"version": "1"})
    assert workspace.decided_models() == ["a", "b"]

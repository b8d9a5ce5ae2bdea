"""Decisions are kept forever, in their order."""

from widedeep import decision_log


def test_decisions_come_back_in_order_with_their_moment(tmp_path):
    for version in ("1", "2", "3"):
        decision_log.record(tmp_path / "m", {"version": version, "reason": "재훈련"})
    decisions = decision_log.history(tmp_path / "m")
    assert [decision["version"] for decision in decisions] == ["1", "2", "3"]
    assert {decision["reason"] for decision in decisions} == {"재훈련"}
    assert all(decision["at"].endswith("+00:00") for decision in decisions)


def test_a_half_written_record_is_not_read(tmp_path):
    decision_log.record(tmp_path, {"version": "1"})
    (tmp_path / ".20990101T000000.000000.pending.77").write_text("{", encoding="utf-8")
    assert decision_log.pending(tmp_path) is None
    assert len(decision_log.history(tmp_path)) == 1


def test_a_decision_is_pending_until_its_move_is_made(tmp_path):
    file = decision_log.begin(tmp_path, {"version": "1"})
    assert decision_log.pending(tmp_path) == file
    assert decision_log.read(file)["version"] == "1"
    assert decision_log.history(tmp_path) == []
    decision_log.finish(file)
    assert decision_log.pending(tmp_path) is None
    assert len(decision_log.history(tmp_path)) == 1


def test_no_decision_yet_is_an_empty_history(tmp_path):
    assert decision_log.history(tmp_path / "none") == []


def test_the_models_with_decisions_are_named(tmp_path):
    for model in ("b", "a"):
        decision_log.record(tmp_path / model, {"version": "1"})
    decision_log.begin(tmp_path / "c", {"version": "1"})
    assert decision_log.recorded_models(tmp_path) == ["a", "b"]

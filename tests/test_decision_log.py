"""Decisions are kept for good, in order."""

from widedeep import decision_log


def test_decisions_come_back_in_order_with_their_moment(tmp_path):
    for version in ("1", "2", "3"):
        decision_log.record(tmp_path / "m", {"version": version, "reason": "재훈련"})
    found = decision_log.history(tmp_path / "m")
    assert [one["version"] for one in found] == ["1", "2", "3"]
    assert all(one["reason"] == "재훈련" and one["at"].endswith("+00:00") for one in found)


def test_a_half_written_record_is_not_read(tmp_path):
    decision_log.record(tmp_path, {"version": "1"})
    (tmp_path / "20990101T000000.000000.draft").write_text("{", encoding="utf-8")
    assert len(decision_log.history(tmp_path)) == 1


def test_a_decision_is_pending_until_its_move_is_made(tmp_path):
    begun = decision_log.begin(tmp_path, {"version": "1"})
    assert decision_log.pending(tmp_path) == begun
    assert decision_log.read(begun)["version"] == "1"
    assert decision_log.history(tmp_path) == []
    decision_log.finish(begun)
    assert decision_log.pending(tmp_path) is None
    assert len(decision_log.history(tmp_path)) == 1


def test_no_decision_yet_is_an_empty_history(tmp_path):
    assert decision_log.history(tmp_path / "none") == []

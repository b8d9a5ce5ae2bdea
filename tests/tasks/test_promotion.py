"""Numbers that speak for a promotion are not enough if the model does not work."""

from pathlib import Path

import pytest

from tasks.dry_run import DryRunResult
from tasks.promotion import _decide
from widedeep.evaluation.gate import GateConfig, Verdict
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
        key = {"challenger": "new", "champion": "old"}
        evaluation = Artifact("evaluations", "e", Path(), key, summary)
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
    assert decision.reasons == ("dry run: it fell over", "dry run: twice", "numbers")


@pytest.mark.parametrize("verdict", [Verdict.HOLD, Verdict.INSUFFICIENT])
def test_nobody_is_asked_about_a_model_that_is_not_promoted(decide, verdict):
    dry_run_process = Found("never seen")
    assert decide(verdict, dry_run_process).reasons == ("numbers",)
    assert not dry_run_process.asked

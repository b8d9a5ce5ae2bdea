"""Challenger and champion on the same raw rows, each through its own transform."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from widedeep import metrics
from widedeep.evaluation.bootstrap import PairedDifference
from widedeep.evaluation.comparison import Evaluator, measure_guardrails, streaming_difference
from widedeep.evaluation.gate import GateConfig, GuardrailStatus, Verdict
from widedeep.evaluation.lists import TopLists, ranked_catalogue
from widedeep.evaluation.scoring import (
    CHAMPION_PREDICTIONS,
    PREDICTIONS,
    Predictions,
    model_scorer,
)

ROWS = 4000
GATE = GateConfig(replicates=200)
USERS = np.arange(20)


@pytest.fixture
def evaluator(world):
    return Evaluator(*world, GATE)


def test_the_measured_numbers_are_those_of_the_written_predictions(evaluator, models, tmp_path):
    comparison = evaluator.compare(*models, tmp_path)
    files = {PREDICTIONS: comparison.challenger, CHAMPION_PREDICTIONS: comparison.champion}
    for name, measured in files.items():
        rows = pd.read_parquet(tmp_path / name)
        for protocol in ("streaming", "frozen"):
            auc = metrics.auc(rows.label.to_numpy(), rows[protocol].to_numpy())
            assert measured[protocol]["auc"] == auc
    assert "gauc" in comparison.challenger["frozen"]
    assert "gauc" not in comparison.challenger["streaming"]


def test_the_json_of_a_comparison_has_its_contract_keys(evaluator, models, tmp_path):
    comparison = evaluator.compare(*models, tmp_path)
    values = json.loads(json.dumps(comparison.as_json()))
    assert set(values) == {
        "holdout_from",
        "holdout",
        "challenger",
        "champion",
        "baseline",
        "challenger_slices",
        "champion_slices",
        "lists",
        "difference",
        "guards",
        "decision",
    }
    assert set(values["guards"][0]) == {"name", "challenger", "champion", "change", "margin"}
    assert set(values["difference"]) == set(PairedDifference.__slots__)
    assert values["decision"]["verdict"] == comparison.decision.verdict


def test_the_lists_of_both_models_and_of_the_baseline_are_measured(evaluator, models, tmp_path):
    interactions, tables = evaluator.interactions, evaluator.tables
    lists = evaluator.compare(*models, tmp_path).lists
    catalogue = ranked_catalogue(interactions, evaluator.split.as_of)
    for name, model in zip(("challenger", "champion"), models, strict=True):
        scorer = model_scorer(model, interactions, tables)
        top = TopLists.compute(interactions, evaluator.split.as_of, scorer)
        assert lists[name].items == top.coverage() >= 10
        assert lists[name] == top.personalisation(*catalogue)
    assert lists["baseline"].overlap > 0
    first = evaluator.compare(models[0], None, tmp_path).lists
    assert (first["champion"], first["baseline"]) == (None, lists["baseline"])
    assert first["challenger"] == lists["challenger"]


def test_a_model_against_itself_is_no_evidence(evaluator, models, tmp_path):
    comparison = evaluator.compare(models[0], models[0], tmp_path)
    assert comparison.decision.verdict == Verdict.INSUFFICIENT
    assert comparison.difference.auc.difference == 0


def test_a_first_model_is_compared_with_the_baseline_and_the_constant(evaluator, models, tmp_path):
    comparison = evaluator.compare(models[0], None, tmp_path)
    assert comparison.champion is None
    _, baseline_reason, constant_reason = comparison.decision.reasons
    assert "baseline" in baseline_reason
    assert "share of positives" in constant_reason
    assert not (tmp_path / CHAMPION_PREDICTIONS).exists()


def test_a_champion_that_saw_the_holdout_is_not_compared(evaluator, models, tmp_path):
    champion = replace(models[1], learned_until=evaluator.split.holdout_from + 1)
    comparison = evaluator.compare(models[0], champion, tmp_path)
    assert comparison.decision.verdict == Verdict.HOLD
    assert (comparison.champion, comparison.difference) == (None, None)
    (reason,) = comparison.decision.reasons
    assert "not comparable" in reason
    assert "holdout" in reason


def test_another_label_is_not_compared(evaluator, models, tmp_path):
    spec = models[1].transform.spec
    nine = replace(spec, label="rate >= 9")
    champion = replace(models[1], transform=replace(models[1].transform, spec=nine))
    comparison = evaluator.compare(models[0], champion, tmp_path)
    assert comparison.decision.verdict == Verdict.HOLD
    (reason,) = comparison.decision.reasons
    assert "not comparable" in reason
    assert "rate >= 9" in reason
    assert "rate >= 10" in reason


@pytest.fixture(scope="module")
def champion():
    """Predictions of a champion, made from a known truth."""
    generator = np.random.default_rng(0)
    logit = generator.normal(0.5, 1.5, ROWS)
    label = generator.random(ROWS) < 1 / (1 + np.exp(-logit))
    probability = 1 / (1 + np.exp(-(logit + generator.normal(0, 0.3, ROWS))))
    user = generator.integers(0, 1500, ROWS)
    return Predictions(user, user % 9, np.arange(ROWS), label, probability, probability)


@pytest.fixture(scope="module")
def masks():
    rows = np.arange(ROWS)
    return {"new_user": rows < 1000, "old_item": rows >= 1000, "new_item": rows < 400}


def top_lists(items):
    """Lists of ten for 20 users that show so many different items."""
    return TopLists(USERS, np.arange(200).reshape(20, 10) % items)


def guardrails(challenger, champion, masks, items=(100, 100)):
    difference = streaming_difference(challenger, champion, GATE)
    lists = (top_lists(items[0]), top_lists(items[1]))
    measured = measure_guardrails((challenger, champion), difference, masks, lists, GATE)
    return {guardrail.name: guardrail for guardrail in measured}


def test_a_model_does_itself_no_harm_on_any_guardrail(champion, masks):
    by_name = guardrails(champion, champion, masks)
    assert list(by_name) == [
        "streaming log loss",
        "streaming calibration error",
        "streaming AUC of new users",
        "streaming AUC of old items",
        "items in top-10 lists",
    ]
    assert {guardrail.status for guardrail in by_name.values()} == {GuardrailStatus.WITHIN}


def test_a_slice_with_too_few_rows_has_no_guardrail(champion, masks):
    assert masks["new_item"].sum() < GATE.minimum_rows
    assert "streaming AUC of new items" not in guardrails(champion, champion, masks)


def test_a_slice_that_is_spoilt_is_found_there_alone(champion, masks):
    scores = champion.streaming.copy()
    scores[:1000] = np.random.default_rng(1).permutation(scores[:1000])
    by_name = guardrails(replace(champion, streaming=scores), champion, masks)
    assert by_name["streaming AUC of new users"].status is GuardrailStatus.PAST
    assert by_name["streaming AUC of old items"].status is GuardrailStatus.WITHIN


def test_overconfident_scores_harm_the_calibration(champion, masks):
    odds = champion.streaming / (1 - champion.streaming)
    scores = odds**2 / (1 + odds**2)
    by_name = guardrails(replace(champion, streaming=scores), champion, masks)
    guardrail = by_name["streaming calibration error"]
    assert guardrail.status is GuardrailStatus.PAST
    expected = metrics.ece(champion.label, scores) - metrics.ece(champion.label, champion.streaming)
    assert guardrail.change.difference == pytest.approx(expected)
    assert guardrail.change.low < expected < guardrail.change.high


@pytest.mark.parametrize(
    ("items", "status"), [(10, GuardrailStatus.PAST), (90, GuardrailStatus.WITHIN)]
)
def test_showing_every_user_the_same_items_is_harm(champion, masks, items, status):
    by_name = guardrails(champion, champion, masks, items=(items, 100))
    assert by_name["items in top-10 lists"].status is status

"""What a better AUC must not cost is measured on the same rows, slice by slice.

The gate, as a table of numbers and verdicts.
"""

from dataclasses import replace

import numpy as np
import pytest

from widedeep import metrics
from widedeep.evaluation.bootstrap import Guardrail, GuardrailStatus, Interval, PairedDifference
from widedeep.evaluation.gate import (
    GateConfig,
    StreamingScore,
    Verdict,
    decide_against_champion,
    decide_first,
    hold_incomparable,
    measure_guardrails,
    streaming_difference,
)
from widedeep.evaluation.scoring import Predictions, TopLists
from widedeep.evaluation.sequential import PooledDifference
from widedeep.inputs import InputError

ROWS = 4000
GATE = GateConfig(replicates=200)
USERS = np.arange(20)


@pytest.fixture(scope="module")
def champion():
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


def lists(items):
    return TopLists(USERS, np.arange(200).reshape(20, 10) % items)


def found(ours, theirs, masks, items=(100, 100)):
    difference = streaming_difference(ours, theirs, GATE)
    shown = (lists(items[0]), lists(items[1]))
    return {
        guard.name: guard
        for guard in measure_guardrails((ours, theirs), difference, masks, shown, GATE)
    }


def with_scores(predictions, scores):
    return replace(predictions, streaming=scores)


def test_a_model_does_itself_no_harm(champion, masks):
    guarded = found(champion, champion, masks)
    assert list(guarded) == [
        "streaming log loss",
        "streaming calibration error",
        "streaming AUC of new users",
        "streaming AUC of old movies",
        "films in top-10 lists",
    ]
    assert {guard.finding for guard in guarded.values()} == {GuardrailStatus.WITHIN}


def test_a_slice_that_is_spoilt_is_found_there_alone(champion, masks):
    scores = champion.streaming.copy()
    scores[:1000] = np.random.default_rng(1).permutation(scores[:1000])
    guarded = found(with_scores(champion, scores), champion, masks)
    assert guarded["streaming AUC of new users"].finding is GuardrailStatus.PAST
    assert guarded["streaming AUC of old movies"].finding is GuardrailStatus.WITHIN


def test_scores_that_are_too_sure_harm_the_calibration(champion, masks):
    odds = champion.streaming / (1 - champion.streaming)
    sure = odds**2 / (1 + odds**2)
    guarded = found(with_scores(champion, sure), champion, masks)
    guard = guarded["streaming calibration error"]
    assert guard.finding is GuardrailStatus.PAST
    wanted = metrics.ece(champion.label, sure) - metrics.ece(champion.label, champion.streaming)
    assert guard.change.difference == pytest.approx(wanted)
    assert guard.change.low < wanted < guard.change.high


def test_showing_everybody_the_same_items_is_harm(champion, masks):
    guarded = found(champion, champion, masks, items=(10, 100))
    assert guarded["films in top-10 lists"].finding is GuardrailStatus.PAST
    assert found(champion, champion, masks, items=(90, 100))["films in top-10 lists"].finding is (
        GuardrailStatus.WITHIN
    )


CHAMPION = StreamingScore(auc=0.8213, log_loss=0.4645)
PROMOTION_GATE = GateConfig()
BETTER, WORSE, UNCLEAR = (0.0003, 0.0033), (-0.0033, -0.0003), (-0.0003, 0.0033)


def difference(auc, log_loss, **more):
    ends = (auc, log_loss, (-0.001, 0.001))
    intervals = [Interval((low + high) / 2, low, high) for low, high in ends]
    return PairedDifference(*intervals, **{"replicates": 2000, "rows": 900, "users": 600} | more)


def score(paired):
    return StreamingScore(
        CHAMPION.auc + paired.auc.difference, CHAMPION.log_loss + paired.log_loss.difference
    )


def log_loss_guard(paired, gate=PROMOTION_GATE):
    ours = score(paired).log_loss
    margin = gate.log_loss_margin
    return Guardrail("streaming log loss", ours, CHAMPION.log_loss, paired.log_loss, margin)


def against_champion(auc, log_loss, gate=PROMOTION_GATE, pooled=None, **more):
    paired = difference(auc, log_loss, **more)
    guards = [log_loss_guard(paired, gate)]
    return decide_against_champion(paired, score(paired), CHAMPION, guards, gate, pooled=pooled)


def first(auc, constant=0.649, **more):
    paired = difference(auc, (-0.09, -0.07), **more)
    return decide_first(paired, score(paired), CHAMPION, constant, PROMOTION_GATE)


@pytest.mark.parametrize(
    ("auc", "log_loss", "verdict"),
    [
        (BETTER, (-0.003, -0.001), Verdict.PROMOTE),
        (BETTER, (-0.003, 0.0019), Verdict.PROMOTE),
        (BETTER, (-0.003, 0.002), Verdict.PROMOTE),
        (BETTER, (-0.003, 0.0021), Verdict.INSUFFICIENT),
        (BETTER, (0.0021, 0.004), Verdict.HOLD),
        ((0.0, 0.003), (-0.003, -0.001), Verdict.INSUFFICIENT),
        (UNCLEAR, (-0.003, -0.001), Verdict.INSUFFICIENT),
        (UNCLEAR, (0.0021, 0.004), Verdict.HOLD),
        ((-0.003, 0.0), (-0.003, -0.001), Verdict.INSUFFICIENT),
        (WORSE, (-0.003, -0.001), Verdict.HOLD),
        (WORSE, (0.0021, 0.004), Verdict.HOLD),
    ],
)
def test_both_intervals_decide(auc, log_loss, verdict):
    assert against_champion(auc, log_loss).verdict is verdict


@pytest.mark.parametrize(("small", "found"), [("rows", 499), ("users", 49)])
@pytest.mark.parametrize("auc", [BETTER, WORSE])
def test_a_small_holdout_is_no_evidence_either_way(small, found, auc):
    decision = against_champion(auc, (-0.003, -0.001), **{small: found})
    assert decision.verdict is Verdict.INSUFFICIENT
    assert decision.reasons[-1].startswith(f"the holdout has {found} {small}, wanted are at least")


def test_a_holdout_of_just_the_minimum_counts():
    decision = against_champion(BETTER, (-0.003, -0.001), rows=500, users=50)
    assert decision.verdict is Verdict.PROMOTE


def test_a_wider_margin_lets_a_dearer_model_pass():
    gate = GateConfig(log_loss_margin=0.01)
    assert against_champion(BETTER, (0.0021, 0.004), gate).verdict is Verdict.PROMOTE


@pytest.mark.parametrize(
    ("pooled", "auc", "log_loss", "verdict"),
    [
        (BETTER, UNCLEAR, (-0.003, -0.001), Verdict.PROMOTE),
        (UNCLEAR, UNCLEAR, (-0.003, -0.001), Verdict.INSUFFICIENT),
        (UNCLEAR, BETTER, (-0.003, -0.001), Verdict.PROMOTE),
        (BETTER, WORSE, (-0.003, -0.001), Verdict.HOLD),
        (BETTER, UNCLEAR, (-0.003, 0.0021), Verdict.INSUFFICIENT),
        (BETTER, UNCLEAR, (0.0021, 0.004), Verdict.HOLD),
    ],
)
def test_pooled_windows_can_show_a_gain_but_never_excuse_harm(pooled, auc, log_loss, verdict):
    together = PooledDifference(Interval(sum(pooled) / 2, *pooled), 0.975, looks=2, rows=20_000)
    decision = against_champion(auc, log_loss, pooled=together)
    assert decision.verdict is verdict
    assert "pooled over 2 windows with 20,000 rows" in decision.reasons[-1]
    assert "97.5 % interval" in decision.reasons[-1]


def test_equal_models_are_no_evidence_and_are_named_so():
    decision = against_champion((0.0, 0.0), (0.0, 0.0))
    assert decision.verdict is Verdict.INSUFFICIENT
    assert decision.reasons[-1] == "challenger and champion score every row of the holdout alike"


def test_the_reasons_carry_both_models_and_the_interval():
    assert against_champion(BETTER, (-0.003, -0.001)).reasons == (
        (
            "streaming AUC 0.8231 against the champion's 0.8213: +0.0018, "
            "95 % interval [+0.0003, +0.0033], lies above 0"
        ),
        (
            "streaming log loss 0.4625 against the champion's 0.4645: -0.0020, "
            "95 % interval [-0.0030, -0.0010], stays within the margin of +0.0020"
        ),
    )


@pytest.mark.parametrize(
    ("auc", "log_loss", "auc_ending", "loss_ending"),
    [
        (WORSE, (0.003, 0.005), "lies below 0", "lies past the margin of +0.0020"),
        (UNCLEAR, (0.001, 0.005), "includes 0", "reaches past the margin of +0.0020"),
    ],
)
def test_a_refusal_says_which_end_failed(auc, log_loss, auc_ending, loss_ending):
    auc_reason, loss_reason = against_champion(auc, log_loss).reasons
    assert auc_reason.endswith(auc_ending)
    assert loss_reason.endswith(loss_ending)


def test_an_end_close_to_zero_is_not_printed_as_zero():
    reason = against_champion((0.00003, 0.003), (-0.003, -0.001)).reasons[0]
    assert "[+3e-05, +0.0030], lies above 0" in reason


def test_the_interval_is_named_by_its_confidence():
    gate = GateConfig(confidence=0.975)
    assert "97.5 % interval" in against_champion(BETTER, BETTER, gate, confidence=0.975).reasons[0]


@pytest.mark.parametrize(
    ("auc", "constant", "verdict"),
    [
        (BETTER, 0.649, Verdict.PROMOTE),
        (UNCLEAR, 0.649, Verdict.INSUFFICIENT),
        (WORSE, 0.649, Verdict.HOLD),
        (BETTER, 0.3840, Verdict.INSUFFICIENT),
        (BETTER, 0.3820, Verdict.HOLD),
    ],
)
def test_a_first_model_must_beat_the_means_and_the_constant(auc, constant, verdict):
    assert first(auc, constant).verdict is verdict


def test_a_first_model_on_a_small_holdout_is_not_promoted():
    assert first(BETTER, rows=499).verdict is Verdict.INSUFFICIENT


def test_the_reasons_of_a_first_model_name_what_it_was_measured_by():
    assert first(BETTER).reasons == (
        (
            "streaming AUC 0.8231 against the user + item mean's 0.8213: +0.0018, "
            "95 % interval [+0.0003, +0.0033], lies above 0"
        ),
        "streaming log loss 0.3845 against the constant's 0.6490: -0.2645, below it",
    )


def test_an_unfair_comparison_holds_for_the_reason_given():
    decision = hold_incomparable("the champion was trained on the holdout")
    assert decision.verdict is Verdict.HOLD
    assert decision.reasons == ("the champion was trained on the holdout",)


def test_swapped_models_are_refused():
    paired = difference(BETTER, (-0.003, -0.001))
    with pytest.raises(ValueError, match="difference of AUC"):
        decide_against_champion(paired, CHAMPION, score(paired), [], PROMOTION_GATE)
    with pytest.raises(ValueError, match="difference of AUC"):
        decide_first(paired, CHAMPION, score(paired), 0.649, PROMOTION_GATE)


def test_a_score_that_is_no_number_is_refused():
    paired = difference(BETTER, (-0.003, -0.001))
    wrong = StreamingScore(score(paired).auc, float("nan"))
    with pytest.raises(ValueError, match="difference of log loss"):
        decide_against_champion(paired, wrong, CHAMPION, [], PROMOTION_GATE)


def test_intervals_of_another_confidence_are_refused():
    with pytest.raises(ValueError, match=r"confidence 0.9, the gate 0.95"):
        against_champion(BETTER, BETTER, confidence=0.9)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("confidence", 1.0),
        ("confidence", 0.4),
        ("confidence", float("nan")),
        ("replicates", 99),
        ("log_loss_margin", -0.001),
        ("ece_margin", 0),
        ("slice_margin", 0.0),
        ("coverage_margin", float("nan")),
        ("log_loss_margin", float("inf")),
        ("minimum_rows", 0),
        ("minimum_users", 1),
    ],
)
def test_a_gate_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}, wanted is"):
        GateConfig(**{name: value})


def test_verdicts_are_written_as_the_contract_says():
    assert [str(verdict) for verdict in Verdict] == ["promote", "hold", "insufficient_evidence"]

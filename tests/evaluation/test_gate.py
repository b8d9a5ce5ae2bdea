"""The gate, as a table of numbers and verdicts."""

import pytest

from widedeep.evaluation.bootstrap import Interval, PairedDifference
from widedeep.evaluation.gate import (
    GateConfig,
    Guardrail,
    GuardrailStatus,
    StreamingScore,
    Verdict,
    decide_against_baseline,
    decide_against_champion,
)
from widedeep.evaluation.sequential import PooledDifference
from widedeep.inputs import InputError

CHAMPION = StreamingScore(auc=0.8213, log_loss=0.4645)
GATE = GateConfig()
BETTER, WORSE, UNCLEAR = (0.0003, 0.0033), (-0.0033, -0.0003), (-0.0003, 0.0033)


def paired_difference(auc, log_loss, **more):
    ends = (auc, log_loss, (-0.001, 0.001))
    intervals = [Interval((low + high) / 2, low, high) for low, high in ends]
    return PairedDifference(*intervals, **{"replicates": 2000, "rows": 900, "users": 600} | more)


def challenger_score(difference):
    return StreamingScore(
        CHAMPION.auc + difference.auc.difference,
        CHAMPION.log_loss + difference.log_loss.difference,
    )


def log_loss_guardrail(difference, gate):
    return Guardrail(
        "streaming log loss",
        challenger_score(difference).log_loss,
        CHAMPION.log_loss,
        difference.log_loss,
        gate.log_loss_margin,
    )


def against_champion(auc, log_loss, gate=GATE, pooled=None, **more):
    difference = paired_difference(auc, log_loss, **more)
    guardrails = [log_loss_guardrail(difference, gate)]
    score = challenger_score(difference)
    return decide_against_champion(difference, score, CHAMPION, guardrails, gate, pooled=pooled)


def against_baseline(auc, constant=0.649, **more):
    difference = paired_difference(auc, (-0.09, -0.07), **more)
    score = challenger_score(difference)
    return decide_against_baseline(difference, score, CHAMPION, constant, GATE)


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


@pytest.mark.parametrize(("unit", "count", "minimum"), [("rows", 499, 500), ("users", 49, 50)])
@pytest.mark.parametrize("auc", [BETTER, WORSE])
def test_a_small_holdout_is_no_evidence_either_way(unit, count, minimum, auc):
    decision = against_champion(auc, (-0.003, -0.001), **{unit: count})
    assert decision.verdict is Verdict.INSUFFICIENT
    assert f"{count} {unit}" in decision.reasons[0]
    assert f"at least {minimum}" in decision.reasons[0]


def test_a_holdout_of_just_the_minimum_counts():
    decision = against_champion(BETTER, (-0.003, -0.001), rows=500, users=50)
    assert decision.verdict is Verdict.PROMOTE


def test_a_wider_margin_lets_a_model_with_a_higher_log_loss_pass():
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
    windows = PooledDifference(Interval(sum(pooled) / 2, *pooled), 0.975, looks=2, rows=20_000)
    decision = against_champion(auc, log_loss, pooled=windows)
    assert decision.verdict is verdict
    assert "2 windows with 20,000 rows" in decision.reasons[-1]
    assert "97.5 % interval" in decision.reasons[-1]


def test_models_that_score_alike_are_no_evidence_and_the_reason_says_so():
    decision = against_champion((0.0, 0.0), (0.0, 0.0))
    assert decision.verdict is Verdict.INSUFFICIENT
    assert "score every row of the holdout alike" in decision.reasons[-1]


def test_the_reasons_carry_both_models_and_the_interval():
    assert against_champion(BETTER, (-0.003, -0.001)).reasons[1:] == (
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
    ("auc", "log_loss", "conclusion"),
    [
        (
            BETTER,
            (-0.003, -0.001),
            (
                "promoted: AUC +0.0018 [+0.0003, +0.0033] is better, and "
                "everything else stays within its margin"
            ),
        ),
        (
            UNCLEAR,
            (-0.003, -0.001),
            (
                "not promoted: AUC +0.0015 [-0.0003, +0.0033] could be chance, and "
                "everything else stays within its margin"
            ),
        ),
        (
            BETTER,
            (0.001, 0.005),
            (
                "not promoted: AUC +0.0018 [+0.0003, +0.0033] is better, and streaming log loss "
                "+0.0030 [+0.0010, +0.0050] may be worse by more than its margin of +0.0020"
            ),
        ),
        (
            WORSE,
            (0.003, 0.005),
            (
                "not promoted: AUC -0.0018 [-0.0033, -0.0003] is worse, and streaming log loss "
                "+0.0040 [+0.0030, +0.0050] is worse by more than its margin of +0.0020"
            ),
        ),
    ],
)
def test_the_first_reason_is_a_conclusion_for_people(auc, log_loss, conclusion):
    assert against_champion(auc, log_loss).to_text() == conclusion


def test_the_conclusion_names_the_windows_that_showed_the_gain():
    windows = PooledDifference(Interval(0.0018, *BETTER), 0.975, looks=3, rows=20_000)
    decision = against_champion(UNCLEAR, (-0.003, -0.001), pooled=windows)
    assert "but over 3 windows AUC +0.0018 [+0.0003, +0.0033] is better" in decision.reasons[0]


def test_a_first_model_with_a_log_loss_above_the_constants_is_told_so():
    assert "the share of positives alone" in against_baseline(BETTER, 0.382).reasons[0]


@pytest.mark.parametrize(
    ("auc", "log_loss", "auc_ending", "loss_ending"),
    [
        (WORSE, (0.003, 0.005), "lies below 0", "lies past the margin of +0.0020"),
        (UNCLEAR, (0.001, 0.005), "includes 0", "reaches past the margin of +0.0020"),
    ],
)
def test_a_refusal_says_which_end_failed(auc, log_loss, auc_ending, loss_ending):
    _, auc_reason, loss_reason = against_champion(auc, log_loss).reasons
    assert auc_reason.endswith(auc_ending)
    assert loss_reason.endswith(loss_ending)


def test_an_end_close_to_zero_is_not_printed_as_zero():
    reason = against_champion((0.00003, 0.003), (-0.003, -0.001)).reasons[1]
    assert "[+3e-05, +0.0030], lies above 0" in reason


def test_the_interval_is_named_by_its_confidence():
    gate = GateConfig(confidence=0.975)
    assert "97.5 % interval" in against_champion(BETTER, BETTER, gate, confidence=0.975).reasons[1]


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
def test_a_first_model_must_beat_the_baseline_and_the_constant(auc, constant, verdict):
    assert against_baseline(auc, constant).verdict is verdict


def test_a_first_model_on_a_small_holdout_is_not_promoted():
    assert against_baseline(BETTER, rows=499).verdict is Verdict.INSUFFICIENT


def test_the_reasons_of_a_first_model_carry_the_baseline_and_the_constant():
    assert against_baseline(BETTER).reasons[1:] == (
        (
            "streaming AUC 0.8231 against the user + item mean baseline's 0.8213: +0.0018, "
            "95 % interval [+0.0003, +0.0033], lies above 0"
        ),
        (
            "streaming log loss 0.3845 against 0.6490 for the share of positives alone: "
            "-0.2645, below it"
        ),
    )


def test_swapped_models_are_refused():
    difference = paired_difference(BETTER, (-0.003, -0.001))
    score = challenger_score(difference)
    with pytest.raises(ValueError, match="difference of AUC"):
        decide_against_champion(difference, CHAMPION, score, [], GATE)
    with pytest.raises(ValueError, match="difference of AUC"):
        decide_against_baseline(difference, CHAMPION, score, 0.649, GATE)


def test_a_score_that_is_no_number_is_refused():
    difference = paired_difference(BETTER, (-0.003, -0.001))
    score = StreamingScore(challenger_score(difference).auc, float("nan"))
    with pytest.raises(ValueError, match="difference of log loss"):
        decide_against_champion(difference, score, CHAMPION, [], GATE)


def test_intervals_of_another_confidence_are_refused():
    with pytest.raises(ValueError, match=r"confidence 0\.9;.* 0\.95"):
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
    with pytest.raises(InputError, match=f"{name} is {value}; expected"):
        GateConfig(**{name: value})


def test_verdicts_are_written_as_the_contract_says():
    assert [str(verdict) for verdict in Verdict] == ["promote", "hold", "insufficient_evidence"]


def guardrail(low, high, margin):
    return Guardrail("a number", 0.5, 0.4, Interval((low + high) / 2, low, high), margin)


@pytest.mark.parametrize(
    ("low", "high", "margin", "status"),
    [
        (-0.5, 0.01, 0.01, GuardrailStatus.WITHIN),
        (-0.5, 0.011, 0.01, GuardrailStatus.REACHES),
        (0.011, 0.02, 0.01, GuardrailStatus.PAST),
        (-0.01, 0.5, -0.01, GuardrailStatus.WITHIN),
        (-0.011, 0.5, -0.01, GuardrailStatus.REACHES),
        (-0.02, -0.011, -0.01, GuardrailStatus.PAST),
    ],
)
def test_the_sign_of_the_margin_says_in_which_direction_a_change_does_harm(
    low, high, margin, status
):
    assert guardrail(low, high, margin).status is status


def test_the_text_of_a_guardrail_carries_both_numbers_interval_and_margin():
    assert guardrail(-0.002, 0.004, 0.01).to_text(0.95) == (
        "a number 0.5000 against the champion's 0.4000: +0.0010, 95 % interval "
        "[-0.0020, +0.0040], stays within the margin of +0.0100"
    )


def test_a_counted_number_has_no_interval():
    assert "interval" not in guardrail(3.0, 3.0, -5.0).to_text(0.95)

"""A guard tells harm ruled out from harm not ruled out and from harm shown."""

import pytest

from widedeep.evaluation.bootstrap import Interval
from widedeep.evaluation.guards import Finding, Guard


def guard(low, high, margin):
    return Guard("a number", 0.5, 0.4, Interval((low + high) / 2, low, high), margin)


@pytest.mark.parametrize(
    ("low", "high", "margin", "finding"),
    [
        (-0.5, 0.01, 0.01, Finding.WITHIN),
        (-0.5, 0.011, 0.01, Finding.REACHES),
        (0.011, 0.02, 0.01, Finding.PAST),
        (-0.01, 0.5, -0.01, Finding.WITHIN),
        (-0.011, 0.5, -0.01, Finding.REACHES),
        (-0.02, -0.011, -0.01, Finding.PAST),
    ],
)
def test_the_sign_of_the_margin_says_which_way_harm_lies(low, high, margin, finding):
    assert guard(low, high, margin).finding is finding


def test_the_sentence_carries_both_numbers_interval_and_margin():
    assert guard(-0.002, 0.004, 0.01).sentence(0.95) == (
        "a number 0.5000 against the champion's 0.4000: +0.0010, 95 % interval "
        "[-0.0020, +0.0040], stays within the margin of +0.0100"
    )


def test_a_counted_number_has_no_interval():
    assert "interval" not in guard(3.0, 3.0, -5.0).sentence(0.95)

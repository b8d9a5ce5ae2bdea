"""The split: three spans of time, disjoint and complete, and never a part too small to use."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.data.split import MINIMUM_ROWS, Split
from widedeep.inputs import InputError

patient = settings(max_examples=60)
TEN = np.arange(10, 20)
PARTS = [(0, "training"), (1, "validation"), (2, "holdout")]
times = st.lists(st.integers(0, 60), min_size=3, max_size=60).map(np.array)


def sizes(split, time):
    return tuple(
        int(part(time).sum()) for part in (split.training, split.validation, split.holdout)
    )


def test_rows_are_split_by_time_and_a_border_belongs_to_the_later_part():
    split = Split(13, 16, 19)

    assert TEN[split.training(TEN)].tolist() == [10, 11, 12]
    assert TEN[split.validation(TEN)].tolist() == [13, 14, 15]
    assert TEN[split.holdout(TEN)].tolist() == [16, 17, 18]


def test_by_default_the_holdout_takes_a_tenth_and_validation_as_much():
    assert Split.from_times(TEN, 20) == Split(18, 19, 20)
    time = np.random.default_rng(0).permutation(1000)
    assert Split.from_times(time, 1000) == Split(800, 900, 1000)


def test_only_what_is_known_at_as_of_is_split():
    assert Split.from_times(np.arange(1000), 500) == Split(400, 450, 500)


def test_given_moments_stay_and_the_other_one_is_filled_in():
    assert Split.from_times(TEN, 20, 12, 15) == Split(12, 15, 20)
    assert Split.from_times(TEN, 20, holdout_from=17) == Split(14, 17, 20)
    assert Split.from_times(TEN, 20, validation_from=14) == Split(14, 17, 20)


def test_ratings_of_one_instant_stay_together():
    time = np.repeat([1, 2, 3], [70, 15, 15])

    assert Split.from_times(time, 9) == Split(2, 3, 9)


def test_moments_are_plain_integers():
    split = Split.from_times(TEN, 20)

    assert {type(v) for v in (split.validation_from, split.holdout_from, split.as_of)} == {int}


@patient
@given(times, st.integers(1, 70), st.none() | st.integers(0, 70), st.none() | st.integers(0, 70))
def test_parts_are_disjoint_and_complete_or_the_split_is_refused(time, as_of, validation, holdout):
    try:
        split = Split.from_times(time, as_of, validation, holdout)
    except InputError:
        return
    parts = [split.training(time), split.validation(time), split.holdout(time)]
    assert (np.sum(parts, axis=0) == (time < as_of)).all()
    assert validation in {None, split.validation_from}
    assert holdout in {None, split.holdout_from}


@patient
@given(st.sets(st.integers(0, 10**6), min_size=30, max_size=200).map(sorted))
def test_default_parts_are_in_proportion_if_no_times_are_tied(time):
    tenth = len(time) // 10

    split = Split.from_times(np.array(time), time[-1] + 1)

    assert sizes(split, np.array(time)) == (len(time) - 2 * tenth, tenth, tenth)


@pytest.mark.parametrize("moments", [(5, 5, 9), (5, 9, 9), (6, 5, 9), (9, 5, 1)])
def test_moments_out_of_order_are_refused(moments):
    with pytest.raises(InputError, match="validation-from before holdout-from before as-of"):
        Split(*moments)


@pytest.mark.parametrize(
    ("given_moments", "message"),
    [
        (
            (10,),
            "no interaction is older than as-of 1970-01-01T00:00:10Z: the interactions go",
        ),
        (
            (20, 20),
            "no interaction is left to validate on: validation-from is 1970-01-01T00:00:20Z",
        ),
        (
            (20, None, 10),
            "no interaction is left to train on: holdout-from is 1970-01-01T00:00:10Z",
        ),
    ],
)
def test_moments_outside_the_data_are_named_with_its_span(given_moments, message):
    with pytest.raises(InputError, match=message):
        Split.from_times(TEN, *given_moments)


def test_no_ratings_at_all_are_refused():
    with pytest.raises(InputError, match="there are no interactions at all"):
        Split.from_times(np.empty(0, np.int64), 10)


def check_parts(counts, positives):
    """Check three consecutive parts with these numbers of rows and of positive rows."""
    time = np.repeat([1, 2, 3], counts)
    label = np.concatenate([np.arange(n) < p for n, p in zip(counts, positives, strict=True)])
    Split(2, 3, 4).check(time, label)


def test_parts_with_both_classes_and_enough_rows_are_accepted():
    check_parts([MINIMUM_ROWS] * 3, [1, 50, MINIMUM_ROWS - 1])


@pytest.mark.parametrize(("part", "name"), PARTS)
def test_a_part_that_is_too_small_is_named(part, name):
    counts = [MINIMUM_ROWS] * 3
    counts[part] -= 1

    with pytest.raises(
        InputError, match=f"the {name} part has 99 interactions; expected at least 100"
    ):
        check_parts(counts, [50] * 3)


@pytest.mark.parametrize("positive", [0, MINIMUM_ROWS])
@pytest.mark.parametrize(("part", "name"), PARTS)
def test_a_part_of_one_class_is_named(part, name, positive):
    positives = [50] * 3
    positives[part] = positive

    with pytest.raises(InputError, match=f"the {name} part has {positive} positive labels in 100"):
        check_parts([MINIMUM_ROWS] * 3, positives)

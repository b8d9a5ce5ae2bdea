"""What users write: moments as ISO-8601 or UNIX seconds in UTC, and the name of a model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.inputs import InputError, choose_model, parse_time, to_iso

patient = settings(max_examples=60)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 1507421280 ", 1_507_421_280),
        ("2018-07-01", 1_530_403_200),
        ("2018-07-01T12:00:00Z", 1_530_446_400),
        ("2018-07-01 12:00", 1_530_446_400),
        ("2018-07-01T21:00:00+09:00", 1_530_446_400),
        ("1969-12-31T23:59:00Z", -60),
    ],
)
def test_a_moment_is_read_as_utc_if_it_names_no_zone(text, seconds):
    assert parse_time(text, "--as-of") == seconds


@patient
@given(st.integers(0, 4_102_444_800))
def test_seconds_survive_both_ways_of_writing_them(seconds):
    assert parse_time(str(seconds), "as-of") == seconds
    assert parse_time(to_iso(seconds), "as-of") == seconds


@pytest.mark.parametrize(
    "text", ["", "yesterday", "-5", "1.5", "2018-13-01", "9" * 12, "9" * 30, "9" * 5000, "²"]
)
def test_anything_else_is_refused_by_the_name_it_was_given_under(text):
    with pytest.raises(InputError, match=r"^--as-of is '.*ISO-8601 .* or UNIX seconds"):
        parse_time(text, "--as-of")


def test_a_model_is_chosen_by_name_or_because_it_is_the_only_one():
    assert choose_model(["a", "b"], "b") == "b"
    assert choose_model(["a"], None) == "a"


@pytest.mark.parametrize(("models", "name"), [(["a", "b"], None), (["a", "b"], "c"), (["a"], "c")])
def test_an_unclear_or_unknown_model_is_refused_with_the_names_there_are(models, name):
    with pytest.raises(InputError, match=", ".join(models)):
        choose_model(models, name)

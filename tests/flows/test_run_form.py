"""The run form and the command line say the same, and begin with what suits."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from flows.run_form import Clock, DataSet, Gate, Moments, Training, seconds
from widedeep.evaluation.gate import GateConfig


def test_the_gate_of_an_untouched_form_is_the_gate_itself():
    assert Gate().config == GateConfig()
    assert Gate(log_loss_margin=0.01).config == GateConfig(log_loss_margin=0.01)


@pytest.mark.parametrize(
    ("text", "found"),
    [("auto", "auto"), ("kmrd-5m", "kmrd-5m"), ("./sim", "./sim"), ("/data/kmrd", "/data/kmrd")],
)
def test_words_and_folders_mean_what_they_mean_on_the_command_line(text, found):
    assert DataSet.parse(text).text == found


def test_a_folder_goes_before_the_data_set():
    assert DataSet(name="sim", folder=" /data ").text == "/data"


def test_a_moment_without_a_zone_is_in_utc():
    naive, aware = datetime(2018, 7, 1), datetime(2018, 7, 1, tzinfo=UTC)  # noqa: DTZ001
    assert seconds(naive) == seconds(aware) == 1530403200
    assert Moments(as_of=aware).window.as_of == 1530403200
    assert Moments().window.holdout_from is None


@pytest.mark.parametrize(
    ("form", "given"),
    [
        (Gate, {"confidence": 1.0}),
        (Gate, {"ece_margin": 0}),
        (Training, {"mode": "lukewarm"}),
        (Training, {"sed": 1}),
        (Training, {"precision": "float16"}),
        (Training, {"device": "tpu"}),
        (Clock, {"every_days": 0}),
        (DataSet, {"name": "netflix"}),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_form(form, given):
    with pytest.raises(ValidationError):
        form(**given)


def test_every_field_has_a_title_and_those_with_a_choice_a_help():
    for form in (DataSet, Moments, Clock, Training, Gate):
        for name, field in form.model_fields.items():
            assert field.title, name
            assert field.description or name == "every_days", name

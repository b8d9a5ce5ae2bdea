"""The run form and the command line accept the same settings, which are declared once."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from flows.ablation import ablation
from flows.replay import replay
from flows.retrain import Gate, retrain
from flows.tune import tune
from tasks.engine import Engine
from tasks.run_form import Clock, DataSet, Moments, Search, Training
from widedeep.data.download import RELEASES
from widedeep.evaluation.gate import GateConfig
from widedeep.inputs import (
    DataSetName,
    Device,
    EngineName,
    Precision,
    PresetName,
    Publish,
    StartMode,
)
from widedeep.model.presets import PRESETS

JULY = 1_530_403_200
"""2018-07-01, UTC."""

FORMS = {"data": DataSet, "moments": Moments, "training": Training, "gate": Gate} | {
    "computing": Engine,
    "clock": Clock,
}


def test_the_gate_of_an_untouched_form_is_the_gate_itself():
    assert Gate().config == GateConfig()
    assert Gate(log_loss_margin=0.01).config == GateConfig(log_loss_margin=0.01)


@pytest.mark.parametrize("text", ["auto", "kmrd-5m", "./sim", "/data/kmrd"])
def test_names_and_folders_mean_what_they_mean_on_the_command_line(text):
    data = DataSet.parse(text)
    assert str(data) == text
    assert bool(data.folder) is ("/" in text)


def test_a_folder_goes_before_the_data_set():
    assert str(DataSet(name="sim", folder=" /data ")) == "/data"


def test_every_choice_stands_for_something():
    assert set(RELEASES) == {*DataSetName} - {DataSetName.AUTO, DataSetName.SIM}
    assert set(PRESETS) == {*PresetName} - {PresetName.TUNED}


@pytest.mark.parametrize(
    "moment",
    [
        "2018-07-01",
        "2018-07-01T00:00:00.000Z",
        "2018-07-01T09:00:00+09:00",
        str(JULY),
        JULY,
        datetime(2018, 7, 1),  # noqa: DTZ001  a form may leave the zone out
        datetime(2018, 7, 1, tzinfo=UTC),
    ],
)
def test_a_moment_is_unix_seconds_however_it_is_written(moment):
    assert Moments(as_of=moment).as_of == JULY


def test_a_moment_is_written_as_a_date_where_people_read_it():
    written = Moments(as_of=JULY).model_dump(mode="json")
    assert written == {
        "as_of": "2018-07-01T00:00:00Z",
        "validation_from": None,
        "holdout_from": None,
    }
    assert Moments.model_validate(written) == Moments(as_of=JULY)


@pytest.mark.parametrize(
    ("form", "values"),
    [
        (Gate, {"confidence": 1.0}),
        (Gate, {"ece_margin": 0}),
        (Training, {"mode": "lukewarm"}),
        (Training, {"sed": 1}),
        (Training, {"seed": -1}),
        (Training, {"precision": "float16"}),
        (Training, {"device": "tpu"}),
        (Clock, {"every_days": 0}),
        (Search, {"trials": 0}),
        (DataSet, {"name": "netflix"}),
        (Moments, {"as_of": "yesterday"}),
        (Engine, {"workers": 0}),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_form(form, values):
    with pytest.raises(ValidationError):
        form(**values)


@pytest.mark.parametrize("form", FORMS.values())
def test_every_field_has_a_title_and_a_help(form):
    for name, field in form.model_fields.items():
        assert field.title, name
        assert field.description, name


@pytest.mark.parametrize("flow", [retrain, replay, tune, ablation])
def test_the_run_form_begins_with_the_declared_defaults(flow):
    for name, parameter in flow.parameters.model_dump()["properties"].items():
        if name in FORMS:
            assert parameter["default"] == FORMS[name]().model_dump(mode="json")


def test_prefect_shows_choices_as_selects_and_moments_as_dates():
    forms = retrain.parameters.model_dump()["definitions"]
    selects = {
        ("DataSet", "name"): DataSetName,
        ("Training", "mode"): StartMode,
        ("Training", "preset"): PresetName,
        ("Training", "precision"): Precision,
        ("Training", "device"): Device,
        ("Gate", "publish"): Publish,
        ("Engine", "engine"): EngineName,
    }
    for (form, name), choices in selects.items():
        field = forms[form]["properties"][name]
        assert (field["type"], field["enum"]) == ("string", [*choices])
        assert {"title", "description", "default"} <= field.keys()
    as_of = forms["Moments"]["properties"]["as_of"]
    assert {"type": "string", "format": "date-time"} in as_of["anyOf"]
    assert replay.parameters.model_dump()["properties"]["preset"]["enum"] == ["default", "paper"]

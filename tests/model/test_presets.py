"""The named settings.

A setting is found by its path, and only what may be searched can be changed.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.spec import FeatureSpec
from widedeep.inputs import InputError
from widedeep.model.network import NetworkConfig
from widedeep.model.presets import PRESETS, SPACE, Choice, preset, settings_of, with_settings
from widedeep.model.trainer import TrainingConfig

every_preset = pytest.mark.parametrize("name", PRESETS)


def test_the_paper_preset_has_the_sizes_of_the_paper():
    network = preset("paper").network
    assert network.embedding == 32
    assert network.hidden == (1024, 512, 256)
    assert network.dropout == network.id_dropout == 0


@every_preset
def test_a_preset_is_found_under_its_own_name(name):
    assert preset(name).name == name


@every_preset
def test_a_preset_survives_json(name):
    values = json.loads(json.dumps(preset(name).as_json()))
    assert FeatureSpec.from_json(values["features"]) == preset(name).features
    assert NetworkConfig.from_json(values["network"]) == preset(name).network
    assert TrainingConfig.from_json(values["training"]) == preset(name).training


@every_preset
def test_the_wide_part_crosses_what_was_liked_with_the_candidate(name):
    assert ("liked", "item") in [cross.parts for cross in preset(name).features.crosses]


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(InputError, match=r"no preset 'tiny'; there are .'default', 'paper'."):
        preset("tiny")


def setting(space):
    if isinstance(space, Choice):
        return st.sampled_from(space.options)
    return st.floats(space.low, space.high)


SETTINGS = st.fixed_dictionaries({}, optional={path: setting(one) for path, one in SPACE.items()})


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_own_settings_change_nothing_but_the_name(name):
    chosen = preset(name)
    assert with_settings(chosen, settings_of(chosen), name) == chosen


@given(SETTINGS)
def test_whatever_is_drawn_is_what_the_preset_has(settings):
    found = with_settings(preset("default"), settings, "tuned")
    assert found.name == "tuned"
    assert settings_of(found) == settings_of(preset("default")) | settings
    assert found.features == preset("default").features


def test_the_default_lies_inside_the_space():
    for path, value in settings_of(preset("default")).items():
        space = SPACE[path]
        inside = (
            value in space.options
            if isinstance(space, Choice)
            else (space.low <= value <= space.high)
        )
        assert inside, path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training/epochs": 3}, "setting 'training/epochs' is not one of"),
        ({"network/hidden": "wide"}, "widths as in 256-128 are wanted"),
        ({"network/dropout": 1.5}, "dropouts from 0 to below 1"),
    ],
)
def test_what_cannot_be_set_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        with_settings(preset("default"), settings, "tuned")

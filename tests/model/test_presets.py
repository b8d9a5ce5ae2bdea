"""The named settings, and how a search changes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import KMRD
from widedeep.features.spec import FeatureSpec
from widedeep.inputs import InputError
from widedeep.model.network import NetworkConfig
from widedeep.model.presets import (
    PRESETS,
    SEARCH_SPACE,
    Choice,
    get_preset,
    searchable_settings,
    with_settings,
)
from widedeep.model.trainer import TrainingConfig

every_preset = pytest.mark.parametrize("name", PRESETS)


def values_of(space):
    if isinstance(space, Choice):
        return st.sampled_from(space.options)
    return st.floats(space.low, space.high)


SETTINGS = st.fixed_dictionaries(
    {}, optional={path: values_of(space) for path, space in SEARCH_SPACE.items()}
)


def test_the_paper_preset_has_the_sizes_of_the_paper():
    network = get_preset("paper", KMRD).network
    assert network.embedding == 32
    assert network.hidden == (1024, 512, 256)
    assert network.dropout == network.id_dropout == 0


@every_preset
def test_a_preset_is_found_under_its_own_name(name):
    assert get_preset(name, KMRD).name == name


@every_preset
def test_a_preset_survives_json(name):
    preset = get_preset(name, KMRD)
    values = json.loads(json.dumps(preset.as_json()))
    assert FeatureSpec.from_json(values["features"]) == preset.features
    assert NetworkConfig.from_json(values["network"]) == preset.network
    assert TrainingConfig.from_json(values["training"]) == preset.training


@every_preset
def test_the_wide_part_crosses_liked_items_with_the_candidate(name):
    assert ("liked", "item") in [cross.parts for cross in get_preset(name, KMRD).features.crosses]


def test_an_unknown_preset_is_refused_with_the_names_of_all():
    with pytest.raises(InputError, match=r"unknown preset 'tiny'.*default, paper"):
        get_preset("tiny", KMRD)


@every_preset
def test_a_presets_own_settings_change_nothing_but_the_name(name):
    preset = get_preset(name, KMRD)
    assert with_settings(preset, searchable_settings(preset), name) == preset


@given(SETTINGS)
def test_drawn_settings_are_what_the_preset_then_has(settings):
    default = get_preset("default", KMRD)
    tuned = with_settings(default, settings, "tuned")
    assert tuned.name == "tuned"
    assert searchable_settings(tuned) == searchable_settings(default) | settings
    assert tuned.features == default.features


def test_the_default_preset_lies_inside_the_search_space():
    for path, value in searchable_settings(get_preset("default", KMRD)).items():
        space = SEARCH_SPACE[path]
        inside = (
            value in space.options
            if isinstance(space, Choice)
            else (space.low <= value <= space.high)
        )
        assert inside, path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training/epochs": 3}, "unknown setting 'training/epochs'"),
        ({"network/hidden": "wide"}, "hidden is 'wide'; expected widths as in 256-128"),
        ({"network/dropout": 1.5}, "dropouts of at least 0 and below 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        with_settings(get_preset("default", KMRD), settings, "tuned")

"""The named settings."""

import json

import pytest

from widedeep.errors import InputError
from widedeep.features.spec import FeatureSpec
from widedeep.model.network import NetworkConfig
from widedeep.model.presets import PRESETS, preset
from widedeep.model.training import TrainingConfig

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
    assert ("liked", "movie") in [cross.parts for cross in preset(name).features.crosses]


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(InputError, match=r"no preset 'tiny'; there are .'default', 'paper'."):
        preset("tiny")

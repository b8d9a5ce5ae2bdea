"""A setting is found by its path, and only what may be searched can be changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.errors import InputError
from widedeep.model.presets import PRESETS, preset
from widedeep.model.search_space import SPACE, Choice, settings_of, with_settings


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

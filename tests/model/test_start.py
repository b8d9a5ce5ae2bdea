"""Where a training begins, branch by branch."""

from dataclasses import replace

import numpy as np
import pytest

from widedeep.data.split import Split
from widedeep.errors import InputError
from widedeep.model.start import Mode, Start
from widedeep.model.training import logits
from widedeep.model.version import ModelVersion, StoredModel

SPLIT = Split(1000, 2000, 3000)
"""The champion learned until 2000, so it may just be used."""


@pytest.fixture(scope="module")
def model(world):
    return world.model(world.transform())


@pytest.fixture(scope="module")
def champion(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("champion")
    model.save(folder)
    return version("abc", folder)


def version(model_id, folder):
    """A version whose one model is in the folder."""
    stored = StoredModel(model_id, folder)
    return ModelVersion("7", stored, stored)


@pytest.fixture
def objections(world, tmp_path, model):
    """A champion, a split and a preset that don't go together, and what is said of them."""
    seen = replace(model, learned_until=2001)
    seen.save(tmp_path / "seen")
    model.save(tmp_path / "fits")
    other = world.with_preset({"embedding": 5}).preset
    narrow = replace(world.preset, features=replace(world.spec, wide=("movie",)))
    fits, past = version("abc", tmp_path / "fits"), version("abc", tmp_path / "seen")
    return {
        "other architecture": (fits, other),
        "other features": (fits, narrow),
        "past this run's holdout-from": (past, world.preset),
    }


CAUSES = {
    "other architecture": r"other features or another architecture than preset 'small'",
    "other features": r"other features or another architecture than preset 'small'",
    "past this run's holdout-from": (
        r"learned from ratings up to 1970-01-01T00:33:21Z, past this run's holdout-from "
        r"1970-01-01T00:33:20Z"
    ),
}


def test_cold_is_cold_whatever_champion_there_is(champion, world):
    start = Start.choose(Mode.COLD, champion, SPLIT, world.preset)
    assert start == Start("cold, as asked")
    assert not start.warm


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.WARM])
def test_a_champion_that_fits_and_saw_nothing_of_the_run_is_begun_from(mode, champion, world):
    start = Start.choose(mode, champion, SPLIT, world.preset)
    assert start == Start("warm, from version 7", champion)
    assert start.warm
    assert start.model_id == "abc"


def test_what_serves_may_have_seen_the_holdout_if_what_was_judged_has_not(champion, world, model):
    fresh = replace(champion, served=StoredModel("def", champion.gated.path / "caught up"))
    replace(model, learned_until=2001).save(fresh.served.path)
    start = Start.choose(Mode.WARM, fresh, SPLIT, world.preset)
    assert start.model_id == "abc"
    assert start.model().learned_until == model.learned_until


def test_settings_of_training_may_change_between_models(champion, world):
    changed = world.with_preset(training={"learning_rate": 0.5, "epochs": 1}).preset
    assert Start.choose(Mode.AUTO, champion, SPLIT, changed).warm


def test_without_a_champion_auto_is_cold(world):
    start = Start.choose(Mode.AUTO, None, SPLIT, world.preset)
    assert start == Start("cold, there is no champion yet")
    assert start.model_id is None
    assert start.model() is None


@pytest.mark.parametrize("cause", CAUSES)
def test_auto_is_cold_and_says_why_the_champion_is_not_begun_from(cause, objections):
    champion, preset = objections[cause]
    start = Start.choose(Mode.AUTO, champion, SPLIT, preset)
    assert not start.warm
    with pytest.raises(InputError, match=CAUSES[cause]):
        Start.choose(Mode.WARM, champion, SPLIT, preset)
    assert start.reason.startswith("cold, not from the champion: it ")


def test_warm_without_a_champion_is_refused(world):
    with pytest.raises(InputError, match="no champion yet; use --mode cold or auto"):
        Start.choose(Mode.WARM, None, SPLIT, world.preset)


def test_the_previous_model_is_read_from_its_folder(champion, world, model):
    start = Start.choose(Mode.AUTO, champion, SPLIT, world.preset)
    rows = model.transform.encode(world.raw(4))
    assert np.array_equal(logits(start.model().network, rows), logits(model.network, rows))

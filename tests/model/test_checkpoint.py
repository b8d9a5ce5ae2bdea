"""A training that was cut off goes on as if nothing had happened, to the bit."""

import numpy as np
import pytest
import torch

from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.features.training_plan import TrainingPlan, cold_parts
from widedeep.model.checkpoint import Checkpoint
from widedeep.model.fitting import Fitting

EPOCHS = 5
"""Three of the initial training and two of catching up, in the preset of this folder's world."""


@pytest.fixture(scope="module")
def plan(world):
    generator = np.random.default_rng(3)
    time = np.arange(900)
    user, movie = generator.integers(1, 30, 900), generator.integers(100, 130, 900)
    log = RatingLog(user, movie, np.where(movie % 2, 10, 4).astype(np.int8), time)
    preset = world.preset
    split = Split(500, 700, 900)
    return TrainingPlan.of(
        cold_parts(log, world.catalogue, split, preset.features, preset.sampling)
    )


def remembered(fitting):
    model = fitting.finished()
    return {**model.network.state_dict(), **model.state}


def figures(results):
    return [(r.epoch, r.train_loss, r.validation_loss, r.best) for r in results]


@pytest.fixture(scope="module")
def uninterrupted(world, plan):
    fitting = Fitting(plan, world.preset, None, 1)
    return figures(fitting.epochs()), fitting


@pytest.mark.parametrize("last", range(1, EPOCHS + 1))
def test_from_any_epoch_on_everything_is_as_it_would_have_been(
    world, plan, uninterrupted, tmp_path, last
):
    wanted, whole = uninterrupted
    cut_off = Fitting(plan, world.preset, None, 1)
    for result in cut_off.epochs():
        if result.epoch == last:
            cut_off.checkpoint().save(tmp_path)
            break
    fitting = Fitting(plan, world.preset, None, 1, begun=Checkpoint.load(tmp_path))
    assert figures(fitting.epochs()) == wanted[last:]
    assert fitting.summary() == whole.summary()
    found, expected = remembered(fitting), remembered(whole)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_warm_start_goes_on_too(world, plan, uninterrupted, tmp_path):
    previous = uninterrupted[1].finished()
    warm = TrainingPlan(None, plan.catch_up)
    whole, cut_off = (Fitting(warm, world.preset, previous, 2) for _ in range(2))
    wanted = figures(whole.epochs())
    next(iter(cut_off.epochs()))
    cut_off.checkpoint().save(tmp_path)
    fitting = Fitting(warm, world.preset, previous, 2, begun=Checkpoint.load(tmp_path))
    assert figures(fitting.epochs()) == wanted[1:]
    assert fitting.summary() == whole.summary()
    assert all(torch.equal(v, remembered(whole)[k]) for k, v in remembered(fitting).items())

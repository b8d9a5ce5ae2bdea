"""A training that was cut off goes on as if nothing had happened, to the bit.

The training stage end to end, on ratings: cold, kept, and continued warm.

A new network begins from the offset as far as the labels bear it out.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep import metrics
from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.features.encoded import EncodedRows
from widedeep.features.ragged import Ragged
from widedeep.features.training_data import (
    STREAMING,
    Examples,
    TrainingData,
    cold_parts,
    example_queries,
    warm_parts,
)
from widedeep.model.fitting import Checkpoint, TrainingRun, fit_prior_calibration
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trained_model import ModelVersion, StoredModel, TrainedModel
from widedeep.model.trainer import predict
from widedeep.model.warm_start import StartMode, TrainingStart

EPOCHS = 5
"""Three of the initial training and two of catching up, in the preset of this folder's world."""


@pytest.fixture(scope="module")
def plan(world):
    generator = np.random.default_rng(3)
    time = np.arange(900)
    user, item = generator.integers(1, 30, 900), generator.integers(100, 130, 900)
    interactions = Interactions(user, item, np.where(item % 2, 10, 4).astype(np.int8), time)
    preset = world.preset
    split = Split(500, 700, 900)
    return TrainingData.of(
        cold_parts(interactions, world.item_table, split, preset.features, preset.sampling)
    )


def remembered(fitting):
    model = fitting.finished()
    return {**model.network.state_dict(), **model.state}


def figures(results):
    return [(r.epoch, r.train_loss, r.validation_loss, r.best) for r in results]


@pytest.fixture(scope="module")
def uninterrupted(world, plan):
    fitting = TrainingRun(plan, world.preset, None, 1)
    return figures(fitting.epochs()), fitting


@pytest.mark.parametrize("last", range(1, EPOCHS + 1))
def test_from_any_epoch_on_everything_is_as_it_would_have_been(
    world, plan, uninterrupted, tmp_path, last
):
    wanted, whole = uninterrupted
    cut_off = TrainingRun(plan, world.preset, None, 1)
    for result in cut_off.epochs():
        if result.epoch == last:
            cut_off.checkpoint().save(tmp_path)
            break
    fitting = TrainingRun(plan, world.preset, None, 1, begun=Checkpoint.load(tmp_path))
    assert figures(fitting.epochs()) == wanted[last:]
    assert fitting.summary() == whole.summary()
    found, expected = remembered(fitting), remembered(whole)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_warm_start_goes_on_too(world, plan, uninterrupted, tmp_path):
    previous = uninterrupted[1].finished()
    warm = TrainingData(None, plan.catch_up)
    whole, cut_off = (TrainingRun(warm, world.preset, previous, 2) for _ in range(2))
    wanted = figures(whole.epochs())
    next(iter(cut_off.epochs()))
    cut_off.checkpoint().save(tmp_path)
    fitting = TrainingRun(warm, world.preset, previous, 2, begun=Checkpoint.load(tmp_path))
    assert figures(fitting.epochs()) == wanted[1:]
    assert fitting.summary() == whole.summary()
    assert all(torch.equal(v, remembered(whole)[k]) for k, v in remembered(fitting).items())


RATINGS = 1200
FIRST = Split(600, 800, 1000)
LATER = Split(800, 1000, 1200)
COLD = TrainingStart("cold, as asked")


@pytest.fixture(scope="module")
def interactions():
    """A rating a second; users and items come and go, and even items are liked."""
    generator = np.random.default_rng(8)
    time = np.arange(RATINGS)
    user = 1 + time // 20 + generator.integers(0, 30, RATINGS)
    item = 100 + (time // 100 + generator.integers(0, 20, RATINGS)) % 32
    liked = generator.random(RATINGS) < np.where(item % 2 == 0, 0.8, 0.2)
    rate = np.where(liked, 10, 4).astype(np.int8)
    return Interactions(user, item, rate, time)


@pytest.fixture(scope="module")
def build(world, interactions):
    def build(split, previous=None):
        preset = world.preset
        if previous is None:
            return TrainingData.of(
                cold_parts(interactions, world.item_table, split, preset.features, preset.sampling)
            )
        known = previous.transform, previous.learned_until
        return TrainingData.of(
            warm_parts(interactions, world.item_table, split.holdout_from, preset.sampling, *known)
        )

    return build


@pytest.fixture(scope="module")
def run_plan(build):
    return build(FIRST)


def fit(run_plan, preset, previous=None, seed=1):
    fitting = TrainingRun(run_plan, preset, previous, seed)
    return fitting, list(fitting.epochs())


@pytest.fixture(scope="module")
def champion(world, run_plan, tmp_path_factory):
    fitting, _ = fit(run_plan, world.preset)
    folder = tmp_path_factory.mktemp("champion")
    fitting.finished().save(folder)
    stored = StoredModel("abc", folder)
    return ModelVersion("1", stored, stored)


def optimiser_state(model):
    return {**model.network.state_dict(), **model.state}


def equal(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in found)


def test_a_cold_fit_is_chosen_by_validation_and_then_catches_up(world, run_plan):
    fitting, results = fit(run_plan, world.preset)
    assert [result.epoch for result in results] == [1, 2, 3, 4, 5]
    assert [result.validation_auc is None for result in results] == [False] * 3 + [True] * 2
    summary = fitting.summary()
    assert summary["best_epoch"] == [result.epoch for result in results if result.best][-1]
    assert summary["carried"] == {}
    wide = run_plan.catch_up.transform.wide_size
    assert 0 < summary["wide_nonzero"] <= summary["wide_weights"] == wide
    chosen, finished = fitting.chosen, fitting.finished()
    assert (chosen.learned_until, finished.learned_until) == (600, 800)
    assert chosen.transform is run_plan.initial.transform
    assert finished.transform is run_plan.catch_up.transform
    assert finished.evidence is run_plan.catch_up.evidence


def test_catching_up_learns_what_validation_had_to_tell(world, run_plan):
    fitting, _ = fit(run_plan, world.preset)
    held, caught_up = run_plan.initial.validation[STREAMING], run_plan.catch_up.training
    new = caught_up.take(np.arange(len(caught_up))[-len(held) :])
    assert new.label.tolist() == held.label.tolist()
    before = metrics.log_loss(held.label, predict(fitting.chosen.network, held.rows))
    after = metrics.log_loss(new.label, predict(fitting.finished().network, new.rows))
    assert after < before


def test_a_training_that_was_left_has_no_model(world, run_plan):
    fitting = TrainingRun(run_plan, world.preset, None, seed=1)
    next(fitting.epochs())
    with pytest.raises(RuntimeError, match="left before its end"):
        fitting.finished()


def test_the_same_seed_gives_the_same_model(world, run_plan):
    models = [fit(run_plan, world.preset)[0].finished() for _ in range(2)]
    assert equal(*map(optimiser_state, models))


def test_the_seed_decides_weights_dropouts_and_the_order_of_rows(world, run_plan):
    models = [fit(run_plan, world.preset, seed=seed)[0].finished() for seed in (1, 2)]
    assert not equal(*map(optimiser_state, models))


def test_a_plan_from_disk_gives_the_same_model(world, run_plan, champion, tmp_path):
    run_plan.save(tmp_path)
    fitting, _ = fit(TrainingData.load(tmp_path), world.preset)
    wanted = TrainedModel.load(champion.gated.path)
    assert equal(optimiser_state(fitting.finished()), optimiser_state(wanted))


def test_a_warm_fit_is_judged_by_what_is_new_and_reports_what_it_took_over(
    world, interactions, build, champion
):
    start = TrainingStart.choose(StartMode.WARM, champion, LATER, world.preset)
    previous = start.model()
    plan = build(LATER, previous)
    fitting, results = fit(plan, world.preset, previous)
    new = (interactions.time >= FIRST.holdout_from) & (interactions.time < LATER.holdout_from)
    asked = example_queries(interactions, new)
    scores = predict(
        previous.network,
        previous.transform.encode(
            previous.transform.describe(interactions, asked, world.item_table)
        ),
    )
    assert [result.epoch for result in results] == [0, 1, 2]
    assert results[0].validation_auc == pytest.approx(
        metrics.auc(interactions.rate[new] == 10, scores)
    )
    summary = fitting.summary()
    assert summary["best_epoch"] == 0
    assert set(summary["carried"]["wide"]) == {"carried", "added", "dropped"}
    assert summary["carried"]["embeddings.user"]["added"] > 0
    assert fitting.finished().learned_until == LATER.holdout_from


def test_a_warm_fit_is_repeated_to_the_bit(world, build, champion):
    start = TrainingStart.choose(StartMode.AUTO, champion, LATER, world.preset)
    plan = build(LATER, start.model())
    models = [fit(plan, world.preset, start.model(), 3)[0].finished() for _ in range(2)]
    assert equal(*map(optimiser_state, models))


def test_a_warm_fit_with_nothing_new_is_the_champion(world, build, champion):
    start = TrainingStart.choose(StartMode.WARM, champion, FIRST, world.preset)
    plan = build(FIRST, start.model())
    fitting, results = fit(plan, world.preset, start.model())
    assert results == []
    assert equal(optimiser_state(fitting.finished()), optimiser_state(start.model()))


def test_a_champion_is_not_begun_from_in_its_own_past(world, champion):
    earlier = replace(FIRST, holdout_from=799)
    assert not TrainingStart.choose(StartMode.AUTO, champion, earlier, world.preset).warm


def network():
    shape = InputShape({}, (), (), 0, 1)
    return WideDeep(NetworkConfig(deep=False), shape, torch.Generator())


def examples(offset, label):
    rows = len(offset)
    encoded = EncodedRows(
        np.empty((rows, 0), np.int32),
        (),
        np.empty((rows, 0), np.float32),
        Ragged.from_lengths(np.empty(0, np.int32), np.zeros(rows, np.int64)),
        offset.astype(np.float32),
    )
    return Examples(encoded, label, np.ones(rows, np.float32))


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (0.4, -0.3), (2.0, 0.5)])
def test_slope_and_bias_are_those_by_which_the_labels_were_drawn(slope, bias):
    generator = np.random.default_rng(0)
    offset = generator.normal(0.7, 1.0, 60_000)
    label = generator.random(60_000) < 1 / (1 + np.exp(-slope * offset - bias))
    begun = network()

    fit_prior_calibration(begun, examples(offset, label))

    assert begun.slope.item() == pytest.approx(slope, abs=0.05)
    assert begun.bias.item() == pytest.approx(bias, abs=0.05)


def test_weights_count():
    generator = np.random.default_rng(0)
    offset = generator.normal(size=20_000)
    believed = generator.random(20_000) < 1 / (1 + np.exp(-offset))
    rows = examples(np.tile(offset, 2), np.concatenate([believed, ~believed]))
    weight = np.repeat([1.0, 1e-6], 20_000).astype(np.float32)
    begun = network()

    fit_prior_calibration(begun, replace(rows, weight=weight))

    assert begun.slope.item() == pytest.approx(1, abs=0.1)


def test_an_offset_that_tells_everything_stays_finite():
    offset = np.array([-1.0, -2.0, 1.0, 2.0])
    begun = network()

    fit_prior_calibration(begun, examples(offset, offset > 0))

    assert 1 < begun.slope.item() < 1e4


def test_without_an_offset_nothing_changes():
    begun = network()

    fit_prior_calibration(begun, examples(np.zeros(4), np.array([True, False, True, True])))

    assert (begun.slope.item(), begun.bias.item()) == (1, 0)

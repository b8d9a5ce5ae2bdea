"""The training stage: cold, warm, resumed after an interruption; and the prior calibration."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.conftest import equal
from tests.worlds import rated
from widedeep import metrics
from widedeep.data.split import Split
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
from widedeep.inputs import StartMode
from widedeep.model.fitting import Checkpoint, TrainingJob, TrainingRun, fit_prior_calibration
from widedeep.model.network import InputShape, NetworkConfig, WideDeep, predict
from widedeep.model.trained_model import TrainedModel
from widedeep.model.warm_start import TrainingStart
from widedeep.store import ModelVersion, StoredModel

EPOCHS = 5
"""Three of the initial training and two of the catch-up, in the preset of this folder's world."""

INTERACTIONS = 1200
FIRST = Split(600, 800, 1000)
LATER = Split(800, 1000, 1200)


@pytest.fixture(scope="module")
def interactions():
    """One interaction a second; users and items come and go, and even items are liked."""
    generator = np.random.default_rng(8)
    time = np.arange(INTERACTIONS)
    user = 1 + time // 20 + generator.integers(0, 30, INTERACTIONS)
    item = 100 + (time // 100 + generator.integers(0, 20, INTERACTIONS)) % 32
    liked = generator.random(INTERACTIONS) < np.where(item % 2 == 0, 0.8, 0.2)
    value = np.where(liked, 10, 4)
    return rated(user, item, value, time)


@pytest.fixture(scope="module")
def build(world, interactions):
    """Makes the training data of a cold start, or of a warm one from a previous model."""

    def build(split, previous=None):
        tables, preset = world.tables, world.preset
        if previous is None:
            return TrainingData.from_parts(
                cold_parts(interactions, tables, split, preset.features, preset.sampling)
            )
        learned = previous.transform, previous.learned_until
        return TrainingData.from_parts(
            warm_parts(interactions, tables, split.holdout_from, preset.sampling, *learned)
        )

    return build


@pytest.fixture(scope="module")
def data(build):
    return build(FIRST)


def train(data, preset, previous=None, seed=1):
    """A finished run and its results."""
    run = TrainingRun(data, preset, previous, seed)
    return run, list(run.epochs())


def tensors(model):
    """All weights and all optimiser state by name."""
    return {**model.network.state_dict(), **model.optimiser_state}


@pytest.fixture(scope="module")
def champion(world, data, tmp_path_factory):
    run, _ = train(data, world.preset)
    folder = tmp_path_factory.mktemp("champion")
    run.trained_model().save(folder)
    stored = StoredModel("abc", folder)
    return ModelVersion("1", stored, stored)


def test_a_cold_start_is_selected_by_validation_and_then_catches_up(world, data):
    run, results = train(data, world.preset)
    assert [result.epoch for result in results] == [1, 2, 3, 4, 5]
    assert [result.validation_auc is None for result in results] == [False] * 3 + [True] * 2
    summary = run.summary()
    assert summary["best_epoch"] == [result.epoch for result in results if result.best][-1]
    assert summary["carried"] == {}
    wide_size = data.catch_up.transform.wide_size
    assert 0 < summary["wide_nonzero"] <= summary["wide_weights"] == wide_size
    selected, final = run.selected_model, run.trained_model()
    assert (selected.learned_until, final.learned_until) == (600, 800)
    assert selected.transform is data.initial.transform
    assert final.transform is data.catch_up.transform
    assert final.support is data.catch_up.support


def test_a_catch_up_learns_the_validation_examples(world, data):
    run, _ = train(data, world.preset)
    validation, caught_up = data.initial.validation[STREAMING], data.catch_up.training
    new = caught_up.select_rows(np.arange(len(caught_up))[-len(validation) :])
    assert new.label.tolist() == validation.label.tolist()
    selected, final = run.selected_model.network, run.trained_model().network
    before = metrics.log_loss(validation.label, predict(selected, validation.rows))
    after = metrics.log_loss(new.label, predict(final, new.rows))
    assert after < before


def test_a_training_that_was_left_has_no_model(world, data):
    run = TrainingRun(data, world.preset, None, seed=1)
    next(run.epochs())
    with pytest.raises(RuntimeError, match="left before its end"):
        run.trained_model()


def test_the_same_seed_gives_the_same_model(world, data):
    models = [train(data, world.preset)[0].trained_model() for _ in range(2)]
    assert equal(*map(tensors, models))


def test_the_seed_decides_weights_dropout_and_the_order_of_rows(world, data):
    models = [train(data, world.preset, seed=seed)[0].trained_model() for seed in (1, 2)]
    assert not equal(*map(tensors, models))


def test_data_read_from_disk_gives_the_same_model(world, data, champion, tmp_path):
    data.save(tmp_path)
    run, _ = train(TrainingData.load(tmp_path), world.preset)
    expected = TrainedModel.load(champion.gated.path)
    assert equal(tensors(run.trained_model()), tensors(expected))


def test_a_job_with_its_inputs_in_folders_gives_the_same_model(world, build, champion, tmp_path):
    start = TrainingStart.choose(StartMode.WARM, champion, LATER, world.preset)
    warm_data = build(LATER, start.load_model())
    job = TrainingJob(warm_data, world.preset, start.folder, 3).with_data_on_disk(tmp_path)
    assert job.data.is_relative_to(tmp_path)
    assert job.with_data_on_disk(tmp_path / "unused") is job
    run = job.create_run()
    list(run.epochs())
    expected, _ = train(warm_data, world.preset, start.load_model(), 3)
    assert equal(tensors(run.trained_model()), tensors(expected.trained_model()))


def test_a_warm_start_is_validated_on_what_is_new_and_reports_what_it_carried(
    world, interactions, build, champion
):
    start = TrainingStart.choose(StartMode.WARM, champion, LATER, world.preset)
    previous = start.load_model()
    run, results = train(build(LATER, previous), world.preset, previous)
    new = (interactions.time >= FIRST.holdout_from) & (interactions.time < LATER.holdout_from)
    queries, transform = example_queries(interactions, new), previous.transform
    raw = transform.compute_features(interactions, queries, world.tables)
    auc = metrics.auc(
        interactions.value[new] == 10, predict(previous.network, transform.encode(raw))
    )
    assert [result.epoch for result in results] == [0, 1, 2]
    assert results[0].validation_auc == pytest.approx(auc)
    summary = run.summary()
    assert summary["best_epoch"] == 0
    assert set(summary["carried"]["wide"]) == {"carried", "added", "dropped"}
    assert summary["carried"]["embeddings.user"]["added"] > 0
    assert run.trained_model().learned_until == LATER.holdout_from


def test_a_warm_start_is_repeated_to_the_bit(world, build, champion):
    start = TrainingStart.choose(StartMode.AUTO, champion, LATER, world.preset)
    data = build(LATER, start.load_model())
    runs = [train(data, world.preset, start.load_model(), 3)[0] for _ in range(2)]
    assert equal(*(tensors(run.trained_model()) for run in runs))


def test_a_warm_start_with_nothing_new_is_the_champion(world, build, champion):
    start = TrainingStart.choose(StartMode.WARM, champion, FIRST, world.preset)
    data = build(FIRST, start.load_model())
    run, results = train(data, world.preset, start.load_model())
    assert results == []
    assert equal(tensors(run.trained_model()), tensors(start.load_model()))


def test_a_champion_is_not_continued_in_its_own_past(world, champion):
    earlier = replace(FIRST, holdout_from=799)
    assert not TrainingStart.choose(StartMode.AUTO, champion, earlier, world.preset).warm


def losses(results):
    return [(r.epoch, r.train_loss, r.validation_loss, r.best) for r in results]


@pytest.fixture(scope="module")
def uninterrupted(world, data):
    run, results = train(data, world.preset)
    return losses(results), run


@pytest.mark.parametrize("last", range(1, EPOCHS + 1))
def test_a_run_resumed_after_any_epoch_ends_as_if_it_had_never_stopped(
    world, data, uninterrupted, tmp_path, last
):
    expected, whole = uninterrupted
    interrupted = TrainingRun(data, world.preset, None, 1)
    for result in interrupted.epochs():
        if result.epoch == last:
            interrupted.checkpoint().save(tmp_path)
            break
    resumed = TrainingRun(data, world.preset, None, 1, resume_from=Checkpoint.load(tmp_path))
    assert losses(resumed.epochs()) == expected[last:]
    assert resumed.summary() == whole.summary()
    assert equal(tensors(resumed.trained_model()), tensors(whole.trained_model()))


def test_a_warm_start_is_resumed_too(world, data, uninterrupted, tmp_path):
    previous = uninterrupted[1].trained_model()
    warm_data = TrainingData(None, data.catch_up)
    whole, interrupted = (TrainingRun(warm_data, world.preset, previous, 2) for _ in range(2))
    expected = losses(whole.epochs())
    next(iter(interrupted.epochs()))
    interrupted.checkpoint().save(tmp_path)
    checkpoint = Checkpoint.load(tmp_path)
    resumed = TrainingRun(warm_data, world.preset, previous, 2, resume_from=checkpoint)
    assert losses(resumed.epochs()) == expected[1:]
    assert resumed.summary() == whole.summary()
    assert equal(tensors(resumed.trained_model()), tensors(whole.trained_model()))


def calibrated(prior_logit, label, weight=None):
    """Slope and bias of a new network after the calibration of its prior logit."""
    rows = len(prior_logit)
    encoded = EncodedRows(
        np.empty((rows, 0), np.int32),
        (),
        np.empty((rows, 0), np.float32),
        Ragged.from_lengths(np.empty(0, np.int32), np.zeros(rows, np.int64)),
        prior_logit.astype(np.float32),
    )
    weight = np.ones(rows, np.float32) if weight is None else weight
    shape = InputShape({}, (), (), 0, 1)
    network = WideDeep(NetworkConfig(deep=False), shape, torch.Generator())
    fit_prior_calibration(network, Examples(encoded, label, weight))
    return network.prior_slope.item(), network.bias.item()


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (0.4, -0.3), (2.0, 0.5)])
def test_the_calibration_recovers_the_slope_and_bias_by_which_labels_were_drawn(slope, bias):
    generator = np.random.default_rng(0)
    prior_logit = generator.normal(0.7, 1.0, 60_000)
    label = generator.random(60_000) < 1 / (1 + np.exp(-slope * prior_logit - bias))
    assert calibrated(prior_logit, label) == pytest.approx((slope, bias), abs=0.05)


def test_the_calibration_weights_the_examples():
    generator = np.random.default_rng(0)
    prior_logit = generator.normal(size=20_000)
    label = generator.random(20_000) < 1 / (1 + np.exp(-prior_logit))
    contradicted = np.concatenate([label, ~label])
    weight = np.repeat([1.0, 1e-6], 20_000).astype(np.float32)
    slope, _ = calibrated(np.tile(prior_logit, 2), contradicted, weight)
    assert slope == pytest.approx(1, abs=0.1)


def test_a_prior_logit_that_separates_the_labels_keeps_a_finite_slope():
    prior_logit = np.array([-1.0, -2.0, 1.0, 2.0])
    slope, _ = calibrated(prior_logit, prior_logit > 0)
    assert 1 < slope < 1e4


def test_a_constant_prior_logit_changes_nothing():
    assert calibrated(np.zeros(4), np.array([True, False, True, True])) == (1, 0)

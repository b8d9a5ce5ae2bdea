"""The training stage end to end, on ratings: cold, kept, and continued warm."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep import metrics
from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.features.training_plan import TrainingPlan, cold_parts, warm_parts
from widedeep.features.training_set import STREAMING, queries
from widedeep.model.fitting import Fitting
from widedeep.model.start import Mode, Start
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import predict
from widedeep.model.version import ModelVersion, StoredModel

RATINGS = 1200
FIRST = Split(600, 800, 1000)
LATER = Split(800, 1000, 1200)
COLD = Start("cold, as asked")


@pytest.fixture(scope="module")
def log():
    """A rating a second; users and movies come and go, and even movies are liked."""
    generator = np.random.default_rng(8)
    time = np.arange(RATINGS)
    user = 1 + time // 20 + generator.integers(0, 30, RATINGS)
    movie = 100 + (time // 100 + generator.integers(0, 20, RATINGS)) % 32
    liked = generator.random(RATINGS) < np.where(movie % 2 == 0, 0.8, 0.2)
    rate = np.where(liked, 10, 4).astype(np.int8)
    return RatingLog(user, movie, rate, time)


@pytest.fixture(scope="module")
def build(world, log):
    def build(split, previous=None):
        preset = world.preset
        if previous is None:
            return TrainingPlan.of(
                cold_parts(log, world.catalogue, split, preset.features, preset.sampling)
            )
        known = previous.transform, previous.learned_until
        return TrainingPlan.of(
            warm_parts(log, world.catalogue, split.holdout_from, preset.sampling, *known)
        )

    return build


@pytest.fixture(scope="module")
def plan(build):
    return build(FIRST)


def fit(plan, preset, previous=None, seed=1):
    fitting = Fitting(plan, preset, previous, seed)
    return fitting, list(fitting.epochs())


@pytest.fixture(scope="module")
def champion(world, plan, tmp_path_factory):
    fitting, _ = fit(plan, world.preset)
    folder = tmp_path_factory.mktemp("champion")
    fitting.finished().save(folder)
    stored = StoredModel("abc", folder)
    return ModelVersion("1", stored, stored)


def remembered(model):
    return {**model.network.state_dict(), **model.state}


def equal(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in found)


def test_a_cold_fit_is_chosen_by_validation_and_then_catches_up(world, plan):
    fitting, results = fit(plan, world.preset)
    assert [result.epoch for result in results] == [1, 2, 3, 4, 5]
    assert [result.validation_auc is None for result in results] == [False] * 3 + [True] * 2
    summary = fitting.summary()
    assert summary["best_epoch"] == [result.epoch for result in results if result.best][-1]
    assert summary["carried"] == {}
    wide = plan.catch_up.transform.wide_size
    assert 0 < summary["wide_nonzero"] <= summary["wide_weights"] == wide
    chosen, finished = fitting.chosen, fitting.finished()
    assert (chosen.learned_until, finished.learned_until) == (600, 800)
    assert chosen.transform is plan.initial.transform
    assert finished.transform is plan.catch_up.transform
    assert finished.evidence is plan.catch_up.evidence


def test_catching_up_learns_what_validation_had_to_tell(world, plan):
    fitting, _ = fit(plan, world.preset)
    held, caught_up = plan.initial.validation[STREAMING], plan.catch_up.training
    new = caught_up.take(np.arange(len(caught_up))[-len(held) :])
    assert new.label.tolist() == held.label.tolist()
    before = metrics.log_loss(held.label, predict(fitting.chosen.network, held.rows))
    after = metrics.log_loss(new.label, predict(fitting.finished().network, new.rows))
    assert after < before


def test_a_training_that_was_left_has_no_model(world, plan):
    fitting = Fitting(plan, world.preset, None, seed=1)
    next(fitting.epochs())
    with pytest.raises(RuntimeError, match="left before its end"):
        fitting.finished()


def test_the_same_seed_gives_the_same_model(world, plan):
    models = [fit(plan, world.preset)[0].finished() for _ in range(2)]
    assert equal(*map(remembered, models))


def test_the_seed_decides_weights_dropouts_and_the_order_of_rows(world, plan):
    models = [fit(plan, world.preset, seed=seed)[0].finished() for seed in (1, 2)]
    assert not equal(*map(remembered, models))


def test_a_plan_from_disk_gives_the_same_model(world, plan, champion, tmp_path):
    plan.save(tmp_path)
    fitting, _ = fit(TrainingPlan.load(tmp_path), world.preset)
    wanted = TrainedModel.load(champion.gated.path)
    assert equal(remembered(fitting.finished()), remembered(wanted))


def test_a_warm_fit_is_judged_by_what_is_new_and_reports_what_it_took_over(
    world, log, build, champion
):
    start = Start.choose(Mode.WARM, champion, LATER, world.preset)
    previous = start.model()
    plan = build(LATER, previous)
    fitting, results = fit(plan, world.preset, previous)
    new = (log.time >= FIRST.holdout_from) & (log.time < LATER.holdout_from)
    asked = queries(log, new)
    scores = predict(
        previous.network,
        previous.transform.encode(previous.transform.describe(log, asked, world.catalogue)),
    )
    assert [result.epoch for result in results] == [0, 1, 2]
    assert results[0].validation_auc == pytest.approx(metrics.auc(log.rate[new] == 10, scores))
    summary = fitting.summary()
    assert summary["best_epoch"] == 0
    assert set(summary["carried"]["wide"]) == {"carried", "added", "dropped"}
    assert summary["carried"]["embeddings.user"]["added"] > 0
    assert fitting.finished().learned_until == LATER.holdout_from


def test_a_warm_fit_is_repeated_to_the_bit(world, build, champion):
    start = Start.choose(Mode.AUTO, champion, LATER, world.preset)
    plan = build(LATER, start.model())
    models = [fit(plan, world.preset, start.model(), 3)[0].finished() for _ in range(2)]
    assert equal(*map(remembered, models))


def test_a_warm_fit_with_nothing_new_is_the_champion(world, build, champion):
    start = Start.choose(Mode.WARM, champion, FIRST, world.preset)
    plan = build(FIRST, start.model())
    fitting, results = fit(plan, world.preset, start.model())
    assert results == []
    assert equal(remembered(fitting.finished()), remembered(start.model()))


def test_a_champion_is_not_begun_from_in_its_own_past(world, champion):
    earlier = replace(FIRST, holdout_from=799)
    assert not Start.choose(Mode.AUTO, champion, earlier, world.preset).warm

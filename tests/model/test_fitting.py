"""The training stage end to end, on ratings: cold, kept, and continued warm."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.features.history import Queries
from widedeep.features.raw_columns import RawColumns
from widedeep.features.training_set import Staleness, TrainingSet
from widedeep.model.fitting import Fitting
from widedeep.model.start import Mode, Start
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import logits
from widedeep.model.version import ModelVersion

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
        return TrainingSet.build(
            log, world.catalogue, split, preset.features, preset.staleness, previous
        )

    return build


@pytest.fixture(scope="module")
def rows(build):
    return build(FIRST)


@pytest.fixture(scope="module")
def champion(world, rows, tmp_path_factory):
    fitting = Fitting.begin(rows, world.preset, COLD, seed=1)
    list(fitting.epochs())
    folder = tmp_path_factory.mktemp("champion")
    fitting.finish(FIRST).save(folder)
    return ModelVersion("1", "abc", folder)


def test_a_cold_fit_learns_and_tells_how(world, rows):
    fitting = Fitting.begin(rows, world.preset, COLD, seed=1)
    results = list(fitting.epochs())
    assert [result.epoch for result in results] == [1, 2, 3]
    summary = fitting.summary()
    assert summary["best_epoch"] == [result.epoch for result in results if result.best][-1]
    assert summary["carried"] == {}
    assert 0 < summary["wide_nonzero"] <= summary["wide_weights"] == rows.transform.wide_size


def test_the_same_seed_gives_the_same_model(world, rows):
    models = []
    for _ in range(2):
        fitting = Fitting.begin(rows, world.preset, COLD, seed=1)
        list(fitting.epochs())
        models.append(fitting.finish(FIRST).network.state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_the_seed_decides_the_first_weights_the_dropouts_and_the_order_of_rows(world, rows):
    first, other = (Fitting.begin(rows, world.preset, COLD, seed) for seed in (1, 2))
    for name, weight in first.network.state_dict().items():
        drawn = name.startswith("embeddings") or name.endswith("weight")
        assert torch.equal(weight, other.network.state_dict()[name]) != drawn
    dropouts = [fitting.network.generator.get_state() for fitting in (first, other)]
    assert not torch.equal(*dropouts)
    assert first.generator.random() != other.generator.random()


def test_a_training_set_from_disk_gives_the_same_model(world, rows, champion, tmp_path):
    rows.save(tmp_path)
    fitting = Fitting.begin(TrainingSet.load(tmp_path), world.preset, COLD, seed=1)
    list(fitting.epochs())
    wanted = TrainedModel.load(champion.path).network.state_dict()
    found = fitting.finish(FIRST).network.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_evidence_counts_each_fresh_row_once_and_no_stale_copy(world, log):
    staleness = Staleness(copies=2, days=1, weight=0.5)
    preset = replace(world.preset, staleness=staleness)
    stale = TrainingSet.build(log, world.catalogue, FIRST, preset.features, staleness)
    found = Fitting.begin(stale, preset, COLD, seed=1).finish(FIRST).evidence
    fresh = stale.training.take(np.arange(len(stale.training) // 3))
    assert (found.rows, found.positive_rows) == (len(fresh), fresh.label.sum())
    for wide_id in range(0, stale.transform.wide_size, 7):
        fired = [
            wide_id in fresh.rows.wide.take(np.array([row])).values for row in range(len(fresh))
        ]
        assert found.support[wide_id] == sum(fired)
        assert found.positives[wide_id] == (fresh.label & fired).sum()


def test_a_model_says_up_to_when_it_learned_and_was_chosen(champion):
    model = TrainedModel.load(champion.path)
    assert (model.learned_until, model.chosen_until) == (600, 800)


def test_a_warm_fit_begins_as_the_champion_and_reports_what_it_took_over(
    world, log, build, champion
):
    start = Start.choose(Mode.WARM, champion, LATER, world.preset)
    rows = build(LATER, start.transform())
    fitting = Fitting.begin(rows, world.preset, start, seed=1)
    previous = start.model()
    asked = Queries(log.user, log.movie, log.time, log.time)
    raw = RawColumns.describe(
        log, asked, world.catalogue, world.spec.history, previous.transform.prior
    )
    before = logits(previous.network, previous.transform.encode(raw))
    after = logits(fitting.network, rows.transform.encode(raw))
    assert (before == after).mean() > 0.5
    results = list(fitting.epochs())
    assert results[0].epoch == 0
    carried = fitting.summary()["carried"]
    assert set(carried["wide"]) == {"carried", "added", "dropped"}
    assert carried["embeddings.user"]["added"] > 0
    model = fitting.finish(LATER)
    assert (model.learned_until, model.chosen_until) == (800, 1000)


def test_a_warm_fit_is_repeated_to_the_bit(world, build, champion):
    start = Start.choose(Mode.AUTO, champion, LATER, world.preset)
    rows = build(LATER, start.transform())
    models = []
    for _ in range(2):
        fitting = Fitting.begin(rows, world.preset, start, seed=3)
        list(fitting.epochs())
        model = fitting.finish(LATER)
        models.append({**model.network.state_dict(), **model.state})
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_champion_is_not_begun_from_in_its_own_past(world, champion):
    earlier = replace(FIRST, validation_from=599)
    assert not Start.choose(Mode.AUTO, champion, earlier, world.preset).warm

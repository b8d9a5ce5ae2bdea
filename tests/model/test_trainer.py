"""Joint training: repeatable, stopped in time, and able to learn."""

import copy
import random
from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest
import torch

from widedeep import metrics
from widedeep.features.training_data import STREAMING
from widedeep.inputs import InputError
from widedeep.model.batch import Batch
from widedeep.model.ftrl import Ftrl, FtrlConfig
from widedeep.model.trainer import (
    DivergenceError,
    Optimisers,
    Trainer,
    TrainingConfig,
    logits,
    predict,
)

CPU = torch.device("cpu")


def liked_100_and_rates_101(rows):
    liked = rows.history.liked.decoded()
    fans = np.bincount(liked.row_numbers()[liked.values == 100], minlength=len(rows)) > 0
    return fans & (rows.queries.item == 101)


def by_user(rows):
    return rows.queries.user % 2 == 0


def trainer(world, rows, seed=0):
    network = world.network(rows.transform, seed)
    optimisers = Optimisers(network, world.preset.training)
    return Trainer(network, optimisers, world.preset.training, np.random.default_rng(seed))


def run(fitting, rows):
    return list(fitting.epochs(rows.training, rows.validation))


def remembered(fitting):
    return {**fitting.network.state_dict(), **fitting.optimisers.state()}


def equal(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in found)


def curve(results):
    return [(r.epoch, r.train_loss, r.validation_loss, r.validation_auc, r.best) for r in results]


def test_every_parameter_has_exactly_one_optimiser(world, rows):
    fitting = trainer(world, rows)
    wide = fitting.optimisers.wide
    owned = [id(parameter) for one in fitting.optimisers.all for parameter in one.state]
    assert sorted(owned) == sorted(id(parameter) for parameter in fitting.network.parameters())
    assert isinstance(wide, Ftrl)
    assert list(wide.state) == [fitting.network.wide]


def test_what_optimisers_remember_is_named_by_parameter(world, rows):
    fitting = trainer(world, rows)
    others = set(fitting.network.state_dict()) - {"wide"}
    wanted = {"wide/z", "wide/n"} | {f"{name}/sum" for name in others}
    assert set(fitting.optimisers.state()) == wanted


def test_the_same_seed_repeats_weights_and_curve_to_the_bit(world, rows):
    first, again = trainer(world, rows), trainer(world, rows)
    assert curve(run(first, rows)) == curve(run(again, rows))
    assert equal(remembered(first), remembered(again))


def test_another_seed_gives_another_model(world, rows):
    first, other = trainer(world, rows), trainer(world, rows, seed=1)
    assert curve(run(first, rows)) != curve(run(other, rows))


def test_global_seeds_neither_matter_nor_move(world, rows):
    fits = [trainer(world, rows) for _ in range(2)]
    for seed, fitting in enumerate(fits):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = torch.get_rng_state()
        run(fitting, rows)
        assert torch.equal(torch.get_rng_state(), before)
    assert equal(remembered(fits[0]), remembered(fits[1]))


def test_the_shuffle_and_the_dropouts_come_from_the_generators_given(world, rows):
    fitting, twin = trainer(world, rows), trainer(world, rows)
    twin.network.generator.manual_seed(99)
    assert curve(run(fitting, rows)) != curve(run(twin, rows))


def test_a_learnable_label_is_learned(world, rows):
    learner = world.with_preset({"dropout": 0.0, "id_dropout": 0.0}, {"epochs": 8, "patience": 8})
    results = run(trainer(learner, rows), rows)
    losses = [result.train_loss for result in results]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.3 < losses[0]
    assert results[-1].validation_auc > 0.95


def test_the_wide_part_learns_a_cross_that_its_parts_do_not_tell(world):
    learner = world.with_preset(training={"epochs": 4, "patience": 4})
    rows = learner.training_set(liked_100_and_rates_101, rows=3000, items=range(100, 106))
    fitting = trainer(learner, rows)
    run(fitting, rows)
    wide, transform = fitting.network.wide[:, 0], rows.transform
    item, cross = transform.vocabularies["item"], transform.crosses[0]
    liked, rated = (item.decode(ids) for ids in cross.parts())
    begin = transform.wide_offsets["liked x item"]
    learned = wide[begin : begin + len(cross)].detach().numpy()
    planted = (liked == 100) & (rated == 101)
    assert planted.sum() == 1
    assert learned[planted] > 1
    assert (learned[~planted] < learned[planted]).all()


def test_rows_of_tables_that_a_batch_does_not_name_stay_as_they_are_to_the_bit(world, rows):
    learner = world.with_preset({"id_dropout": 0.0})
    fitting = trainer(learner, rows)
    part = rows.training.take(np.arange(5))
    before = copy.deepcopy(remembered(fitting))
    for _ in range(2):  # in the first step only the last layer moves, which begins at 0
        fitting._epoch(1, part, repeat(1.0))
    after = remembered(fitting)
    named = set(part.rows.categories[:, 0].tolist())
    others = torch.tensor([i for i in range(len(after["embeddings.user"])) if i not in named])
    fired = torch.ones(len(after["wide"]), dtype=torch.bool)
    fired[torch.from_numpy(part.rows.wide.values.astype(np.int64))] = False
    for name in ("embeddings.user", "embeddings.user/sum"):
        assert torch.equal(after[name][others], before[name][others])
        assert not torch.equal(after[name], before[name])
    for name in ("wide", "wide/z", "wide/n"):
        assert torch.equal(after[name][fired], before[name][fired])
    assert not torch.equal(after["wide/n"], before["wide/n"])


def test_both_parts_learn_from_the_same_loss(world, rows):
    """One step moves the wide weight by the gradient of the joint logit, sigmoid(logit) - label."""
    learner = world.with_preset({"dropout": 0.0, "id_dropout": 0.0})
    fitting = trainer(learner, rows)
    part = rows.training.take(np.array([0]))
    error = predict(fitting.network, part.rows)[0] - part.label[0]
    fitting._epoch(1, part, repeat(1.0))
    ids, times = np.unique(part.rows.wide.values, return_counts=True)
    n = fitting.optimisers.state()["wide/n"][torch.from_numpy(ids.astype(np.int64)), 0]
    np.testing.assert_allclose(n.numpy(), (times * error) ** 2, rtol=1e-5)


def test_row_weights_weigh(world, rows):
    fits = []
    for weight in (0.5, 1.0):
        fitting = trainer(world, rows)
        part = rows.training.take(np.arange(64))
        fitting._epoch(1, replace(part, weight=np.full(64, weight, np.float32)), repeat(1.0))
        fits.append(fitting.optimisers.state()["wide/n"])
    torch.testing.assert_close(4 * fits[0], fits[1])


def test_the_train_loss_is_the_weighted_mean_of_the_rows(world, rows):
    learner = world.with_preset(
        {"dropout": 0.0, "id_dropout": 0.0}, {"learning_rate": 1e-12, "ftrl": FtrlConfig(l1=1e9)}
    )
    fitting = trainer(learner, rows)
    weight = np.random.default_rng(1).random(len(rows.training)).astype(np.float32)
    weighted = replace(rows.training, weight=weight)
    losses = metrics.row_log_loss(weighted.label, predict(fitting.network, weighted.rows))
    found = fitting._epoch(1, weighted, repeat(1.0))
    assert found == pytest.approx(np.average(losses, weights=weight), rel=1e-5)


def test_after_training_the_best_epoch_is_back_weights_and_memories(world):
    noise = world.with_preset(training={"epochs": 20, "patience": 2, "learning_rate": 0.3})
    rows = noise.training_set(lambda raw: raw.queries.time * 7919 % 13 < 6)
    fitting = trainer(noise, rows)
    results, kept = [], []
    for result in fitting.epochs(rows.training, rows.validation):
        results.append(result)
        kept.append(copy.deepcopy(remembered(fitting)))
    best = [result.best for result in results]
    assert best[-3:] == [True, False, False]
    assert len(best) < 20
    assert equal(remembered(fitting), kept[-3])
    assert not equal(remembered(fitting), kept[-1])


def test_training_stops_at_the_number_of_epochs(world, rows):
    assert [result.epoch for result in run(trainer(world, rows), rows)] == [1, 2, 3]


def test_catching_up_takes_its_epochs_and_no_judge(world, rows):
    learner = world.with_preset(training={"catch_up_epochs": 4})
    fitting = trainer(learner, rows)
    results = list(fitting.catch_up(rows.training, {}, last=7))
    assert [result.epoch for result in results] == [8, 9, 10, 11]
    assert all(result.train_loss > 0 and not result.best for result in results)
    assert all(result.validation_loss is result.validation_auc is None for result in results)
    loss = metrics.log_loss(rows.training.label, predict(fitting.network, rows.training.rows))
    assert loss < results[0].train_loss


def test_what_is_about_to_be_learned_judges_before_it_is(world, rows):
    fitting, untouched = trainer(world, rows), trainer(world, rows).network
    judge = {STREAMING: rows.training}
    first, *rest = fitting.catch_up(rows.training, judge, last=0)
    before = predict(untouched, rows.training.rows)
    assert (first.epoch, first.train_loss) == (0, None)
    assert first.validation_loss == metrics.log_loss(rows.training.label, before)
    assert first.validation_auc == metrics.auc(rows.training.label, before)
    assert [result.validation_auc for result in rest] == [None, None]


def test_new_ratings_of_one_class_are_judged_by_their_loss_alone(world, rows):
    """A single new rating, say: retraining goes on."""
    same = np.flatnonzero(rows.training.label)
    judge = {STREAMING: rows.training.take(same[:1])}
    first, *_ = trainer(world, rows).catch_up(rows.training, judge, last=0)
    assert first.validation_loss > 0
    assert first.validation_auc is None


def test_nothing_new_changes_nothing(world, rows):
    fitting = trainer(world, rows)
    before = copy.deepcopy(remembered(fitting))
    nothing = rows.training.take(np.arange(0))
    assert not list(fitting.catch_up(nothing, {}, last=0))
    assert equal(remembered(fitting), before)


def test_the_validation_loss_is_the_mean_of_all_sets_and_the_auc_that_of_the_first(world, rows):
    fitting = trainer(world, rows)
    result = next(fitting.epochs(rows.training, rows.validation))
    scores = {name: predict(fitting.network, part.rows) for name, part in rows.validation.items()}
    losses = [metrics.log_loss(rows.validation[name].label, p) for name, p in scores.items()]
    assert result.validation_loss == np.mean(losses)
    streaming = rows.validation[STREAMING].label
    assert result.validation_auc == metrics.auc(streaming, scores[STREAMING])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_training_before_it_spreads(world, rows, value):
    """Row 320 is the first of the sixth minibatch of 64 in which the poison may stand."""
    fitting = trainer(world.with_preset({"dropout": 0.0}), rows)
    offset = rows.training.rows.offset.copy()
    order = np.random.default_rng(0).permutation(len(offset))
    offset[order[350]] = value
    poisoned = replace(rows.training, rows=replace(rows.training.rows, offset=offset))
    with pytest.raises(DivergenceError, match=r"loss became (nan|inf) at epoch 1, row 320 of 600"):
        list(fitting.epochs(poisoned, rows.validation))
    assert all(value.isfinite().all() for value in remembered(fitting).values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_validation_score_that_is_no_number_ends_training(world, rows, value):
    fitting = trainer(world, rows)
    offset = rows.validation[STREAMING].rows.offset.copy()
    offset[7] = value
    poisoned = replace(
        rows.validation[STREAMING], rows=replace(rows.validation[STREAMING].rows, offset=offset)
    )
    with pytest.raises(DivergenceError, match="epoch 1, row 7 of 600 of streaming validation"):
        list(fitting.epochs(rows.training, {STREAMING: poisoned}))


@pytest.mark.parametrize("size", [1, 7, 8192])
def test_batches_of_any_size_give_the_same_scores(world, rows, size, monkeypatch):
    network = world.model(rows.transform).network
    part = rows.training.rows.take(np.arange(100))
    wanted = logits(network, part)
    monkeypatch.setattr("widedeep.model.training.SCORING_BATCH", size)
    np.testing.assert_allclose(logits(network, part), wanted, rtol=1e-4, atol=1e-5)


def test_probabilities_are_the_sigmoid_of_the_logits_without_overflow(world, rows):
    network = world.model(rows.transform).network
    with torch.no_grad():
        network.bias.fill_(-1e5)
    assert (predict(network, rows.training.rows) == 0).all()
    with torch.no_grad():
        network.bias.fill_(1e5)
    assert (predict(network, rows.training.rows) == 1).all()
    with torch.no_grad():
        network.bias.fill_(0)
    found = logits(network, rows.training.rows)
    assert found.dtype == np.float64
    np.testing.assert_allclose(predict(network, rows.training.rows), 1 / (1 + np.exp(-found)))


def test_scoring_no_rows_gives_no_scores(world, rows):
    network = world.network(rows.transform)
    assert predict(network, rows.training.rows.take(np.empty(0, np.int64))).shape == (0,)


def test_scoring_changes_nothing(world, rows):
    fitting = trainer(world, rows)
    before = copy.deepcopy(remembered(fitting))
    predict(fitting.network, rows.training.rows)
    assert equal(remembered(fitting), before)
    batch = Batch.from_encoded(rows.training.rows, CPU)
    wanted = fitting.network.eval()(batch).detach().numpy().astype(np.float64)
    assert np.array_equal(logits(fitting.network, rows.training.rows), wanted)


def test_a_config_survives_json(world):
    values = {
        "batch": 64,
        "epochs": 3,
        "patience": 3,
        "learning_rate": 0.02,
        "initial_accumulator": 0.1,
        "ftrl": {"alpha": 0.1, "beta": 1.0, "l1": 0.1, "l2": 0.0},
    }
    assert TrainingConfig.from_json(values) == world.preset.training


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"epochs": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"initial_accumulator": -1},
    ],
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(InputError, match="wanted"):
        TrainingConfig(**wrong)


def test_many_examples_are_learned_in_fewer_epochs_but_once_at_least():
    config = TrainingConfig(epochs=8, catch_up_epochs=4, most_examples=1000)
    assert [config.epochs_of(rows) for rows in (100, 125, 126, 400, 5000)] == [8, 8, 7, 2, 1]
    assert [config.catch_up_epochs_of(rows) for rows in (0, 1, 400, 5000)] == [0, 4, 2, 1]


def test_training_ends_after_the_epochs_it_can_afford(world, rows):
    few = replace(
        world,
        preset=replace(
            world.preset,
            training=replace(
                world.preset.training, most_examples=2 * len(rows.training), patience=20
            ),
        ),
    )
    assert [result.epoch for result in run(trainer(few, rows), rows)] == [1, 2]

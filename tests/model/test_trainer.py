"""Joint training: repeatable, stopped in time, and able to learn."""

import copy
import random
from dataclasses import asdict, replace
from itertools import repeat

import numpy as np
import pytest
import torch

from tests.model.conftest import equal
from widedeep import metrics
from widedeep.features.training_data import STREAMING
from widedeep.inputs import Device, InputError, Precision
from widedeep.model.batch import Batch
from widedeep.model.compute import CPU
from widedeep.model.ftrl import Ftrl, FtrlConfig
from widedeep.model.network import logits, predict
from widedeep.model.trainer import DivergenceError, TrainingConfig

NO_DROPOUT = {"dropout": 0.0, "id_dropout": 0.0}


def liked_100_and_sees_101(raw):
    liked = raw.history.liked.decode()
    fans = np.bincount(liked.row_numbers()[liked.values == 100], minlength=len(raw)) > 0
    return fans & (raw.queries.item == 101)


def train(trainer, part):
    return list(trainer.epochs(part.training, part.validation))


def tensors(trainer):
    """All weights and all optimiser state by name."""
    return {**trainer.network.state_dict(), **trainer.optimisers.state()}


def curve(results):
    return [(r.epoch, r.train_loss, r.validation_loss, r.validation_auc, r.best) for r in results]


def with_prior_logit(examples, position, value):
    """The examples with another prior logit in one row."""
    prior_logit = examples.rows.prior_logit.copy()
    prior_logit[position] = value
    return replace(examples, rows=replace(examples.rows, prior_logit=prior_logit))


def test_every_parameter_has_exactly_one_optimiser(world, part):
    trainer = world.trainer(part)
    wide = trainer.optimisers.wide
    owned = [id(p) for optimiser in trainer.optimisers.all for p in optimiser.state]
    assert sorted(owned) == sorted(id(parameter) for parameter in trainer.network.parameters())
    assert isinstance(wide, Ftrl)
    assert list(wide.state) == [trainer.network.wide]


def test_optimiser_state_is_named_by_parameter(world, part):
    trainer = world.trainer(part)
    others = set(trainer.network.state_dict()) - {"wide"}
    expected = {"wide/z", "wide/n"} | {f"{name}/sum" for name in others}
    assert set(trainer.optimisers.state()) == expected


def test_the_same_seed_repeats_weights_and_curve_to_the_bit(world, part):
    first, again = world.trainer(part), world.trainer(part)
    assert curve(train(first, part)) == curve(train(again, part))
    assert equal(tensors(first), tensors(again))


def test_another_seed_gives_another_model(world, part):
    first, other = world.trainer(part), world.trainer(part, seed=1)
    assert curve(train(first, part)) != curve(train(other, part))


def test_global_seeds_neither_matter_nor_move(world, part):
    trainers = [world.trainer(part) for _ in range(2)]
    for seed, trainer in enumerate(trainers):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = torch.get_rng_state()
        train(trainer, part)
        assert torch.equal(torch.get_rng_state(), before)
    assert equal(*map(tensors, trainers))


def test_dropout_comes_from_the_generator_of_the_network(world, part):
    trainer, twin = world.trainer(part), world.trainer(part)
    twin.network.generator.manual_seed(99)
    assert curve(train(trainer, part)) != curve(train(twin, part))


def test_a_learnable_label_is_learned(world, part):
    learner = world.with_preset(NO_DROPOUT, {"epochs": 8, "patience": 8})
    results = train(learner.trainer(part), part)
    losses = [result.train_loss for result in results]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.3 < losses[0]
    assert results[-1].validation_auc > 0.95


def test_the_wide_part_learns_a_cross_that_its_parts_do_not_tell(world):
    learner = world.with_preset(training={"epochs": 4, "patience": 4})
    part = learner.training_part(liked_100_and_sees_101, rows=3000, items=range(100, 106))
    trainer = learner.trainer(part)
    train(trainer, part)
    wide, transform = trainer.network.wide[:, 0], part.transform
    item, cross = transform.vocabularies["item"], transform.crosses[0]
    liked, candidate = (item.decode(codes) for codes in cross.part_codes())
    first = transform.wide_offsets["liked x item"]
    weights = wide[first : first + len(cross)].detach().numpy()
    planted = (liked == 100) & (candidate == 101)
    assert planted.sum() == 1
    assert weights[planted] > 1
    assert (weights[~planted] < weights[planted]).all()


def test_rows_of_tables_that_a_batch_does_not_name_stay_as_they_are_to_the_bit(world, part):
    trainer = world.with_preset({"id_dropout": 0.0}).trainer(part)
    examples = part.training.select_rows(np.arange(5))
    before = copy.deepcopy(tensors(trainer))
    for _ in range(2):  # in the first step only the last layer moves, which starts at 0
        trainer._epoch(1, examples, repeat(1.0))
    after = tensors(trainer)
    named = set(examples.rows.categories[:, 0].tolist())
    others = torch.tensor([i for i in range(len(after["embeddings.user"])) if i not in named])
    silent = torch.ones(len(after["wide"]), dtype=torch.bool)
    silent[torch.from_numpy(examples.rows.wide.values.astype(np.int64))] = False
    for name in ("embeddings.user", "embeddings.user/sum"):
        assert torch.equal(after[name][others], before[name][others])
        assert not torch.equal(after[name], before[name])
    for name in ("wide", "wide/z", "wide/n"):
        assert torch.equal(after[name][silent], before[name][silent])
    assert not torch.equal(after["wide/n"], before["wide/n"])


def test_both_parts_learn_from_the_same_loss(world, part):
    """One step moves the wide weight by the gradient of the joint logit, sigmoid(logit) - label."""
    trainer = world.with_preset(NO_DROPOUT).trainer(part)
    example = part.training.select_rows(np.array([0]))
    error = predict(trainer.network, example.rows)[0] - example.label[0]
    trainer._epoch(1, example, repeat(1.0))
    wide_ids, times = np.unique(example.rows.wide.values, return_counts=True)
    n = trainer.optimisers.state()["wide/n"][torch.from_numpy(wide_ids.astype(np.int64)), 0]
    np.testing.assert_allclose(n.numpy(), (times * error) ** 2, rtol=1e-5)


def test_row_weights_multiply_the_gradients(world, part):
    squares = []
    for weight in (0.5, 1.0):
        trainer = world.trainer(part)
        examples = part.training.select_rows(np.arange(64))
        weighted = replace(examples, weight=np.full(64, weight, np.float32))
        trainer._epoch(1, weighted, repeat(1.0))
        squares.append(trainer.optimisers.state()["wide/n"])
    torch.testing.assert_close(4 * squares[0], squares[1])


def test_the_train_loss_is_the_weighted_mean_of_the_rows(world, part):
    frozen = world.with_preset(NO_DROPOUT, {"learning_rate": 1e-12, "ftrl": FtrlConfig(l1=1e9)})
    trainer = frozen.trainer(part)
    weight = np.random.default_rng(1).random(len(part.training)).astype(np.float32)
    weighted = replace(part.training, weight=weight)
    losses = metrics.row_log_loss(weighted.label, predict(trainer.network, weighted.rows))
    train_loss = trainer._epoch(1, weighted, repeat(1.0))
    assert train_loss == pytest.approx(np.average(losses, weights=weight), rel=1e-5)


def test_after_training_weights_and_optimiser_state_of_the_best_epoch_are_back(world):
    noise = world.with_preset(training={"epochs": 20, "patience": 2, "learning_rate": 0.3})
    part = noise.training_part(lambda raw: raw.queries.time * 7919 % 13 < 6)
    trainer = noise.trainer(part)
    results, states = [], []
    for result in trainer.epochs(part.training, part.validation):
        results.append(result)
        states.append(copy.deepcopy(tensors(trainer)))
    best = [result.best for result in results]
    assert best[-3:] == [True, False, False]
    assert len(best) < 20
    assert equal(tensors(trainer), states[-3])
    assert not equal(tensors(trainer), states[-1])


def test_training_stops_at_the_number_of_epochs(world, part):
    assert [result.epoch for result in train(world.trainer(part), part)] == [1, 2, 3]


def test_many_examples_are_learned_in_fewer_epochs_but_once_at_least():
    config = TrainingConfig(epochs=8, catch_up_epochs=4, most_examples=1000)
    assert [config.max_epochs(rows) for rows in (100, 125, 126, 400, 5000)] == [8, 8, 7, 2, 1]
    assert [config.max_catch_up_epochs(rows) for rows in (0, 1, 400, 5000)] == [0, 4, 2, 1]


def test_training_ends_after_the_epochs_it_can_afford(world, part):
    few = world.with_preset(training={"most_examples": 2 * len(part.training), "patience": 20})
    assert [result.epoch for result in train(few.trainer(part), part)] == [1, 2]


def test_a_catch_up_takes_its_epochs_and_needs_no_validation(world, part):
    trainer = world.with_preset(training={"catch_up_epochs": 4}).trainer(part)
    results = list(trainer.catch_up(part.training, {}, last=7))
    assert [result.epoch for result in results] == [8, 9, 10, 11]
    assert all(result.train_loss > 0 and not result.best for result in results)
    assert all(result.validation_loss is result.validation_auc is None for result in results)
    loss = metrics.log_loss(part.training.label, predict(trainer.network, part.training.rows))
    assert loss < results[0].train_loss


def test_a_catch_up_is_validated_on_what_it_is_about_to_learn(world, part):
    trainer, untouched = world.trainer(part), world.trainer(part).network
    validation = {STREAMING: part.training}
    first, *rest = trainer.catch_up(part.training, validation, last=0)
    before = predict(untouched, part.training.rows)
    assert (first.epoch, first.train_loss) == (0, None)
    assert first.validation_loss == metrics.log_loss(part.training.label, before)
    assert first.validation_auc == metrics.auc(part.training.label, before)
    assert [result.validation_auc for result in rest] == [None, None]


def test_new_examples_of_one_class_are_validated_by_their_loss_alone(world, part):
    """A single new example, say: retraining goes on."""
    positives = np.flatnonzero(part.training.label)
    validation = {STREAMING: part.training.select_rows(positives[:1])}
    first, *_ = world.trainer(part).catch_up(part.training, validation, last=0)
    assert first.validation_loss > 0
    assert first.validation_auc is None


def test_a_catch_up_on_nothing_changes_nothing(world, part):
    trainer = world.trainer(part)
    before = copy.deepcopy(tensors(trainer))
    nothing = part.training.select_rows(np.arange(0))
    assert not list(trainer.catch_up(nothing, {}, last=0))
    assert equal(tensors(trainer), before)


def test_the_validation_loss_is_the_mean_of_all_sets_and_the_auc_that_of_the_first(world, part):
    trainer = world.trainer(part)
    result = next(trainer.epochs(part.training, part.validation))
    scores = {name: predict(trainer.network, v.rows) for name, v in part.validation.items()}
    losses = [metrics.log_loss(part.validation[name].label, p) for name, p in scores.items()]
    assert result.validation_loss == np.mean(losses)
    streaming = part.validation[STREAMING].label
    assert result.validation_auc == metrics.auc(streaming, scores[STREAMING])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_ends_training_before_it_spreads(world, part, value):
    """Row 320 is the first of the sixth minibatch of 64, which holds the poisoned row."""
    trainer = world.with_preset({"dropout": 0.0}).trainer(part)
    order = np.random.default_rng(0).permutation(len(part.training))
    poisoned = with_prior_logit(part.training, order[350], value)
    with pytest.raises(DivergenceError, match=r"loss became (nan|inf) at epoch 1, row 320 of 600"):
        list(trainer.epochs(poisoned, part.validation))
    assert all(tensor.isfinite().all() for tensor in tensors(trainer).values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_validation_score_that_is_not_finite_ends_training(world, part, value):
    poisoned = with_prior_logit(part.validation[STREAMING], 7, value)
    trainer = world.trainer(part)
    with pytest.raises(DivergenceError, match="epoch 1, row 7 of 600 of streaming validation"):
        list(trainer.epochs(part.training, {STREAMING: poisoned}))


def test_scoring_changes_nothing(world, part):
    trainer = world.trainer(part)
    before = copy.deepcopy(tensors(trainer))
    predict(trainer.network, part.training.rows)
    assert equal(tensors(trainer), before)
    batch = Batch.from_encoded(part.training.rows, CPU)
    expected = trainer.network.eval()(batch).detach().numpy().astype(np.float64)
    assert np.array_equal(logits(trainer.network, part.training.rows), expected)


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
    ("name", "chosen", "default"),
    [
        ("device", Device.CPU, Device.AUTO),
        ("precision", Precision.BFLOAT16, Precision.AUTO),
    ],
)
def test_a_config_from_before_a_choice_was_added_is_read_as_auto(name, chosen, default):
    values = asdict(replace(TrainingConfig(), **{name: chosen}))
    assert getattr(TrainingConfig.from_json(values), name) is chosen
    del values[name]
    assert getattr(TrainingConfig.from_json(values), name) is default


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 0}, "of at least 1"),
        ({"epochs": 0}, "of at least 1"),
        ({"patience": 0}, "of at least 1"),
        ({"learning_rate": 0.0}, "learning rates above 0"),
        ({"initial_accumulator": -1}, "initial_accumulator of at least 0"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=f"expected .*{message}"):
        TrainingConfig(**wrong)

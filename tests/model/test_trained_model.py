"""A model read from disk is the model that was saved."""

import json

import numpy as np
import pytest

from tests.model.conftest import equal
from widedeep.inputs import InputError
from widedeep.model.network import logits
from widedeep.model.trained_model import FORMAT, TrainedModel
from widedeep.model.trainer import Trainer


@pytest.fixture(scope="module")
def model(world, part):
    trainer = world.trainer(part)
    list(trainer.epochs(part.training, part.validation))
    return TrainedModel(
        part.transform,
        trainer.network,
        trainer.config,
        trainer.optimisers.state(),
        2000,
        world.support(part.transform),
    )


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path)
    return tmp_path


def train_further(model, part):
    """The losses, weights and optimiser state of a further training; the model itself changes."""
    model.network.generator.manual_seed(5)
    optimisers = model.restore_optimisers()
    trainer = Trainer(model.network, optimisers, model.training, np.random.default_rng(5))
    losses = [r.train_loss for r in trainer.epochs(part.training, part.validation)]
    return losses, {**model.network.state_dict(), **optimisers.state()}


def test_a_loaded_model_gives_equal_logits(model, folder, world):
    loaded, raw = TrainedModel.load(folder), world.raw(9)
    expected = logits(model.network, model.transform.encode(raw))
    assert np.array_equal(logits(loaded.network, loaded.transform.encode(raw)), expected)


def test_a_loaded_model_has_every_setting_and_all_optimiser_state(model, folder):
    loaded = TrainedModel.load(folder)
    assert loaded.training == model.training
    assert loaded.network.config == model.network.config
    assert loaded.transform.spec == model.transform.spec
    assert loaded.learned_until == 2000
    assert equal(loaded.optimiser_state, model.optimiser_state)


def test_a_loaded_model_has_the_support_of_every_wide_feature(model, folder):
    support, expected = TrainedModel.load(folder).support, model.support
    assert len(support.counts) == len(support.positives) == model.transform.wide_size
    assert support.counts.dtype == support.positives.dtype == np.int64
    assert np.array_equal(support.counts, expected.counts)
    assert np.array_equal(support.positives, expected.positives)
    assert (support.rows, support.positive_rows) == (400, 250)


def test_wide_weights_are_a_copy_of_the_networks_own(model):
    weights = model.wide_weights
    assert np.array_equal(weights, model.network.wide.detach().numpy()[:, 0])
    weights += 1
    assert not np.array_equal(weights, model.wide_weights)


def test_a_loaded_model_is_ready_to_score(folder):
    assert not TrainedModel.load(folder).network.training


def test_restored_optimisers_are_in_the_state_in_which_training_left_them(model):
    state = model.restore_optimisers().state()
    assert (state["wide/n"] > 0).any()
    assert equal(state, model.optimiser_state)


def test_training_continues_equally_after_a_round_trip(folder, part):
    runs = [train_further(TrainedModel.load(folder), part) for _ in range(2)]
    (folder / "again").mkdir()
    TrainedModel.load(folder).save(folder / "again")
    runs.append(train_further(TrainedModel.load(folder / "again"), part))
    for losses, tensors in runs[1:]:
        assert losses == runs[0][0]
        assert equal(tensors, runs[0][1])


def test_training_continues_after_loading_as_it_does_in_memory(model, folder, part):
    """This trains the shared model further, so it follows the tests that compare with it."""
    loaded = TrainedModel.load(folder)
    expected_losses, expected = train_further(model, part)
    losses, tensors = train_further(loaded, part)
    assert losses == expected_losses
    assert equal(tensors, expected)


def test_a_folder_holds_no_pickle(folder):
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".parquet", ".safetensors"}


def test_the_same_model_is_written_to_the_same_bytes(model, folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    model.save(other)
    for file in folder.rglob("*"):
        if file.is_file():
            assert (other / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_the_json_can_be_read_by_people(folder):
    text = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert text["network"]["hidden"] == [16, 8]
    assert text["training"]["ftrl"]["l1"] == 0.1


@pytest.mark.parametrize("other", [0, FORMAT - 1, FORMAT + 1])
def test_a_model_of_another_format_is_refused_with_what_to_do(folder, other):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": other}), encoding="utf-8")
    message = rf"format {other} \(this version reads {FORMAT}\); retrain in a new --home"
    with pytest.raises(InputError, match=message):
        TrainedModel.load(folder)

"""A model on disk is the model in memory."""

import json

import numpy as np
import pytest
import torch

from widedeep.inputs import InputError
from widedeep.model.trained_model import FORMAT, TrainedModel
from widedeep.model.trainer import Optimisers, Trainer, logits


@pytest.fixture(scope="module")
def model(world, rows):
    network = world.network(rows.transform)
    optimisers = Optimisers(network, world.preset.training)
    trainer = Trainer(network, optimisers, world.preset.training, np.random.default_rng(0))
    list(trainer.epochs(rows.training, rows.validation))
    evidence = world.evidence(rows.transform)
    return TrainedModel(
        rows.transform, network, world.preset.training, optimisers.state(), 2000, evidence
    )


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path)
    return tmp_path


def one_more_epoch(model, rows):
    """The curve and all that is left after it; the model itself is changed."""
    model.network.generator.manual_seed(5)
    optimisers = model.optimisers()
    trainer = Trainer(model.network, optimisers, model.training, np.random.default_rng(5))
    losses = [r.train_loss for r in trainer.epochs(rows.training, rows.validation)]
    return losses, {**model.network.state_dict(), **optimisers.state()}


def test_a_loaded_model_gives_the_equal_logits(model, folder, world):
    read = TrainedModel.load(folder)
    raw = world.raw(9)
    found = logits(read.network, read.transform.encode(raw))
    assert np.array_equal(found, logits(model.network, model.transform.encode(raw)))


def test_a_loaded_model_has_every_setting_and_memory(model, folder):
    read = TrainedModel.load(folder)
    assert read.training == model.training
    assert read.network.config == model.network.config
    assert read.transform.spec == model.transform.spec
    assert read.learned_until == 2000
    assert read.state.keys() == model.state.keys()
    assert all(torch.equal(read.state[name], model.state[name]) for name in model.state)


def test_a_loaded_model_has_the_evidence_of_every_wide_feature(model, folder):
    read, wanted = TrainedModel.load(folder).evidence, model.evidence
    assert len(read.support) == len(read.positives) == model.transform.wide_size
    assert read.support.dtype == read.positives.dtype == np.int64
    assert np.array_equal(read.support, wanted.support)
    assert np.array_equal(read.positives, wanted.positives)
    assert (read.rows, read.positive_rows) == (400, 250)


def test_wide_weights_are_the_networks_own_at_the_moment_of_asking(model):
    found = model.wide_weights
    assert np.array_equal(found, model.network.wide.detach().numpy()[:, 0])
    found += 1
    assert not np.array_equal(found, model.wide_weights)


def test_a_loaded_model_is_ready_to_score(folder):
    assert not TrainedModel.load(folder).network.training


def test_the_optimisers_are_in_the_state_in_which_training_left_them(model):
    state = model.optimisers().state()
    assert (state["wide/n"] > 0).any()
    assert state.keys() == model.state.keys()
    assert all(torch.equal(state[name], model.state[name]) for name in state)


def test_training_continues_equally_after_a_round_trip(folder, rows):
    fits = [one_more_epoch(TrainedModel.load(folder), rows) for _ in range(2)]
    moved = TrainedModel.load(folder)
    (folder / "again").mkdir()
    moved.save(folder / "again")
    fits.append(one_more_epoch(TrainedModel.load(folder / "again"), rows))
    for losses, left in fits[1:]:
        assert losses == fits[0][0]
        assert all(torch.equal(left[name], fits[0][1][name]) for name in left)


def test_training_continues_after_loading_as_it_does_in_memory(model, folder, rows):
    """Last, since it trains the shared model further."""
    read = TrainedModel.load(folder)
    wanted, found = one_more_epoch(model, rows), one_more_epoch(read, rows)
    assert found[0] == wanted[0]
    assert all(torch.equal(found[1][name], wanted[1][name]) for name in wanted[1])


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


def test_a_model_of_another_format_is_refused_plainly(folder):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}), encoding="utf-8")
    with pytest.raises(InputError, match=f"a model of format 0, wanted is {FORMAT}"):
        TrainedModel.load(folder)

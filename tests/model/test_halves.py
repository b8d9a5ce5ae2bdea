"""A model of one half alone: no weights of the other, and deaf to what the other would read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep.features.encoded import EncodedRows
from widedeep.inputs import InputError
from widedeep.model.network import NetworkConfig
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import Optimisers, Trainer, logits
from widedeep.model.warm_start import warm_start

WIDE_ONLY = {"deep": False}
DEEP_ONLY = {"wide": False}


def half(world, **parts):
    """A world whose models have that half alone."""
    return world.with_preset(parts)


def shuffled_wide(rows, size):
    """The same rows firing other wide features."""
    return replace(rows, wide=rows.wide.replace((rows.wide.values * 7 + 3) % size))


def other_deep_inputs(rows):
    """The same rows with other ids, bags and numbers, but the same wide features."""
    bags = tuple(bag.take(np.arange(len(rows))[::-1]) for bag in rows.bags)
    backwards = rows.numbers.take(np.arange(len(rows))[::-1])
    return EncodedRows(rows.categories[::-1].copy(), bags, backwards, rows.wide, rows.offset)


def trained(world, seed=0):
    rows = world.training_set(lambda raw: raw.queries.item % 2 == 0, seed)
    network = world.network(rows.transform, seed)
    optimisers = Optimisers(network, world.preset.training)
    trainer = Trainer(network, optimisers, world.preset.training, np.random.default_rng(seed))
    results = list(trainer.epochs(rows.training, rows.validation))
    return rows, network, optimisers, results


def test_deep_only_has_no_wide_weights_and_does_not_read_wide_ids(world):
    rows, network, optimisers, results = trained(half(world, **DEEP_ONLY))
    assert network.wide.shape == (0, 1)
    assert optimisers.state()["wide/z"].numel() == 0
    held = rows.validation["streaming"].rows
    changed = shuffled_wide(held, rows.transform.wide_size)
    assert (changed.wide.values != held.wide.values).any()
    np.testing.assert_array_equal(logits(network, held), logits(network, changed))
    assert (logits(network, held) != logits(network, other_deep_inputs(held))).mean() > 0.8
    assert results[-1].train_loss < results[0].train_loss


def test_wide_only_has_no_tower_and_does_not_read_what_it_would_read(world):
    rows, network, optimisers, results = trained(half(world, **WIDE_ONLY))
    assert {name for name, _ in network.named_parameters()} == {"wide", "bias", "slope"}
    assert set(optimisers.state()) == {"wide/z", "wide/n", "bias/sum", "slope/sum"}
    held = rows.validation["streaming"].rows
    np.testing.assert_array_equal(logits(network, held), logits(network, other_deep_inputs(held)))
    assert (logits(network, held) != logits(network, shuffled_wide(held, 40))).any()
    assert results[-1].train_loss < results[0].train_loss


def test_a_model_of_nothing_is_refused():
    with pytest.raises(InputError, match="a wide part, a deep part or both"):
        NetworkConfig(wide=False, deep=False)


def test_deep_only_begins_with_the_very_tower_of_the_whole(world):
    transform = world.transform()
    whole = world.network(transform, 4).state_dict()
    deep = half(world, **DEEP_ONLY)
    alone = deep.network(transform, 4).state_dict()
    assert all(torch.equal(alone[name], whole[name]) for name in whole if name != "wide")


@pytest.mark.parametrize(("parts", "tables"), [(WIDE_ONLY, "wide"), (DEEP_ONLY, "embeddings.")])
def test_a_half_is_kept_and_continued_warm(world, parts, tables, tmp_path):
    alone = half(world, **parts)
    old = alone.model(alone.transform(0))
    old.save(tmp_path)
    kept = TrainedModel.load(tmp_path)
    assert kept.network.config == alone.preset.network
    new = alone.transform(0, kept.transform)
    network = alone.network(new, 1)
    optimisers, carried = warm_start(kept, network, new, alone.preset.training)
    held = new.encode(alone.raw(9))
    np.testing.assert_array_equal(logits(network, held), logits(old.network, held))
    assert carried
    assert all(name.startswith(tables) for name in carried)
    for name, value in optimisers.state().items():
        assert torch.equal(value, kept.state[name])


def test_a_model_of_before_there_were_halves_is_read_as_whole():
    values = {"embedding": 4, "hidden": [16, 8], "dropout": 0.2, "id_dropout": 0.2}
    config = NetworkConfig.from_json(values)
    assert config.wide
    assert config.deep

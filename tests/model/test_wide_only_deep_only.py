"""Models with one part alone: no weights of the other part, and blind to what it would read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep.features.encoded import EncodedRows
from widedeep.features.training_data import STREAMING
from widedeep.model.network import NetworkConfig, logits
from widedeep.model.trained_model import TrainedModel
from widedeep.model.warm_start import warm_start

WIDE_ONLY = {"deep": False}
DEEP_ONLY = {"wide": False}


def with_other_wide_ids(rows, size):
    """The same rows firing other wide features."""
    return replace(rows, wide=rows.wide.with_values((rows.wide.values * 7 + 3) % size))


def with_other_deep_inputs(rows):
    """The same rows with other categories, bags and numbers, but the same wide features."""
    backwards = np.arange(len(rows))[::-1]
    bags = tuple(bag.select_rows(backwards) for bag in rows.bags)
    numbers = rows.numbers.select_rows(backwards)
    return EncodedRows(rows.categories[::-1].copy(), bags, numbers, rows.wide, rows.prior_logit)


def trained(world, seed=0):
    part = world.training_part(lambda raw: raw.queries.item % 2 == 0, seed)
    trainer = world.trainer(part, seed)
    results = list(trainer.epochs(part.training, part.validation))
    return part, trainer.network, trainer.optimisers, results


def test_deep_only_has_no_wide_weights_and_does_not_read_wide_ids(world):
    part, network, optimisers, results = trained(world.with_preset(DEEP_ONLY))
    assert network.wide.shape == (0, 1)
    assert optimisers.state()["wide/z"].numel() == 0
    rows = part.validation[STREAMING].rows
    changed = with_other_wide_ids(rows, part.transform.wide_size)
    assert (changed.wide.values != rows.wide.values).any()
    np.testing.assert_array_equal(logits(network, rows), logits(network, changed))
    assert (logits(network, rows) != logits(network, with_other_deep_inputs(rows))).mean() > 0.8
    assert results[-1].train_loss < results[0].train_loss


def test_wide_only_has_no_deep_weights_and_does_not_read_deep_inputs(world):
    part, network, optimisers, results = trained(world.with_preset(WIDE_ONLY))
    assert {name for name, _ in network.named_parameters()} == {"wide", "bias", "prior_slope"}
    assert set(optimisers.state()) == {"wide/z", "wide/n", "bias/sum", "prior_slope/sum"}
    rows = part.validation[STREAMING].rows
    np.testing.assert_array_equal(
        logits(network, rows), logits(network, with_other_deep_inputs(rows))
    )
    assert (logits(network, rows) != logits(network, with_other_wide_ids(rows, 40))).any()
    assert results[-1].train_loss < results[0].train_loss


def test_deep_only_starts_with_the_same_deep_part_as_the_whole(world):
    transform = world.transform()
    whole = world.network(transform, 4).state_dict()
    deep = world.with_preset(DEEP_ONLY).network(transform, 4).state_dict()
    assert all(torch.equal(deep[name], whole[name]) for name in whole if name != "wide")


@pytest.mark.parametrize(("parts", "tables"), [(WIDE_ONLY, "wide"), (DEEP_ONLY, "embeddings.")])
def test_a_one_part_model_is_saved_and_continued_warm(world, parts, tables, tmp_path):
    one_part = world.with_preset(parts)
    saved = one_part.model(one_part.transform(0))
    saved.save(tmp_path)
    loaded = TrainedModel.load(tmp_path)
    assert loaded.network.config == one_part.preset.network
    transform = one_part.transform(0, loaded.transform)
    network = one_part.network(transform, 1)
    optimisers, carried = warm_start(loaded, network, transform, one_part.preset.training)
    rows = transform.encode(one_part.raw(9))
    np.testing.assert_array_equal(logits(network, rows), logits(saved.network, rows))
    assert carried
    assert all(name.startswith(tables) for name in carried)
    for name, value in optimisers.state().items():
        assert torch.equal(value, loaded.optimiser_state[name])


def test_settings_from_before_parts_could_be_left_out_are_read_as_both_parts():
    values = {"embedding": 4, "hidden": [16, 8], "dropout": 0.2, "id_dropout": 0.2}
    config = NetworkConfig.from_json(values)
    assert config.wide
    assert config.deep

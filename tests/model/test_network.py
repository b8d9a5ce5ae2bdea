"""The network against a plain recomputation, its scores, its dropout and its randomness."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep.inputs import InputError
from widedeep.model.batch import KEEP_ALL, Batch, BatchSlice
from widedeep.model.compute import CPU
from widedeep.model.layers import hidden_layers
from widedeep.model.network import InputShape, NetworkConfig, logits, predict


@pytest.fixture
def model(world):
    return world.model(world.transform())


def encoded(world, model, rows=50, seed=5):
    return model.transform.encode(world.raw(seed, rows))


def scores(network, rows):
    return network.eval()(Batch.from_encoded(rows, CPU)).detach()


def whole(rows):
    return BatchSlice(rows, slice(None))


def plain_logits(model, rows):
    """Bias + wide + deep, row by row, in float64."""
    weights = {k: v.numpy().astype(np.float64) for k, v in model.network.state_dict().items()}
    return [plain_logit(weights, model.network.shape, rows, i) for i in range(len(rows))]


def plain_logit(weights, shape, rows, i):
    wide_ids = rows.wide.values[rows.wide.offsets[i] : rows.wide.offsets[i + 1]]
    columns = [
        weights[f"embeddings.{table}"][rows.categories[i, j]]
        for j, table in enumerate(shape.categories)
    ]
    for table, bag in zip(shape.bags, rows.bags, strict=True):
        codes = bag.values[bag.offsets[i] : bag.offsets[i + 1]]
        vectors = weights[f"embeddings.{table}"][codes]
        columns.append(vectors.mean(0) if len(vectors) else np.zeros(vectors.shape[1]))
    activation = np.concatenate([*columns, rows.numbers.normalised()[i]])
    last = sum(name.endswith(".bias") for name in weights) - 1
    for layer in range(last + 1):
        activation = activation @ weights[f"layers.{layer}.weight"].T
        activation += weights[f"layers.{layer}.bias"]
        activation = activation if layer == last else np.maximum(activation, 0)
    return weights["bias"][0] + weights["wide"][wide_ids, 0].sum() + activation[0]


def test_forward_equals_a_plain_recomputation(world, model):
    rows = encoded(world, model)
    assert (np.diff(rows.bags[1].offsets) == 0).any()
    np.testing.assert_allclose(
        scores(model.network, rows), plain_logits(model, rows), rtol=1e-4, atol=1e-4
    )


def test_the_logit_is_bias_plus_wide_plus_deep(world, model):
    network, batch = model.network.eval(), Batch.from_encoded(encoded(world, model), CPU)
    parts = network.bias + network.wide_logit(batch) + network.deep_logit(batch)
    assert torch.equal(network(batch), parts)


def test_a_fresh_wide_part_adds_nothing(world):
    transform = world.transform()
    network = world.network(transform).eval()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    assert not network.wide_logit(batch).any()
    assert torch.equal(network(batch), network.deep_logit(batch))


def test_a_new_network_scores_as_its_prior_logit_does(world):
    transform = world.transform()
    rows = transform.encode(world.raw(2))
    network = world.network(transform)
    expected = network.bias + torch.from_numpy(rows.prior_logit)
    assert torch.equal(scores(network, rows), expected)


def test_no_rows_have_no_logits(world, model):
    rows = encoded(world, model).select_rows(np.empty(0, np.int64))
    assert model.network(Batch.from_encoded(rows, CPU)).shape == (0,)


def test_a_model_without_wide_features_is_deep_only(world):
    deep = replace(world, spec=replace(world.spec, crosses=(), wide=()))
    model = deep.model(deep.transform())
    rows = encoded(deep, model)
    assert model.network.wide.shape == (0, 1)
    np.testing.assert_allclose(
        scores(model.network, rows), plain_logits(model, rows), rtol=1e-4, atol=1e-4
    )


def test_bags_read_the_embedding_of_the_vocabulary_they_name(world):
    shape = InputShape.from_transform(world.transform())
    assert shape.categories == ("user", "item", "grade")
    assert shape.bags == ("genres", "item", "item")
    assert set(shape.tables) == {"user", "item", "grade", "genres"}


def test_the_input_is_all_embeddings_and_all_numbers_with_their_missing_marks(world):
    network = world.network(world.transform())
    assert network.layers[0].in_features == 6 * 4 + 2 * 2
    assert [layer.out_features for layer in network.layers] == [16, 8, 1]


def test_inputs_in_bfloat16_are_the_rounded_ones(world):
    transform = world.transform()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    config = NetworkConfig(embedding=2, hidden=(4,), number_embedding=3)
    network = world.network(transform, config=config)
    exact = network._inputs(batch, KEEP_ALL, torch.float32)
    rounded = network._inputs(batch, KEEP_ALL, torch.bfloat16)
    assert all(torch.equal(r, e.bfloat16()) for r, e in zip(rounded, exact, strict=True))


@pytest.mark.parametrize("size", [1, 7, 8192])
def test_batches_of_any_size_give_the_same_scores(world, model, size, monkeypatch):
    rows = encoded(world, model, rows=100)
    expected = logits(model.network, rows)
    monkeypatch.setattr("widedeep.model.network.SCORING_BATCH", size)
    np.testing.assert_allclose(logits(model.network, rows), expected, rtol=1e-4, atol=1e-5)


def test_probabilities_are_the_sigmoid_of_the_logits_without_overflow(world, model):
    network, rows = model.network, encoded(world, model, rows=600)
    with torch.no_grad():
        network.bias.fill_(-1e5)
    assert (predict(network, rows) == 0).all()
    with torch.no_grad():
        network.bias.fill_(1e5)
    assert (predict(network, rows) == 1).all()
    with torch.no_grad():
        network.bias.fill_(0)
    scored = logits(network, rows)
    assert scored.dtype == np.float64
    np.testing.assert_allclose(predict(network, rows), 1 / (1 + np.exp(-scored)))


def test_scoring_no_rows_gives_no_scores(world, model):
    rows = encoded(world, model).select_rows(np.empty(0, np.int64))
    assert predict(model.network, rows).shape == (0,)


def test_scoring_drops_nothing(world):
    config = NetworkConfig(embedding=2, hidden=(4,), dropout=0.9, id_dropout=0.9)
    transform = world.transform()
    network = world.network(transform, config=config).eval()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    assert torch.equal(network(batch), network(batch))


def test_dropout_drops_its_share_and_scales_the_rest_up(world):
    config = NetworkConfig(embedding=2, hidden=(40,), dropout=0.3)
    network = world.network(world.transform(), config=config)
    inputs, layer = torch.rand(4000, 3), (torch.rand(40, 3), torch.rand(40))
    undropped = hidden_layers([inputs], [layer], 1)
    masks = network.draw_masks(whole(4000)).units
    units = hidden_layers([inputs], [layer], 1, masks, 0.3)
    nonzero = units != 0
    assert torch.equal(nonzero, masks[0])
    assert nonzero.float().mean().item() == pytest.approx(0.7, abs=0.005)
    torch.testing.assert_close(units[nonzero], undropped[nonzero] / 0.7)


def test_categories_and_bags_are_dropped_in_their_share_and_independently(world):
    config = NetworkConfig(embedding=2, hidden=(4,), id_dropout=0.4)
    network = world.network(world.transform(), config=config)
    masks = network.draw_masks(whole(50_000))
    assert masks.numbers is None
    assert masks.units == ()
    shares = masks.codes.float().mean(0)
    torch.testing.assert_close(shares, torch.full((6,), 0.6), atol=0.01, rtol=0)
    assert len(masks.codes.unique(dim=0)) == 2**6


def test_the_masks_of_shares_of_a_minibatch_are_parts_of_one_draw(world):
    config = NetworkConfig(2, (4,), dropout=0.2, id_dropout=0.4, number_dropout=0.1)
    transform = world.transform()
    all_rows, first, last = (
        world.network(transform, 5, config).draw_masks(BatchSlice(101, rows))
        for rows in (slice(None), slice(0, 40), slice(40, 101))
    )
    for name in ("codes", "numbers"):
        shares = [getattr(first, name), getattr(last, name)]
        assert torch.equal(getattr(all_rows, name), torch.cat(shares))
    assert torch.equal(all_rows.units[0], torch.cat([first.units[0], last.units[0]]))


def test_a_dropped_number_takes_its_vector_and_its_mark_along(world):
    transform = world.transform()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    config = NetworkConfig(embedding=2, hidden=(4,), number_dropout=0.4, number_embedding=3)
    network = world.network(transform, config=config)
    all_vectors, all_numbers = network._number_inputs(batch, None, torch.float32)
    mask = network.draw_masks(whole(len(all_numbers))).numbers
    vectors, numbers = network._number_inputs(batch, mask, torch.float32)
    columns = all_numbers.shape[1] // 2
    assert all_vectors.shape == (len(all_numbers), 3 * columns)
    vector_mask, number_mask = mask.repeat_interleave(3, 1), mask.repeat(1, 2)
    torch.testing.assert_close(vectors, torch.where(vector_mask, all_vectors / 0.6, 0))
    torch.testing.assert_close(numbers, torch.where(number_mask, all_numbers / 0.6, 0))
    assert set(mask.unique().tolist()) == {True, False}


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(world):
    transform = world.transform()
    first, again, other = (world.network(transform, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.startswith("embeddings") or name.endswith("weight")]
    drawn.remove("layers.2.weight")  # the last layer starts at 0
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_the_first_weights_do_not_depend_on_the_order_of_the_tables(world):
    transform = world.transform()
    tables = dict(reversed(transform.vocabularies.items()))
    reordered = replace(transform, vocabularies=tables)
    expected, weights = (world.network(t, 3).state_dict() for t in (transform, reordered))
    assert expected.keys() == weights.keys()
    assert all(torch.equal(expected[name], weights[name]) for name in expected)


def test_building_and_dropping_leave_the_global_generator_alone(world):
    transform = world.transform()
    before = torch.get_rng_state()
    network = world.network(transform).train()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    network(batch, network.draw_masks(whole(len(batch.numbers))))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_config_survives_json(world):
    config = world.preset.network
    shares = {"dropout": 0.2, "id_dropout": 0.2, "number_dropout": 0.2}
    values = {"embedding": 4, "hidden": [16, 8], **shares}
    assert NetworkConfig.from_json(values) == config


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"embedding": 0}, "sizes of at least 1"),
        ({"hidden": ()}, "sizes of at least 1"),
        ({"hidden": (8, 0)}, "sizes of at least 1"),
        ({"dropout": 1.0}, "dropouts of at least 0 and below 1"),
        ({"number_embedding": -1}, "number_embedding of at least 0"),
        ({"wide": False, "deep": False}, "a wide part, a deep part or both"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=f"expected .*{message}"):
        NetworkConfig(**wrong)

"""The network against a plain recomputation, and the randomness it may use."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep.inputs import InputError
from widedeep.model.batch import EVERYTHING, Batch, BatchSlice
from widedeep.model.layers import Dropout, hidden_layers
from widedeep.model.network import InputShape, NetworkConfig

CPU = torch.device("cpu")


@pytest.fixture
def model(world):
    return world.model(world.transform())


def encoded(world, model, rows=50, seed=5):
    return model.transform.encode(world.raw(seed, rows))


def plain_logits(model, rows):
    """Bias + wide + deep, row by row, in float64."""
    weights = {k: v.numpy().astype(np.float64) for k, v in model.network.state_dict().items()}
    return [plain_logit(weights, model.network.shape, rows, i) for i in range(len(rows))]


def plain_logit(weights, shape, rows, i):
    wide = rows.wide.values[rows.wide.offsets[i] : rows.wide.offsets[i + 1]]
    columns = [
        weights[f"embeddings.{table}"][rows.categories[i, j]]
        for j, table in enumerate(shape.categories)
    ]
    for table, bag in zip(shape.bags, rows.bags, strict=True):
        held = weights[f"embeddings.{table}"][bag.values[bag.offsets[i] : bag.offsets[i + 1]]]
        columns.append(held.mean(0) if len(held) else np.zeros(held.shape[1]))
    activation = np.concatenate([*columns, rows.numbers.normalised()[i]])
    last = sum(name.endswith(".bias") for name in weights) - 1
    for layer in range(last + 1):
        activation = activation @ weights[f"layers.{layer}.weight"].T
        activation += weights[f"layers.{layer}.bias"]
        activation = activation if layer == last else np.maximum(activation, 0)
    return weights["bias"][0] + weights["wide"][wide, 0].sum() + activation[0]


def test_forward_equals_a_plain_recomputation(world, model):
    rows = encoded(world, model)
    found = model.network.eval()(Batch.from_encoded(rows, CPU)).detach().numpy()
    assert (np.diff(rows.bags[1].offsets) == 0).any()
    np.testing.assert_allclose(found, plain_logits(model, rows), rtol=1e-4, atol=1e-4)


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


def test_no_rows_have_no_logits(world, model):
    rows = encoded(world, model).take(np.empty(0, np.int64))
    assert model.network(Batch.from_encoded(rows, CPU)).shape == (0,)


def test_a_model_without_wide_features_is_deep_only(world):
    deep = replace(world, spec=replace(world.spec, crosses=(), wide=()))
    model = deep.model(deep.transform())
    rows = encoded(deep, model)
    assert model.network.wide.shape == (0, 1)
    found = model.network.eval()(Batch.from_encoded(rows, CPU)).detach().numpy()
    np.testing.assert_allclose(found, plain_logits(model, rows), rtol=1e-4, atol=1e-4)


def test_bags_read_the_embedding_of_the_vocabulary_they_name(world):
    shape = InputShape.of(world.transform())
    assert shape.categories == ("user", "item", "grade")
    assert shape.bags == ("genres", "item", "item")
    assert set(shape.tables) == {"user", "item", "grade", "genres"}


def test_the_input_is_all_embeddings_and_all_numbers_with_their_missing_marks(world):
    network = world.network(world.transform())
    assert network.layers[0].in_features == 6 * 4 + 2 * 2
    assert [layer.out_features for layer in network.layers] == [16, 8, 1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(world):
    transform = world.transform()
    first, again, other = (world.network(transform, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.startswith("embeddings") or name.endswith("weight")]
    drawn.remove("layers.2.weight")  # the last one begins at 0
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_the_first_weights_do_not_depend_on_the_order_of_the_tables(world):
    transform = world.transform()
    tables = dict(reversed(transform.vocabularies.items()))
    reordered = replace(transform, vocabularies=tables)
    wanted, found = (world.network(t, 3).state_dict() for t in (transform, reordered))
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def all_of(rows):
    return BatchSlice(rows, slice(None))


def test_building_and_dropping_leave_the_global_generator_alone(world):
    transform = world.transform()
    before = torch.get_rng_state()
    network = world.network(transform).train()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    network(batch, network.draw(all_of(len(batch.numbers))))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_drops_its_share_and_scales_the_rest_up(world):
    config = NetworkConfig(embedding=2, hidden=(40,), dropout=0.3)
    network = world.network(world.transform(), config=config)
    inputs, layer = torch.rand(4000, 3), (torch.rand(40, 3), torch.rand(40))
    whole = hidden_layers([inputs], [layer], Dropout(), 1)
    masks = network.draw(all_of(4000)).units
    dropped = hidden_layers([inputs], [layer], Dropout(0.3, masks), 1)
    kept = dropped != 0
    assert torch.equal(kept, masks[0])
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.005)
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.7)


def test_ids_are_dropped_in_their_share_and_each_by_itself(world):
    config = NetworkConfig(embedding=2, hidden=(4,), id_dropout=0.4)
    network = world.network(world.transform(), config=config)
    kept = network.draw(all_of(50_000))
    assert kept.numbers is None
    assert kept.units == ()
    shares = kept.ids.float().mean(0)
    torch.testing.assert_close(shares, torch.full((6,), 0.6), atol=0.01, rtol=0)
    assert len(kept.ids.unique(dim=0)) == 2**6


def test_shares_of_a_minibatch_are_parts_of_one_draw(world):
    config = NetworkConfig(2, (4,), dropout=0.2, id_dropout=0.4, number_dropout=0.1)
    transform = world.transform()
    whole, first, last = (
        world.network(transform, 5, config).draw(BatchSlice(101, part))
        for part in (slice(None), slice(0, 40), slice(40, 101))
    )
    for name in ("ids", "numbers"):
        halves = [getattr(first, name), getattr(last, name)]
        assert torch.equal(getattr(whole, name), torch.cat(halves))
    assert torch.equal(whole.units[0], torch.cat([first.units[0], last.units[0]]))


def test_a_dropped_number_takes_its_vector_and_its_mark_along(world):
    transform = world.transform()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    config = NetworkConfig(embedding=2, hidden=(4,), number_dropout=0.4, number_embedding=3)
    network = world.network(transform, config=config)
    whole, plain = network._numbers(batch, None, torch.float32)
    drawn = network.draw(all_of(len(plain))).numbers
    vectors, numbers = network._numbers(batch, drawn, torch.float32)
    columns = plain.shape[1] // 2
    of_vectors, of_numbers = drawn.repeat_interleave(3, 1), drawn.repeat(1, 2)
    assert whole.shape == (len(plain), 3 * columns)
    torch.testing.assert_close(vectors, torch.where(of_vectors, whole / 0.6, 0))
    torch.testing.assert_close(numbers, torch.where(of_numbers, plain / 0.6, 0))
    assert set(drawn.unique().tolist()) == {True, False}


def test_inputs_in_bfloat16_are_the_rounded_ones(world):
    transform = world.transform()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    config = NetworkConfig(embedding=2, hidden=(4,), number_embedding=3)
    network = world.network(transform, config=config)
    exact, half = (network._inputs(batch, EVERYTHING, t) for t in (torch.float32, torch.bfloat16))
    assert all(torch.equal(h, e.bfloat16()) for h, e in zip(half, exact, strict=True))


def test_a_new_network_scores_as_its_offset_does(world):
    transform = world.transform()
    rows = transform.encode(world.raw(2))
    network = world.network(transform).eval()
    found = network(Batch.from_encoded(rows, CPU))
    assert torch.equal(found, network.bias + torch.from_numpy(rows.offset))


def test_scoring_drops_nothing(world):
    config = NetworkConfig(embedding=2, hidden=(4,), dropout=0.9, id_dropout=0.9)
    transform = world.transform()
    network = world.network(transform, config=config).eval()
    batch = Batch.from_encoded(transform.encode(world.raw(2)), CPU)
    assert torch.equal(network(batch), network(batch))


def test_a_config_survives_json(world):
    config = world.preset.network
    shares = {"dropout": 0.2, "id_dropout": 0.2, "number_dropout": 0.2}
    values = {"embedding": 4, "hidden": [16, 8], **shares}
    assert NetworkConfig.from_json(values) == config


@pytest.mark.parametrize(
    "wrong", [{"embedding": 0}, {"hidden": ()}, {"hidden": (8, 0)}, {"dropout": 1.0}]
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(InputError, match="are wanted"):
        NetworkConfig(**wrong)

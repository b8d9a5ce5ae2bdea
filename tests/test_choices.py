"""Training on a GPU if there is one: asked for, recorded, and the same model.

Without a GPU at hand two things can be shown. What torch's operations make there is what our
compiled loops make here; and a step with every tensor elsewhere (on `meta`, which computes nothing,
but refuses to mix devices and to lend its memory) never falls back to the processor.

Training in bfloat16: chosen by itself, recorded, overridable, and only where it may be.
"""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from widedeep.choices import Device, Precision
from widedeep.inputs import InputError
from widedeep.model import adagrad, ftrl, kernels, layers, sparse_optimiser
from widedeep.model.batch import EVERYTHING, Batch, DropoutMasks
from widedeep.model.compute import fast_matmul, resolve_device, training_dtype
from widedeep.model.trainer import Optimisers, Trainer, TrainingConfig, logits

ELSEWHERE = torch.device("meta")
COMPILED = (adagrad, ftrl, kernels, layers, sparse_optimiser)


def trainer(world, rows, precision, device="cpu"):
    every_part = replace(world.preset.network, number_embedding=3)
    network = world.network(rows.transform, config=every_part).to(device)
    torch.nn.init.ones_(network.layers[-1].weight)  # a new one is 0, and teaches the others nothing
    config = replace(world.preset.training, precision=precision)
    return Trainer(network, Optimisers(network, config), config, np.random.default_rng(0))


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    for has, found in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has=has: has)
        assert resolve_device(Device.AUTO) == torch.device(found)
        assert resolve_device(Device.CPU) == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device is cuda; torch .* finds no GPU here"):
        resolve_device(Device.CUDA)


def test_a_config_from_before_there_was_a_choice_reads_as_auto():
    values = asdict(TrainingConfig(device=Device.CPU))
    assert TrainingConfig.from_json(values).device is Device.CPU
    del values["device"]
    assert TrainingConfig.from_json(values).device is Device.AUTO


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize(
    ("precision", "tolerance"), [(Precision.FLOAT32, 1e-5), (Precision.BFLOAT16, 0.02)]
)
def test_torch_s_operations_learn_what_compiled_loops_do(
    world, rows, monkeypatch, precision, tolerance
):
    compiled = trainer(world, rows, precision)
    wanted = [result.train_loss for result in compiled.epochs(rows.training, rows.validation)]
    for module in COMPILED:
        monkeypatch.setattr(module, "compiled_for", lambda tensor: False)  # noqa: ARG005
    composed = trainer(world, rows, precision)
    found = [result.train_loss for result in composed.epochs(rows.training, rows.validation)]
    assert found == pytest.approx(wanted, rel=tolerance)
    weights = compiled.network.state_dict()
    for name, weight in composed.network.state_dict().items():
        torch.testing.assert_close(weight, weights[name], atol=10 * tolerance, rtol=0)


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_a_step_elsewhere_never_comes_back_to_the_processor(world, rows, precision):
    one = trainer(world, rows, precision, ELSEWHERE)
    one.network.train()
    one._loss(one._taken(rows.training, np.arange(64))).backward()
    with torch.no_grad():
        for optimiser in one.optimisers.all:
            for weight, state in optimiser.state.items():
                gradient = weight.grad
                assert {of.device for of in (gradient, *state.values())} == {ELSEWHERE}
                if gradient.is_sparse:  # `meta` cannot add up its rows
                    named, values = gradient._indices()[0], gradient._values()
                    optimiser.update_rows(weight, state, named, values)
                else:
                    optimiser.update(weight, state, gradient)


def test_what_dropout_keeps_moves_along():
    ids, units = torch.ones(2, 3, dtype=torch.bool), (torch.ones(2, 4, dtype=torch.bool),)
    moved = DropoutMasks(ids, None, units).to(ELSEWHERE)
    assert moved.ids.device == moved.units[0].device == ELSEWHERE
    assert moved.numbers is None
    assert EVERYTHING.to(ELSEWHERE) == EVERYTHING


CPU = torch.device("cpu")
PAPER = (268, 1024, 512, 256)


def precision_trainer(world, rows, precision):
    network = world.network(rows.transform)
    config = replace(world.preset.training, precision=precision)
    return Trainer(network, Optimisers(network, config), config, np.random.default_rng(0))


@pytest.mark.usefixtures("with_bfloat16")
def test_auto_takes_bfloat16_where_layers_make_it_worthwhile():
    assert training_dtype(Precision.AUTO, PAPER, CPU) is torch.bfloat16
    assert training_dtype(Precision.AUTO, (300, 64, 32), CPU) is torch.float32
    assert training_dtype(Precision.AUTO, (), CPU) is torch.float32


@pytest.mark.usefixtures("with_bfloat16")
def test_what_is_asked_for_is_taken():
    for widths in (PAPER, (2, 2)):
        assert training_dtype(Precision.FLOAT32, widths, CPU) is torch.float32
        assert training_dtype(Precision.BFLOAT16, widths, CPU) is torch.bfloat16


def test_a_processor_without_bfloat16_trains_in_float32_and_refuses_the_other(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert training_dtype(Precision.AUTO, PAPER, CPU) is torch.float32
    with pytest.raises(InputError, match="precision is bfloat16"):
        training_dtype(Precision.BFLOAT16, PAPER, CPU)


def test_a_config_from_before_there_was_a_choice_reads_as_auto__precision():
    values = asdict(TrainingConfig(precision=Precision.BFLOAT16))
    assert TrainingConfig.from_json(values).precision is Precision.BFLOAT16
    del values["precision"]
    assert TrainingConfig.from_json(values).precision is Precision.AUTO


@pytest.mark.usefixtures("with_bfloat16")
def test_bfloat16_learns_the_same_to_its_three_digits_and_repeats_to_the_bit(world, rows):
    results = {}
    for name, precision in (
        ("float32", Precision.FLOAT32),
        ("bfloat16", Precision.BFLOAT16),
        ("again", Precision.BFLOAT16),
    ):
        fitting = precision_trainer(world, rows, precision)
        results[name] = list(fitting.epochs(rows.training, rows.validation))[-1].train_loss
    assert results["bfloat16"] == results["again"]
    assert results["bfloat16"] != results["float32"]
    assert results["bfloat16"] == pytest.approx(results["float32"], rel=0.02)


@pytest.mark.usefixtures("with_bfloat16")
def test_weights_and_scores_stay_float32(world, rows):
    exact, half = (
        precision_trainer(world, rows, p) for p in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    assert all(parameter.dtype is torch.float32 for parameter in half.network.parameters())
    for one in (exact, half):
        torch.nn.init.ones_(one.network.layers[-1].weight)  # a new one is 0
    held = rows.training.rows
    assert np.array_equal(logits(half.network, held), logits(exact.network, held))
    batch = Batch.from_encoded(held, CPU)
    half.network.train()
    exact.network.train()
    assert not torch.equal(half.network(batch), exact.network(batch))


def test_the_setting_of_the_process_is_put_back():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), fast_matmul():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before


def test_fast_products_are_exact_to_float32():
    draws = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 64, 300, generator=draws)
    with fast_matmul():
        found = left @ right.T
    torch.testing.assert_close(found.double(), left.double() @ right.double().T, atol=1e-4, rtol=0)

"""Training in bfloat16: chosen by itself, recorded, overridable, and only where it may be."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from widedeep.errors import InputError
from widedeep.model.batch import Batch
from widedeep.model.precision import Precision
from widedeep.model.products import dtype_in_training, fast_products
from widedeep.model.training import Optimisers, Trainer, TrainingConfig, logits

CPU = torch.device("cpu")
PAPER = (268, 1024, 512, 256)


def trainer(world, rows, precision):
    network = world.network(rows.transform)
    config = replace(world.preset.training, precision=precision)
    return Trainer(network, Optimisers(network, config), config, np.random.default_rng(0))


@pytest.mark.usefixtures("with_bfloat16")
def test_auto_takes_bfloat16_where_layers_make_it_worthwhile():
    assert dtype_in_training(Precision.AUTO, PAPER, CPU) is torch.bfloat16
    assert dtype_in_training(Precision.AUTO, (300, 64, 32), CPU) is torch.float32
    assert dtype_in_training(Precision.AUTO, (), CPU) is torch.float32


@pytest.mark.usefixtures("with_bfloat16")
def test_what_is_asked_for_is_taken():
    for widths in (PAPER, (2, 2)):
        assert dtype_in_training(Precision.FLOAT32, widths, CPU) is torch.float32
        assert dtype_in_training(Precision.BFLOAT16, widths, CPU) is torch.bfloat16


def test_a_processor_without_bfloat16_trains_in_float32_and_refuses_the_other(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert dtype_in_training(Precision.AUTO, PAPER, CPU) is torch.float32
    with pytest.raises(InputError, match="precision is bfloat16"):
        dtype_in_training(Precision.BFLOAT16, PAPER, CPU)


def test_a_config_from_before_there_was_a_choice_reads_as_auto():
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
        fitting = trainer(world, rows, precision)
        results[name] = list(fitting.epochs(rows.training, rows.validation))[-1].train_loss
    assert results["bfloat16"] == results["again"]
    assert results["bfloat16"] != results["float32"]
    assert results["bfloat16"] == pytest.approx(results["float32"], rel=0.02)


@pytest.mark.usefixtures("with_bfloat16")
def test_weights_and_scores_stay_float32(world, rows):
    exact, half = (trainer(world, rows, p) for p in (Precision.FLOAT32, Precision.BFLOAT16))
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
    with pytest.raises(ZeroDivisionError), fast_products():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before


def test_fast_products_are_exact_to_float32():
    draws = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 64, 300, generator=draws)
    with fast_products():
        found = left @ right.T
    torch.testing.assert_close(found.double(), left.double() @ right.double().T, atol=1e-4, rtol=0)

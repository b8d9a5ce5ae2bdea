"""Training on a GPU if there is one: asked for, recorded, and the same model.

Without a GPU at hand two things can be shown. What torch's operations make there is what our
compiled loops make here; and a step with every tensor elsewhere (on `meta`, which computes nothing,
but refuses to mix devices and to lend its memory) never falls back to the processor.
"""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from widedeep.errors import InputError
from widedeep.model import adagrad, ftrl, hidden_units, number_embedding, row_optimizer
from widedeep.model.device import Device
from widedeep.model.dropout import EVERYTHING, Kept
from widedeep.model.placement import device_of
from widedeep.model.precision import Precision
from widedeep.model.training import Optimisers, Trainer, TrainingConfig

ELSEWHERE = torch.device("meta")
COMPILED = (adagrad, ftrl, hidden_units, number_embedding, row_optimizer)


def trainer(world, rows, precision, device="cpu"):
    every_part = replace(world.preset.network, number_embedding=3)
    network = world.network(rows.transform, config=every_part).to(device)
    torch.nn.init.ones_(network.layers[-1].weight)  # a new one is 0, and teaches the others nothing
    config = replace(world.preset.training, precision=precision)
    return Trainer(network, Optimisers(network, config), config, np.random.default_rng(0))


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    for has, found in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has=has: has)
        assert device_of(Device.AUTO) == torch.device(found)
        assert device_of(Device.CPU) == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device is cuda; torch .* finds no GPU here"):
        device_of(Device.CUDA)


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
    moved = Kept(ids, None, units).to(ELSEWHERE)
    assert moved.ids.device == moved.units[0].device == ELSEWHERE
    assert moved.numbers is None
    assert EVERYTHING.to(ELSEWHERE) == EVERYTHING

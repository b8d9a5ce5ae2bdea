"""Device and precision of a training: requested, chosen automatically, and the same model.

Without a GPU two things are shown. torch's operations, which are used there, compute what our
compiled loops compute here. And a step with every tensor on `meta` (a device that computes nothing,
but refuses to mix devices and to lend its memory) never falls back to the CPU.
"""

import numpy as np
import pytest
import torch

from widedeep.inputs import Device, InputError, Precision
from widedeep.model import adagrad, ftrl, kernels, layers, sparse_optimiser
from widedeep.model.batch import Batch
from widedeep.model.compute import CPU, fast_matmul, resolve_device, torch_threads, training_dtype
from widedeep.model.network import logits

META = torch.device("meta")
WITH_COMPILED_LOOPS = (adagrad, ftrl, kernels, layers, sparse_optimiser)
PAPER = (268, 1024, 512, 256)
"""Widths of the paper's layers, input first."""


@pytest.fixture
def make_trainer(world, part):
    """Makes a trainer of a network with every kind of layer, on a device, in a precision."""

    def make(precision, device="cpu"):
        with_all_layers = world.with_preset({"number_embedding": 3}, {"precision": precision})
        network = with_all_layers.network(part.transform).to(device)
        # The last layer starts at 0, and would teach the others nothing.
        torch.nn.init.ones_(network.layers[-1].weight)
        return with_all_layers.trainer_of(network)

    return make


def train_losses(trainer, part):
    return [result.train_loss for result in trainer.epochs(part.training, part.validation)]


def test_auto_takes_a_gpu_if_there_is_one(monkeypatch):
    for has_gpu, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        assert resolve_device(Device.AUTO) == torch.device(device)
        assert resolve_device(Device.CPU) == torch.device("cpu")


def test_a_missing_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device is cuda, but torch .* finds no GPU"):
        resolve_device(Device.CUDA)


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize(
    ("precision", "tolerance"), [(Precision.FLOAT32, 1e-5), (Precision.BFLOAT16, 0.02)]
)
def test_torchs_operations_learn_what_compiled_loops_learn(
    make_trainer, part, monkeypatch, precision, tolerance
):
    compiled = make_trainer(precision)
    expected = train_losses(compiled, part)
    for module in WITH_COMPILED_LOOPS:
        monkeypatch.setattr(module, "uses_compiled_kernels", lambda tensor: False)  # noqa: ARG005
    composed = make_trainer(precision)
    assert train_losses(composed, part) == pytest.approx(expected, rel=tolerance)
    weights = compiled.network.state_dict()
    for name, weight in composed.network.state_dict().items():
        torch.testing.assert_close(weight, weights[name], atol=10 * tolerance, rtol=0)


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_a_step_on_another_device_never_falls_back_to_the_cpu(make_trainer, part, precision):
    trainer = make_trainer(precision, META)
    trainer.network.train()
    trainer._loss(trainer._minibatch(part.training, np.arange(64))).backward()
    with torch.no_grad():
        for optimiser in trainer.optimisers.all:
            for weight, state in optimiser.state.items():
                gradient = weight.grad
                assert {tensor.device for tensor in (gradient, *state.values())} == {META}
                if gradient.is_sparse:  # `meta` cannot sum its rows
                    rows, values = gradient._indices()[0], gradient._values()
                    optimiser.update_rows(weight, state, rows, values)
                else:
                    optimiser.update(weight, state, gradient)


@pytest.mark.usefixtures("with_bfloat16")
def test_auto_takes_bfloat16_if_the_layers_make_it_worthwhile():
    assert training_dtype(Precision.AUTO, PAPER, CPU) is torch.bfloat16
    assert training_dtype(Precision.AUTO, (300, 64, 32), CPU) is torch.float32
    assert training_dtype(Precision.AUTO, (), CPU) is torch.float32


@pytest.mark.usefixtures("with_bfloat16")
def test_a_requested_precision_is_taken_whatever_the_widths():
    for widths in (PAPER, (2, 2)):
        assert training_dtype(Precision.FLOAT32, widths, CPU) is torch.float32
        assert training_dtype(Precision.BFLOAT16, widths, CPU) is torch.bfloat16


def test_a_cpu_without_bfloat16_trains_in_float32_and_refuses_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert training_dtype(Precision.AUTO, PAPER, CPU) is torch.float32
    with pytest.raises(InputError, match=r"precision is bfloat16, but .*use auto or float32"):
        training_dtype(Precision.BFLOAT16, PAPER, CPU)


@pytest.mark.usefixtures("with_bfloat16")
def test_bfloat16_learns_the_same_to_its_three_digits_and_repeats_to_the_bit(world, part):
    def last_loss(precision):
        trainer = world.with_preset(training={"precision": precision}).trainer(part)
        return train_losses(trainer, part)[-1]

    exact, rounded, again = map(
        last_loss, (Precision.FLOAT32, Precision.BFLOAT16, Precision.BFLOAT16)
    )
    assert rounded == again
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.02)


@pytest.mark.usefixtures("with_bfloat16")
def test_weights_and_scores_stay_float32(world, part):
    exact, rounded = (
        world.with_preset(training={"precision": precision}).trainer(part).network
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    assert all(parameter.dtype is torch.float32 for parameter in rounded.parameters())
    for network in (exact, rounded):
        torch.nn.init.ones_(network.layers[-1].weight)  # a new one is 0
    rows = part.training.rows
    assert np.array_equal(logits(rounded, rows), logits(exact, rows))
    batch = Batch.from_encoded(rows, CPU)
    assert not torch.equal(rounded.train()(batch), exact.train()(batch))


def test_the_precision_setting_of_the_process_is_restored():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), fast_matmul():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_fast_products_are_exact_to_float32():
    draws = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 64, 300, generator=draws)
    with fast_matmul():
        product = left @ right.T
    expected = left.double() @ right.double().T
    torch.testing.assert_close(product.double(), expected, atol=1e-4, rtol=0)

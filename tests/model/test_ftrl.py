"""FTRL-Proximal against numbers computed by hand, a plain reference and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from widedeep.inputs import InputError
from widedeep.model.ftrl import (
    Ftrl,
    FtrlConfig,
    state_from_weight,
    step,
    weight_from_state,
    z_from_weight,
)

patient = settings(max_examples=60)

CONFIGS = st.builds(
    FtrlConfig,
    alpha=st.floats(0.01, 1),
    beta=st.floats(0.1, 2),
    l1=st.floats(0, 2),
    l2=st.floats(0, 2),
)
GRADIENTS = st.lists(st.floats(-5, 5).map(lambda g: round(g, 3)), min_size=1, max_size=30)


def zeros(size, dtype=torch.float64):
    return [torch.zeros(size, dtype=dtype) for _ in range(3)]


def reference(gradients, config):
    """Algorithm 1 of McMahan et al. 2013, line by line, for one coordinate in float64."""
    z = n = 0.0
    for g in gradients:
        w = reference_weight(z, n, config)
        sigma = ((n + g * g) ** 0.5 - n**0.5) / config.alpha
        z += g - sigma * w
        n += g * g
    return z, n, reference_weight(z, n, config)


def reference_weight(z, n, config):
    if abs(z) <= config.l1:
        return 0.0
    return -(z - np.sign(z) * config.l1) / ((config.beta + n**0.5) / config.alpha + config.l2)


def optimise(features, label, config, steps, l2=0.0):
    """Full-batch training of a logistic regression; returns the weights."""
    weight = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = Ftrl([weight], config)
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    for _ in range(steps):
        weight.grad = None
        (loss(features @ weight, label) + l2 / 2 * (weight**2).sum()).backward()
        optimiser.step()
    return weight.detach().numpy()


def regression():
    generator = np.random.default_rng(3)
    features = generator.normal(size=(200, 4))
    chance = 1 / (1 + np.exp(-features @ [1.0, -2.0, 0.5, 0.0]))
    label = (generator.random(200) < chance).astype(np.float64)
    return torch.from_numpy(features), torch.from_numpy(label)


def test_two_steps_give_the_numbers_computed_by_hand():
    config = FtrlConfig(alpha=0.1, beta=1.0, l1=1.0, l2=0.5)
    z, n, weight = zeros(1)
    step(z, n, weight, torch.tensor([3.0], dtype=torch.float64), config)
    assert (z.item(), n.item()) == (3.0, 9.0)
    assert weight.item() == pytest.approx(-2 / 40.5, rel=1e-15)
    step(z, n, weight, torch.tensor([-1.0], dtype=torch.float64), config)
    assert n.item() == 10.0
    assert z.item() == pytest.approx(2 + (10**0.5 - 3) / 0.1 * 2 / 40.5, rel=1e-14)
    assert weight.item() == pytest.approx(-0.02564257, rel=1e-6)


def test_a_gradient_that_does_not_exceed_l1_leaves_an_exact_zero():
    config = FtrlConfig(l1=1.0)
    z, n, weight = zeros(3)
    step(z, n, weight, torch.tensor([1.0, -1.0, 1.0001], dtype=torch.float64), config)
    assert weight[:2].tolist() == [0.0, 0.0]
    assert weight[2] < 0


@patient
@given(CONFIGS, st.lists(GRADIENTS, min_size=1, max_size=4))
def test_sequences_equal_the_reference(config, coordinates):
    length = min(map(len, coordinates))
    gradients = torch.tensor([c[:length] for c in coordinates], dtype=torch.float64)
    z, n, weight = zeros(len(coordinates))
    for gradient in gradients.T:
        step(z, n, weight, gradient, config)
    for i, row in enumerate(gradients.tolist()):
        stepped = (z[i].item(), n[i].item(), weight[i].item())
        assert stepped == pytest.approx(reference(row, config), rel=1e-9, abs=1e-9)


@patient
@given(CONFIGS, GRADIENTS)
def test_the_weight_is_always_the_one_its_state_determines(config, gradients):
    weight = torch.zeros(1, 1, requires_grad=True)
    optimiser = Ftrl([weight], config)
    state = optimiser.state[weight]
    for gradient in gradients:
        weight.grad = torch.tensor([[gradient]])
        optimiser.step()
        assert torch.equal(weight, weight_from_state(state["z"], state["n"], config))


@patient
@given(CONFIGS, st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=8))
def test_the_state_for_a_weight_determines_it(config, weights):
    weight = torch.tensor(weights, dtype=torch.float64)
    z, n = state_from_weight(weight, config)
    assert not n.any()
    restored = weight_from_state(z, n, config)
    torch.testing.assert_close(restored, weight, rtol=1e-9, atol=1e-12)
    assert not restored[weight == 0].any()


def test_an_initial_weight_is_moved_and_not_overwritten():
    config = FtrlConfig(alpha=0.1, beta=1.0, l1=1.0)
    weight = torch.tensor([[0.7]], requires_grad=True)
    optimiser = Ftrl([weight], config)
    weight.grad = torch.tensor([[0.01]])
    optimiser.step()
    assert weight.item() == pytest.approx(0.7 - 0.1 * 0.01 / 1.01, rel=1e-5)


def test_full_batch_training_reaches_the_ridge_optimum_of_scikit_learn():
    features, label = regression()
    weight = optimise(features, label, FtrlConfig(alpha=0.5, l1=0.0), 400, l2=2.0)
    ridge = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10).fit(features, label)
    np.testing.assert_allclose(weight, ridge.coef_[0], rtol=1e-4)


def test_a_strong_l1_leaves_all_weights_at_exactly_zero():
    features, label = regression()
    assert not optimise(features, label, FtrlConfig(alpha=0.5, l1=1e4), 50).any()


def test_l1_keeps_exactly_the_weights_whose_gradients_exceed_it():
    features, label = regression()
    gradient = features.T @ (0.5 - label)
    assert (gradient.abs() > 10).tolist() == [True, True, True, False]
    weight = optimise(features, label, FtrlConfig(alpha=0.5, l1=10.0), 1)
    assert (weight != 0).tolist() == [True, True, True, False]


def test_l2_shrinks_weights():
    features, label = regression()
    free, shrunk = (
        optimise(features, label, FtrlConfig(alpha=0.5, l1=0.0, l2=l2), 20) for l2 in (0.0, 1e3)
    )
    assert (np.abs(shrunk) < np.abs(free)).all()


@patient
@given(CONFIGS, CONFIGS, GRADIENTS)
def test_weights_survive_a_change_of_config(old, new, gradients):
    weight = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    before, after = Ftrl([weight], old), Ftrl([weight], new)
    for gradient in gradients:
        weight.grad = torch.tensor([[gradient], [-2 * gradient]], dtype=torch.float64)
        before.step()
    for name, value in before.state[weight].items():
        after.state[weight][name].copy_(value)
    after.keep_weights()
    state = after.state[weight]
    restored = weight_from_state(state["z"], state["n"], new)
    torch.testing.assert_close(restored, weight.detach(), rtol=1e-9, atol=1e-12)
    assert torch.equal(restored == 0, weight == 0)


def test_z_determines_the_weight_together_with_past_gradients():
    config = FtrlConfig(alpha=0.1, beta=1.0, l1=2.0, l2=0.3)
    weight, n = torch.tensor([0.5, -0.5, 0.0]), torch.tensor([4.0, 9.0, 9.0])
    torch.testing.assert_close(
        weight_from_state(z_from_weight(weight, n, config), n, config), weight
    )


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"beta": 0.0}, {"l1": -1.0}, {"l2": -0.1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match=r"FtrlConfig.*expected alpha and beta above 0"):
        FtrlConfig(**wrong)

"""The curve over L1 counts what FTRL's own rule would keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep.evaluation.sparsity import MULTIPLES, sparsity_curve
from widedeep.model.ftrl import FtrlConfig, weight_from
from widedeep.model.network import NetworkConfig
from widedeep.model.training import TrainingConfig


@pytest.fixture(scope="module")
def model(make_transform, make_model):
    """Its z are spread evenly, and its weights are what FTRL makes of them."""
    model = make_model(make_transform(), {}, l1=2.0)
    z, n = model.state["wide/z"], model.state["wide/n"]
    z.copy_(torch.linspace(-4, 4, len(z))[:, None])
    model.network.wide.data.copy_(weight_from(z, n, model.training.ftrl))
    return model


def test_at_the_present_l1_it_counts_the_weights_there_are(model):
    curve = sparsity_curve(model)
    (present,) = curve[curve["present"]].itertuples()
    assert present.l1 == 2.0
    assert 0 < present.nonzero == np.count_nonzero(model.wide_weights) < len(model.wide_weights)


def test_each_count_is_that_of_the_weights_another_l1_would_make(model):
    z, n = model.state["wide/z"], model.state["wide/n"]
    curve = sparsity_curve(model, np.array([0.0, 0.5, 3.0, 4.0, 9.0]))
    for point in curve.itertuples():
        weights = weight_from(z, n, replace(model.training.ftrl, l1=point.l1))
        assert point.nonzero == (weights != 0).sum()
    assert curve["l1"].tolist() == [0.0, 0.5, 2.0, 3.0, 4.0, 9.0]
    assert curve["nonzero"].is_monotonic_decreasing


def test_a_model_without_l1_has_a_curve_too(model):
    free = replace(model, training=TrainingConfig(ftrl=FtrlConfig(l1=0.0)))
    curve = sparsity_curve(free)
    assert curve["l1"].tolist() == list(MULTIPLES)
    assert curve[curve["present"]]["l1"].tolist() == [0.0]


def test_a_model_without_a_wide_part_keeps_nothing(make_transform, make_model):
    config = NetworkConfig(embedding=2, hidden=(3,), wide=False)
    curve = sparsity_curve(make_model(make_transform(), {}, config=config))
    assert not curve["nonzero"].any()

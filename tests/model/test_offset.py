"""A new network begins from the offset as far as the labels bear it out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep.features.encoded import Encoded
from widedeep.features.ragged import Ragged
from widedeep.features.training_set import Examples
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.offset import begin_from_offset


def network():
    shape = InputShape({}, (), (), 0, 1)
    return WideDeep(NetworkConfig(deep=False), shape, torch.Generator())


def examples(offset, label):
    rows = len(offset)
    encoded = Encoded(
        np.empty((rows, 0), np.int32),
        (),
        np.empty((rows, 0), np.float32),
        Ragged.from_lengths(np.empty(0, np.int32), np.zeros(rows, np.int64)),
        offset.astype(np.float32),
    )
    return Examples(encoded, label, np.ones(rows, np.float32))


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (0.4, -0.3), (2.0, 0.5)])
def test_slope_and_bias_are_those_by_which_the_labels_were_drawn(slope, bias):
    generator = np.random.default_rng(0)
    offset = generator.normal(0.7, 1.0, 60_000)
    label = generator.random(60_000) < 1 / (1 + np.exp(-slope * offset - bias))
    begun = network()

    begin_from_offset(begun, examples(offset, label))

    assert begun.slope.item() == pytest.approx(slope, abs=0.05)
    assert begun.bias.item() == pytest.approx(bias, abs=0.05)


def test_weights_count():
    generator = np.random.default_rng(0)
    offset = generator.normal(size=20_000)
    believed = generator.random(20_000) < 1 / (1 + np.exp(-offset))
    rows = examples(np.tile(offset, 2), np.concatenate([believed, ~believed]))
    weight = np.repeat([1.0, 1e-6], 20_000).astype(np.float32)
    begun = network()

    begin_from_offset(begun, replace(rows, weight=weight))

    assert begun.slope.item() == pytest.approx(1, abs=0.1)


def test_an_offset_that_tells_everything_stays_finite():
    offset = np.array([-1.0, -2.0, 1.0, 2.0])
    begun = network()

    begin_from_offset(begun, examples(offset, offset > 0))

    assert 1 < begun.slope.item() < 1e4


def test_without_an_offset_nothing_changes():
    begun = network()

    begin_from_offset(begun, examples(np.zeros(4), np.array([True, False, True, True])))

    assert (begun.slope.item(), begun.bias.item()) == (1, 0)

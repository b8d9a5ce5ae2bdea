"""Rows on their way to the device."""

import numpy as np
import torch

from widedeep.model.batch import Batch

CPU = torch.device("cpu")


def test_a_batch_holds_the_rows_it_was_made_of(world):
    rows = world.transform().encode(world.raw(1, rows=7))
    batch = Batch.from_encoded(rows, CPU)
    assert batch.categories.tolist() == rows.categories.tolist()
    assert batch.numbers.tolist() == rows.numbers.normalised().tolist()
    for (ids, begins), bag in zip((*batch.bags, batch.wide), (*rows.bags, rows.wide), strict=True):
        assert ids.tolist() == bag.values.tolist()
        assert begins.tolist() == bag.offsets[:-1].tolist()
        assert ids.dtype == begins.dtype == torch.int64
    assert batch.categories.dtype == torch.int64
    assert batch.numbers.dtype == torch.float32


def test_a_batch_of_no_rows_is_a_batch(world):
    rows = world.transform().encode(world.raw(1)).take(np.empty(0, np.int64))
    batch = Batch.from_encoded(rows, CPU)
    assert batch.categories.shape == (0, 3)
    assert batch.wide[1].shape == (0,)

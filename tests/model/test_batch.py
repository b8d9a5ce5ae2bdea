"""Rows and masks on their way to the device."""

import numpy as np
import torch

from widedeep.model.batch import KEEP_ALL, Batch, DropoutMasks
from widedeep.model.compute import CPU

META = torch.device("meta")


def test_a_batch_holds_the_rows_it_was_made_of(world):
    rows = world.transform().encode(world.raw(1, rows=7))
    batch = Batch.from_encoded(rows, CPU)
    assert batch.categories.tolist() == rows.categories.tolist()
    assert batch.numbers.tolist() == rows.numbers.normalised().tolist()
    for (codes, starts), bag in zip(
        (*batch.bags, batch.wide), (*rows.bags, rows.wide), strict=True
    ):
        assert codes.tolist() == bag.values.tolist()
        assert starts.tolist() == bag.offsets[:-1].tolist()
        assert codes.dtype == starts.dtype == torch.int64
    assert batch.categories.dtype == torch.int64
    assert batch.numbers.dtype == torch.float32


def test_a_batch_of_no_rows_is_a_batch(world):
    rows = world.transform().encode(world.raw(1)).select_rows(np.empty(0, np.int64))
    batch = Batch.from_encoded(rows, CPU)
    assert batch.categories.shape == (0, 3)
    assert batch.wide[1].shape == (0,)


def test_dropout_masks_move_to_a_device():
    codes, units = torch.ones(2, 3, dtype=torch.bool), (torch.ones(2, 4, dtype=torch.bool),)
    moved = DropoutMasks(codes, None, units).to(META)
    assert moved.codes.device == moved.units[0].device == META
    assert moved.numbers is None
    assert KEEP_ALL.to(META) == KEEP_ALL

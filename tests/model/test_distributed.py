"""Replicas make one process's steps: dropout, sparse rows, metrics and all."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from widedeep.model.trainer import Optimisers, Trainer

PROJECT = Path(__file__).resolve().parents[2]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
"""Of float32: the replicas add up the same numbers in another order. A batch of 64 has 601 rows'
last one with 25, so shares are uneven, too."""


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    size, command = 3, [sys.executable, "-m", "tests.model.replica", str(folder)]
    started = [
        subprocess.Popen([*command, str(rank), str(size)], cwd=PROJECT) for rank in range(size)
    ]
    assert [process.wait(300) for process in started] == [0] * size
    return [load_file(folder / f"{rank}.safetensors") for rank in range(size)]


@pytest.fixture(scope="module")
def alone(world):
    rows = world.training_set(lambda raw: raw.queries.item % 3 == 0, rows=601)
    network = world.network(rows.transform, seed=0)
    network.generator.manual_seed(7)
    optimisers = Optimisers(network, world.preset.training)
    trainer = Trainer(network, optimisers, world.preset.training, np.random.default_rng(5))
    results = list(trainer.epochs(rows.training, rows.validation))
    figures = [[r.train_loss, r.validation_loss, r.validation_auc] for r in results]
    return {**network.state_dict(), **optimisers.state(), "figures": torch.tensor(figures)}


def test_they_find_what_one_process_finds(replicas, alone):
    assert replicas[0].keys() == alone.keys()
    for name, wanted in alone.items():
        torch.testing.assert_close(replicas[0][name], wanted, **TOLERANCE, msg=name)


def test_they_are_equal_to_the_bit(replicas):
    for other in replicas[1:]:
        assert all(torch.equal(value, other[name]) for name, value in replicas[0].items())

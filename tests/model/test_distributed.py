"""Replicas together make the steps of one process: dropout, sparse rows, metrics and all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.model.replica import trained

PROJECT = Path(__file__).resolve().parents[2]
SIZE = 3
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
"""Of float32: replicas add up the same numbers in another order."""


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    command = [sys.executable, "-m", "tests.model.replica", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    processes = [
        subprocess.Popen([*command, str(rank), str(SIZE)], cwd=PROJECT, env=environment)
        for rank in range(SIZE)
    ]
    assert [process.wait(300) for process in processes] == [0] * SIZE
    return [load_file(folder / f"{rank}.safetensors") for rank in range(SIZE)]


@pytest.fixture(scope="module")
def single():
    return trained(seed=0)


def test_replicas_learn_what_one_process_learns(replicas, single):
    assert replicas[0].keys() == single.keys()
    for name, expected in single.items():
        torch.testing.assert_close(replicas[0][name], expected, **TOLERANCE, msg=name)


def test_replicas_are_equal_to_the_bit(replicas):
    for other in replicas[1:]:
        assert all(torch.equal(value, other[name]) for name, value in replicas[0].items())

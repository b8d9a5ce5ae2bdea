"""A shared file is there for another process while its own holds it, and then gone.

Records of arrays come back from their file as they were, and may be changed.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from widedeep.data.tables import Interactions
from widedeep.serving.handoff import SharedFile, load_record, save_record

WRITE = """
import sys, pathlib
from tasks.shared_file import SharedFile
held = SharedFile()
held.path.write_bytes(b"said by another")
print(held.path, flush=True)
sys.stdin.read()
"""


def test_another_process_reads_what_this_one_holds():
    with subprocess.Popen(
        [sys.executable, "-c", WRITE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        path = Path(other.stdout.readline().strip())
        assert path.read_bytes() == b"said by another"
        other.kill()
        other.wait()
        assert not path.exists(), "nothing is left of it, however its process ended"


def test_who_has_mapped_it_keeps_it():
    held = SharedFile()
    column = np.arange(3)
    save_record(Interactions(column, column, column.astype(np.int8), column), held.path)
    found = load_record(Interactions, held.path)
    held.close()
    with pytest.raises(FileNotFoundError):
        load_record(Interactions, held.path)
    assert found.item.tolist() == [0, 1, 2]


class Inner(NamedTuple):
    weights: NDArray[np.float32]
    empty: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    tokens: NDArray[np.int64]
    words: NDArray[Any]
    towers: tuple[Tensor, ...]
    by_name: Mapping[str, Inner]
    share: float
    count: int
    missing: float | None


@pytest.fixture
def path(tmp_path):
    inner = Inner(np.arange(6, dtype=np.float32).reshape(2, 3).T, np.empty(0, np.int8))
    words = np.array(["드라마", "", "a longer word than fits"], np.dtypes.StringDType())
    towers = (torch.arange(3, dtype=torch.bfloat16), torch.ones(2, 1).T)
    tokens = np.array([2**40, -1])
    record = Outer(inner, tokens, words, towers, {"one": inner}, 0.1, 7, None)
    save_record(record, tmp_path / "record")
    return tmp_path / "record"


def test_a_record_is_what_was_saved(path):
    found = load_record(Outer, path)
    assert (found.share, found.count, found.tokens.tolist()) == (0.1, 7, [2**40, -1])
    assert found.inner.weights.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (found.inner.weights.dtype, found.inner.empty.dtype) == (np.float32, np.int8)
    assert found.words.tolist() == ["드라마", "", "a longer word than fits"]
    assert found.words.dtype == np.dtypes.StringDType()
    assert [tower.tolist() for tower in found.towers] == [[0, 1, 2], [[1, 1]]]
    assert [tower.dtype for tower in found.towers] == [torch.bfloat16, torch.float32]
    assert found.by_name["one"].weights.tolist() == found.inner.weights.tolist()
    assert found.missing is None


def test_changes_stay_with_who_makes_them_though_the_file_loses_its_name(path):
    one, other = load_record(Outer, path), load_record(Outer, path)
    path.unlink()
    one.inner.weights[0] = 9
    one.tokens[:] = 0
    assert other.inner.weights[0].tolist() == [0, 3]
    assert other.tokens.tolist() == [2**40, -1]


def test_what_is_missing_is_named(path):
    with pytest.raises(KeyError, match="share"):
        load_record(Other, path)


@dataclass(frozen=True, slots=True)
class Other:
    shares: NDArray[np.float64]

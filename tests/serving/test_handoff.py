"""Records of arrays reach another process by a file: equal, changeable, and gone with its owner."""

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

from tests.worlds import rated
from widedeep.data.tables import Interactions
from widedeep.serving.handoff import SharedFile, load_record, save_record

OWNER = """
import sys
from widedeep.serving.handoff import SharedFile
shared = SharedFile()
shared.path.write_bytes(b"from another process")
print(shared.path, flush=True)
sys.stdin.read()
"""


class Inner(NamedTuple):
    weights: NDArray[np.float32]
    empty: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    ids: NDArray[np.int64]
    words: NDArray[Any]
    towers: tuple[Tensor, ...]
    by_name: Mapping[str, Inner]
    dtype: torch.dtype
    share: float
    count: int
    missing: float | None


@dataclass(frozen=True, slots=True)
class Other:
    shares: NDArray[np.float64]


@pytest.fixture
def path(tmp_path):
    inner = Inner(np.arange(6, dtype=np.float32).reshape(2, 3).T, np.empty(0, np.int8))
    words = np.array(["드라마", "", "a longer word than fits"], np.dtypes.StringDType())
    towers = (torch.arange(3, dtype=torch.bfloat16), torch.ones(2, 1).T)
    ids = np.array([2**40, -1])
    record = Outer(inner, ids, words, towers, {"first": inner}, torch.bfloat16, 0.1, 7, None)
    save_record(record, tmp_path / "record")
    return tmp_path / "record"


def test_a_record_is_what_was_saved(path):
    record = load_record(Outer, path)
    assert (record.share, record.count, record.ids.tolist()) == (0.1, 7, [2**40, -1])
    assert record.inner.weights.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (record.inner.weights.dtype, record.inner.empty.dtype) == (np.float32, np.int8)
    assert record.words.tolist() == ["드라마", "", "a longer word than fits"]
    assert record.words.dtype == np.dtypes.StringDType()
    assert [tower.tolist() for tower in record.towers] == [[0, 1, 2], [[1, 1]]]
    assert [tower.dtype for tower in record.towers] == [torch.bfloat16, torch.float32]
    assert record.by_name["first"].weights.tolist() == record.inner.weights.tolist()
    assert record.dtype == torch.bfloat16
    assert record.missing is None


def test_changes_stay_in_their_process_though_the_file_loses_its_name(path):
    changed, other = load_record(Outer, path), load_record(Outer, path)
    path.unlink()
    changed.inner.weights[0] = 9
    changed.ids[:] = 0
    assert other.inner.weights[0].tolist() == [0, 3]
    assert other.ids.tolist() == [2**40, -1]


def test_a_missing_attribute_is_named(path):
    with pytest.raises(KeyError, match="shares"):
        load_record(Other, path)


def test_another_process_reads_what_this_one_holds():
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        path = Path(owner.stdout.readline().strip())
        assert path.read_bytes() == b"from another process"
        owner.kill()
        owner.wait()
        assert not path.exists(), "nothing is left of it, however its process ended"


def test_a_process_that_has_mapped_a_file_keeps_it():
    shared = SharedFile()
    column = np.arange(3)
    save_record(rated(column, column, column, column), shared.path)
    record = load_record(Interactions, shared.path)
    shared.close()
    with pytest.raises(FileNotFoundError):
        load_record(Interactions, shared.path)
    assert record.item.tolist() == [0, 1, 2]

"""Records of arrays come back from their file as they were, and may be changed."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from widedeep.record_file import load_record, save_record


class Inner(NamedTuple):
    weights: NDArray[np.float32]
    empty: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    tokens: NDArray[np.int64]
    share: float
    count: int


@pytest.fixture
def path(tmp_path):
    inner = Inner(np.arange(6, dtype=np.float32).reshape(2, 3).T, np.empty(0, np.int8))
    record = Outer(inner, np.array([2**40, -1]), 0.1, 7)
    save_record(record, tmp_path / "record.safetensors")
    return tmp_path / "record.safetensors"


def test_a_record_is_what_was_saved(path):
    found = load_record(Outer, path)
    assert (found.share, found.count, found.tokens.tolist()) == (0.1, 7, [2**40, -1])
    assert found.inner.weights.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (found.inner.weights.dtype, found.inner.empty.dtype) == (np.float32, np.int8)


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

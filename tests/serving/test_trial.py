"""A version that would answer wrongly, or not at all, does not get to serve."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from widedeep.evaluation.golden import GOLDEN, GoldenRequests
from widedeep.model.precision import Precision
from widedeep.serving.trial import try_out


@pytest.fixture
def version(versions, tmp_path):
    """A copy that a test may spoil."""
    folder = shutil.copytree(versions[0].served.parent, tmp_path / "version")
    return replace(versions[0], served=folder / "model", history=folder / "history")


def cut_weights(version):
    path = version.served / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def lose_ratings(version):
    (version.history / "ratings.parquet").unlink()


def take_another_format(version):
    path = version.served / "model.json"
    path.write_text(path.read_text().replace('"format": ', '"format": 9'))


def mix_up_models(version):
    """The history of one version beside the weights of another."""
    golden = GoldenRequests.load(version.history / GOLDEN)
    replace(golden, probability=np.clip(golden.probability + 0.01, 0, 1)).save(
        version.history / GOLDEN
    )


def spoil_weights(version):
    """NaN in every score."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(version.served / "weights.safetensors")
    weights["bias"] = weights["bias"] * np.float32("nan")
    save_file(weights, version.served / "weights.safetensors")


def test_a_sound_version_has_no_fault(versions):
    assert [try_out(version, Precision.AUTO) for version in versions] == [None, None]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (cut_weights, "cannot be loaded and asked"),
        (lose_ratings, "cannot be loaded and asked"),
        (take_another_format, "a model of format 93"),
        (mix_up_models, "answers in float32 differ by up to 0.01"),
        (spoil_weights, "answers in float32 differ by up to nan"),
    ],
)
def test_what_is_wrong_is_said(version, spoil, fault):
    spoil(version)
    assert fault in try_out(version, Precision.AUTO)

"""The commands with `--engine ray`: same features and lists, scores as far as floats allow."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

PROJECT = Path(__file__).resolve().parents[2]


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments), "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def homes(tiny, tmp_path_factory):
    """A home and the object that `retrain --json` printed there, by engine."""
    folder = tmp_path_factory.mktemp("homes")
    return {
        engine: (folder / engine, retrain(tiny, folder / engine, engine))
        for engine in ("local", "ray")
    }


def retrain(data, workspace, engine):
    # In bfloat16 a share of a minibatch is rounded otherwise than the whole from the first step on.
    how = ("--engine", engine, "--precision", "float32")
    return command("retrain", "--data", data, "--home", workspace, *how)


def test_a_retrain_on_ray_finds_what_a_local_one_finds(homes):
    local, there = (found for _, found in homes.values())
    assert there.keys() == local.keys()
    for name in ("data", "as_of", "mode", "rows", "split", "decision", "model", "version"):
        assert there[name] == local[name]
    for protocol, metrics in local["challenger"].items():
        found = there["challenger"][protocol]
        assert found.keys() == metrics.keys()
        assert found["log_loss"] == pytest.approx(metrics["log_loss"], abs=1e-3)
        assert found["auc"] == pytest.approx(metrics["auc"], abs=5e-3)  # of 379 rows


def test_its_curve_is_the_local_one_until_a_weight_crosses_a_threshold(homes):
    """L1 and ReLU make a difference of the last bit a large one, sooner or later."""
    local, there = (curve(workspace) for workspace, _ in homes.values())
    assert len(local) > 5
    for wanted, found in zip(local[:5], there[:5], strict=True):
        for name in ("epoch", "train_loss", "validation_loss", "validation_auc"):
            assert found[name] == pytest.approx(wanted[name], rel=1e-5)


def test_its_ratings_and_features_have_the_same_id_and_content(homes):
    for kind in ("ratings", "features"):
        local, there = (contents(workspace / "stages" / kind) for workspace, _ in homes.values())
        assert local
        assert there == local


def curve(workspace):
    (manifest,) = (workspace / "stages" / "models").glob("*/manifest.json")
    return json.loads(manifest.read_text())["summary"]["curve"]


def contents(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_lists_are_the_same(homes, tmp_path):
    workspace, _ = homes["ray"]
    tables = []
    for engine in ("local", "ray"):
        out = tmp_path / f"{engine}.parquet"
        asked = ("rank", "all", "--version", "1", "--home", workspace, "--out", out)
        found = command(*asked, "--engine", engine)
        assert found["rows"] > 0
        tables.append(pq.read_table(out))
    assert tables[0].equals(tables[1])

"""Ratings and features on Ray are those of the local engine, file by file and byte by byte."""

from functools import partial

import numpy as np
import pytest

from tests.worlds import ingest
from widedeep.features.training_data import STREAMING, TrainingData, cold_parts, warm_parts
from widedeep.inputs import InputError
from widedeep.store import ArtifactStore


def files(folder):
    """Relative name and bytes of every file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("cut", [{"pieces": 1}, {"pieces": 5}, {"pieces": 1, "rows": 301}])
def test_a_cold_plan_is_the_same_whatever_the_pieces(
    cluster, world, settings, plan_folder, tmp_path, cut
):
    del cluster
    from tasks.on_ray.data import RayEngine

    engines = partial(RayEngine, **cut)
    learned = settings.features, settings.sampling
    TrainingData.from_parts(cold_parts(*world, *learned, make_engine=engines)).save(
        tmp_path / "plan"
    )
    assert files(tmp_path / "plan") == files(plan_folder)


def test_a_warm_plan_is_the_same(cluster, world, settings, plan, tmp_path):
    interactions, tables, split = world
    previous = plan.catch_up.transform, split.holdout_from
    known = interactions, tables, split.as_of, settings.sampling, *previous
    TrainingData.from_parts(warm_parts(*known)).save(tmp_path / "local")
    TrainingData.from_parts(warm_parts(*known, make_engine=cluster.feature_engines(tmp_path))).save(
        tmp_path / "ray"
    )
    assert files(tmp_path / "ray") == files(tmp_path / "local")


def test_nothing_new_is_no_trouble(cluster, world, settings, plan, tmp_path):
    interactions, tables, split = world
    previous = plan.catch_up.transform, split.holdout_from
    known = interactions, tables, split.holdout_from, settings.sampling, *previous
    found = TrainingData.from_parts(
        warm_parts(*known, make_engine=cluster.feature_engines(tmp_path))
    ).catch_up
    assert not len(found.training)
    assert STREAMING not in found.validation
    assert found.support.rows == int((interactions.time < split.holdout_from).sum())


def test_ratings_are_checked_alike(cluster, world_of_files, tmp_path, monkeypatch):
    monkeypatch.setattr("widedeep.data.files._BLOCK", 1 << 12)
    stores = [ArtifactStore(tmp_path / name) for name in ("local", "ray")]
    local = ingest(world_of_files, stores[0], 1_800_000_000)
    there = ingest(world_of_files, stores[1], 1_800_000_000, None, cluster.row_checker())
    assert local.summary["counts"]["quarantined"] == 3
    assert (there.id, there.summary) == (local.id, local.summary)
    assert files(there.path) == files(local.path)


def test_what_is_no_file_of_ratings_is_said_alike(cluster, world_of_files, tmp_path):
    rates = world_of_files / "rates.csv"
    rates.write_text(rates.read_text().replace(",10,", ",eleven,"))
    with pytest.raises(InputError, match="more than 10% of its") as here:
        ingest(world_of_files, ArtifactStore(tmp_path / "local"), 1_800_000_000)
    with pytest.raises(InputError) as there:
        ingest(
            world_of_files,
            ArtifactStore(tmp_path / "ray"),
            1_800_000_000,
            None,
            cluster.row_checker(),
        )
    assert str(there.value) == str(here.value)


@pytest.fixture
def world_of_files(tiny, tmp_path):
    """Rating files with a malformed row, a rate out of range and one that is no number."""
    import shutil

    folder = shutil.copytree(tiny, tmp_path / "files")
    rates = folder / "rates.csv"
    lines = rates.read_text().splitlines()
    item = lines[1].split(",")[1]
    lines[100:100] = ["1,2", f"1,{item},11,1500000000", f"1,{item},x,1500000000"]
    rates.write_text("\n".join(lines) + "\n")
    return folder


def test_scores_are_those_of_the_local_engine(cluster, world, plan, settings):
    from widedeep.evaluation.scoring import model_scorer
    from widedeep.features.training_data import queries_by_protocol
    from widedeep.model.fitting import TrainingRun

    interactions, tables, split = world
    fitting = TrainingRun(plan, settings, None, 0)
    list(fitting.epochs())
    model = fitting.trained_model()
    asked = queries_by_protocol(interactions, split.holdout(interactions.time), split.holdout_from)
    here, there = (scorer(model, interactions, tables) for scorer in (model_scorer, cluster.scorer))
    for part in asked.values():
        np.testing.assert_allclose(there(part), here(part), rtol=1e-5, atol=1e-6)

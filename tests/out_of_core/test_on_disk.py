"""Features in blocks on disk are those in memory, file by file and byte by byte."""

from functools import partial

import numpy as np
import pytest

from tests.worlds import KMRD, ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.features.attributes import FeatureTables
from widedeep.features.engine import InMemoryEngine
from widedeep.features.training_data import (
    TrainingPart,
    cold_parts,
    example_queries,
    save_parts,
    warm_parts,
)
from widedeep.model.presets import get_preset
from widedeep.out_of_core.on_disk import OnDiskEngine, engine_by_size
from widedeep.store import ArtifactStore


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory):
    """Interactions, item table and split of some thousand ratings."""
    store = ArtifactStore(tmp_path_factory.mktemp("stages"))
    ingested = IngestedData(ingest(tiny, store, 1_800_000_000))
    interactions = ingested.interactions()
    moments = [int(interactions.time[int(len(interactions) * share)]) for share in (0.7, 0.85)]
    return (
        interactions,
        FeatureTables.from_side_tables(ingested.side_tables()),
        Split(*moments, int(interactions.time[-1]) + 1),
    )


@pytest.fixture(scope="module")
def settings():
    preset = get_preset("default", KMRD)
    return preset.features, preset.sampling


@pytest.fixture(scope="module")
def cold(world, settings, tmp_path_factory):
    """The folder with the training data of a cold start that was made in memory."""
    folder = tmp_path_factory.mktemp("cold")
    save_parts(cold_parts(*world, *settings), folder)
    return folder


@pytest.fixture
def previous(cold, world):
    """The transform of the model to continue, and the moment until which it learned."""
    return TrainingPart.load(cold / "catch_up").transform, world[2].holdout_from


def files(folder):
    """Relative name and bytes of every file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("block", [701, 100_000])
def test_a_cold_start_is_the_same_however_the_blocks_are_cut(
    world, settings, cold, tmp_path, block
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    make_engine = partial(OnDiskEngine, folder=scratch, block=block)

    save_parts(cold_parts(*world, *settings, make_engine=make_engine), tmp_path / "disk")

    assert files(tmp_path / "disk") == files(cold)
    assert not list(scratch.iterdir())


def test_crosses_may_be_counted_in_shares(world, settings, cold, tmp_path, monkeypatch):
    monkeypatch.setattr("widedeep.out_of_core.blocks._FEW", 100)
    monkeypatch.setattr("widedeep.out_of_core.blocks._GATHERED", 50_000)
    make_engine = partial(OnDiskEngine, folder=tmp_path, block=2000)

    save_parts(cold_parts(*world, *settings, make_engine=make_engine), tmp_path / "disk")

    assert files(tmp_path / "disk") == files(cold)


def test_a_warm_start_is_the_same(world, settings, previous, tmp_path):
    interactions, tables, split = world
    arguments = interactions, tables, split.as_of, settings[1], *previous
    make_engine = partial(OnDiskEngine, folder=tmp_path, block=900)

    save_parts(warm_parts(*arguments), tmp_path / "memory")
    save_parts(warm_parts(*arguments, make_engine=make_engine), tmp_path / "disk")

    assert files(tmp_path / "disk") == files(tmp_path / "memory")


def test_a_warm_start_may_have_nothing_new(world, settings, previous, tmp_path):
    interactions, tables, split = world
    arguments = interactions, tables, split.holdout_from, settings[1], *previous
    make_engine = partial(OnDiskEngine, folder=tmp_path, block=900)

    ((_, part),) = warm_parts(*arguments, make_engine=make_engine)

    assert not len(part.training)
    assert part.support.rows == int((interactions.time < split.holdout_from).sum())


def test_data_too_large_for_memory_goes_to_disk(world, settings, tmp_path, monkeypatch):
    interactions, tables, _ = world
    arguments = (interactions, tables, settings[0], 0.6)

    assert isinstance(engine_by_size(*arguments, folder=tmp_path), InMemoryEngine)
    monkeypatch.setattr("widedeep.out_of_core.on_disk.MOST_IN_MEMORY", len(interactions) - 1)
    assert isinstance(engine_by_size(*arguments, folder=tmp_path), OnDiskEngine)


def test_rows_come_in_the_order_in_which_they_were_selected(world, settings, tmp_path):
    interactions, tables, _ = world
    engine = OnDiskEngine(interactions, tables, settings[0], 0.6, tmp_path, 500)
    fresh = example_queries(interactions, np.ones(len(interactions), np.bool_))
    cuts = np.random.default_rng(0).integers(0, 800 * 86_400, len(interactions))

    rows = engine.compute_features(fresh.known_earlier(cuts))

    assert not list(tmp_path.iterdir()), "a file without a name is gone with its process"
    selection = np.random.default_rng(1).permutation(len(interactions))[:1000]
    users = rows.select_rows(selection).gather(lambda raw: raw.queries.user)
    assert np.array_equal(users, interactions.user[selection])

"""A real local Ray of two workers, for all tests here: `make test-ray`."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine import Engine
from tests.worlds import KMRD, ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.features.attributes import FeatureTables
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.inputs import EngineName
from widedeep.model.presets import get_preset
from widedeep.store import ArtifactStore
from widedeep.workspace import Workspace

RAY = Engine(engine=EngineName.RAY, workers=2)
PRESET = get_preset("default", KMRD)
PRESET = replace(
    PRESET,
    network=replace(PRESET.network, hidden=(32, 16)),
    training=replace(PRESET.training, batch=256, epochs=3, patience=3),
)


def pytest_collection_modifyitems(items):
    """They take minutes and the extra, so they are asked for; what Ray warns of is its own."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings("ignore:::ray[.].*"))
            if "WIDEDEEP_TEST_RAY" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="on a real Ray: make test-ray"))


@pytest.fixture(scope="package")
def cluster(tmp_path_factory):
    with RAY.running(Workspace(tmp_path_factory.mktemp("ray"))):
        yield RAY


@pytest.fixture(scope="package")
def ratings(tiny, tmp_path_factory):
    store = ArtifactStore(tmp_path_factory.mktemp("stages"))
    return IngestedData(ingest(tiny, store, 1_800_000_000))


@pytest.fixture(scope="package")
def world(ratings):
    """Log, item table and split of some thousand ratings."""
    interactions = ratings.interactions()
    moments = [int(interactions.time[int(len(interactions) * share)]) for share in (0.7, 0.85)]
    split = Split(*moments, int(interactions.time[-1]) + 1)
    return interactions, FeatureTables.from_side_tables(ratings.side_tables()), split


@pytest.fixture(scope="package")
def settings():
    """The default preset with a small network and few epochs."""
    return PRESET


@pytest.fixture(scope="package")
def plan(world):
    return TrainingData.from_parts(cold_parts(*world, PRESET.features, PRESET.sampling))


@pytest.fixture(scope="package")
def plan_folder(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan") / "plan"
    plan.save(folder)
    return folder

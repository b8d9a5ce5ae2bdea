"""Wide parts made by hand, with known words, weights and counts; simulated ratings and models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worlds import KMRD, ingest, items_of, side_of
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.naming import DisplayNames
from widedeep.features.attributes import FeatureTables
from widedeep.features.encoded import FeatureSupport
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.features.wide_ids import wide_blocks
from widedeep.model.fitting import TrainingRun
from widedeep.model.ftrl import FtrlConfig
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import Optimisers, TrainingConfig
from widedeep.store import ArtifactStore

TITLES = {
    1: ("매트릭스", "The Matrix"),
    2: ("매트릭스 2", "The Matrix Reloaded"),
    3: ("유보트", "The Boat"),
    4: ("아리랑", ""),
    5: ("", ""),
    6: ("새|鳥", "Good Morning, Vietnam"),
}
PEOPLE = {5: ("키아누 리브스", "Keanu Reeves"), 8: ("송강호", "")}


@pytest.fixture(scope="session")
def make_model():
    """Return a function that makes a model of a transform with the given weights by wide id."""

    def make(transform, weights, l1=1.0, support=None, config=None):
        training = TrainingConfig(ftrl=FtrlConfig(l1=l1))
        config = config or NetworkConfig(embedding=2, hidden=(3,))
        shape = InputShape.from_transform(transform)
        network = WideDeep(config, shape, torch.Generator().manual_seed(0))
        with torch.no_grad():
            for wide_id, weight in weights.items():
                network.wide[wide_id] = weight
        state = Optimisers(network, training).state()
        zeros = np.zeros(transform.wide_size, np.int64)
        support = support or FeatureSupport(zeros, zeros, 0, 0)
        return TrainedModel(transform, network, training, state, 2000, support)

    return make


@pytest.fixture(scope="session")
def find_wide_id():
    """Return a function that finds the wide id of a block's feature by the codes of its parts."""

    def find(transform, name, *codes):
        block = next(block for block in wide_blocks(transform) if block.name == name)
        matches = [column == code for column, code in zip(block.codes, codes, strict=True)]
        return block.first + int(np.flatnonzero(np.all(matches, axis=0))[0])

    return find


@pytest.fixture(scope="session")
def side():
    """Return tables of items and of people as ingest writes them."""
    items = [{"item": key, "title_ko": k, "title_en": e} for key, (k, e) in TITLES.items()]
    return side_of(items_of(*items), [(key, *names) for key, names in PEOPLE.items()])


@pytest.fixture(scope="session")
def names(side):
    return DisplayNames.from_tables(side)


@pytest.fixture(scope="session")
def ratings(simulated, tmp_path_factory):
    """Return the simulated data, ingested."""
    store = ArtifactStore(tmp_path_factory.mktemp("stages"))
    return IngestedData(ingest(simulated, store, 1_700_000_000))


@pytest.fixture(scope="session")
def world(ratings):
    """Return interactions, item table and split of the simulated data."""
    interactions = ratings.interactions()
    split = Split.from_times(interactions.time, ratings.last_time + 1)
    return interactions, FeatureTables.from_side_tables(ratings.side_tables()), split


@pytest.fixture(scope="session")
def train():
    """Return a function that trains a cold model of a preset for a few epochs."""

    def train_cold(interactions, tables, split, name="default", seed=0, epochs=1):
        preset = get_preset(name, KMRD)
        preset = replace(preset, training=replace(preset.training, epochs=epochs))
        parts = cold_parts(interactions, tables, split, preset.features, preset.sampling)
        run = TrainingRun(TrainingData.from_parts(parts), preset, None, seed)
        list(run.epochs())
        return run.trained_model()

    return train_cold


@pytest.fixture(scope="session")
def models(world, train):
    """Return two models of the simulated data that differ in their seed."""
    return train(*world, seed=0), train(*world, seed=1)

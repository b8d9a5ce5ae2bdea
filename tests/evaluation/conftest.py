"""Wide parts made by hand, so that every word, weight and count in them is known."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from widedeep.data.tables import ITEM_COLUMNS, PEOPLE_COLUMNS
from widedeep.evaluation.naming import DisplayNames
from widedeep.features.encoded import FeatureSupport
from widedeep.features.wide_ids import wide_blocks
from widedeep.model.ftrl import FtrlConfig
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import Optimisers, TrainingConfig

TITLES = {
    1: ("매트릭스", "The Matrix , 1999"),
    2: ("매트릭스 2", "The Matrix Reloaded , 2003"),
    3: ("유보트", "Das Boot , The Boat , 1981"),
    4: ("아리랑", "1926"),
    5: ("", ""),
    6: ("새|鳥", "Good Morning, Vietnam , 1987"),
}
PEOPLE = {5: ("키아누 리브스", "Keanu Reeves"), 8: ("송강호", "")}


def model_of(made, weights, l1=1.0, evidence=None, config=None):
    """A model of the transform with the given weights by phrase, in Korean."""
    training = TrainingConfig(ftrl=FtrlConfig(l1=l1))
    config = config or NetworkConfig(embedding=2, hidden=(3,))
    network = WideDeep(config, InputShape.of(made), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for place, weight in weights.items():
            network.wide[place] = weight
    state = Optimisers(network, training).state()
    size = made.wide_size
    nothing = FeatureSupport(np.zeros(size, np.int64), np.zeros(size, np.int64), 0, 0)
    return TrainedModel(made, network, training, state, 2000, evidence or nothing)


def wide_id(made, block, *part_ids):
    """The id of a block's feature by the ids of its parts."""
    found = next(b for b in wide_blocks(made) if b.name == block)
    same = np.all(
        [ids == wanted for ids, wanted in zip(found.parts, part_ids, strict=True)], axis=0
    )
    return found.first + int(np.flatnonzero(same)[0])


@pytest.fixture(scope="session")
def make_model():
    return model_of


@pytest.fixture(scope="session")
def find_wide():
    return wide_id


@pytest.fixture(scope="session")
def item_tables():
    """Tables of items and of people as ingest writes them."""
    blank = {name: [None] * len(TITLES) for name in ITEM_COLUMNS.names[3:]}
    titles = [*zip(*TITLES.values(), strict=True)]
    items = {"item": [*TITLES], "title": titles[0], "title_eng": titles[1], **blank}
    called = [*zip(*PEOPLE.values(), strict=True)]
    people = {"people": [*PEOPLE], "korean": called[0], "original": called[1]}
    return pa.table(items, schema=ITEM_COLUMNS), pa.table(people, schema=PEOPLE_COLUMNS)


@pytest.fixture(scope="session")
def names(item_tables):
    return DisplayNames.of(*item_tables)

"""A small random world, whose history numbers are drawn and not computed, and models of it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from widedeep.features.attributes import AttributeTable, FeatureTables
from widedeep.features.encoded import Examples, FeatureSupport
from widedeep.features.history import NUMERIC, HistoryColumns, Queries
from widedeep.features.ragged import Ragged
from widedeep.features.raw_features import RawFeatures
from widedeep.features.sampling import Sampling, Staleness
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec, Number
from widedeep.features.training_data import FROZEN, STREAMING, TrainingPart
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import IndexedBag
from widedeep.model.ftrl import FtrlConfig
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.presets import Preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import Optimisers, Trainer, TrainingConfig

ITEMS = np.arange(100, 130)
GENRES = ("드라마", "코미디", "액션", "애니메이션", "SF")
SPEC = FeatureSpec(
    categories=(Category("user", 3), Category("item", 3), Category("grade", 1)),
    bags=(
        Bag("genres", 2),
        Bag("liked", vocabulary_of="item"),
        Bag("disliked", vocabulary_of="item"),
    ),
    numbers=(Number("user_count", 5), Number("item_mean", 4)),
    buckets=(Bucket("user_count", 4),),
    crosses=(
        Cross(("liked", "item"), 1),
        Cross(("genres", "grade"), 2),
        Cross(("user_count_bucket", "disliked", "genres"), 2),
    ),
    wide=("user", "item", "genres", "liked", "user_count_bucket"),
)
PRESET = Preset(
    "small",
    SPEC,
    Sampling(staleness=Staleness(copies=0)),
    NetworkConfig(embedding=4, hidden=(16, 8), dropout=0.2, id_dropout=0.2, number_dropout=0.2),
    TrainingConfig(batch=64, epochs=3, patience=3, ftrl=FtrlConfig(alpha=0.1, l1=0.1)),
)
PRIOR = 0.6


@dataclass(frozen=True, repr=False)
class World:
    """Makes rows, transforms, training parts and models; everything random comes from a seed."""

    tables: FeatureTables
    spec: FeatureSpec = SPEC
    preset: Preset = PRESET
    prior: float = PRIOR

    def raw(self, seed, rows=200, users=range(1, 40), items=ITEMS):
        """Raw rows of the given users and items, with random bags of liked and disliked items."""
        generator = np.random.default_rng(seed)
        users, items = np.array(users), np.array(items)
        user, item = generator.choice(users, rows), generator.choice(items, rows)
        time = np.arange(rows) + 1_200_000_000
        numeric = generator.normal(size=(rows, len(NUMERIC))).astype(np.float32).round(1)
        numeric[generator.random(numeric.shape) < 0.1] = np.nan
        bags = []
        for _ in range(2):
            lengths = generator.integers(0, 5, rows)
            bag = Ragged.from_lengths(generator.choice(items, lengths.sum()), lengths)
            bags.append(IndexedBag.from_ragged(bag))
        queries = Queries(user, item, time, time)
        history = HistoryColumns(numeric, *bags)
        return RawFeatures.from_history(queries, history, self.tables)

    def transform(self, seed=0, previous=None, **raw):
        return Transform.fit(self.spec, self.prior, self.raw(seed, **raw), previous)

    def training_part(self, label, seed=0, rows=600, **raw):
        """Training and two validation sets; `label` computes the labels from raw rows."""
        raw_sets = [self.raw(seed + i, rows, **raw) for i in range(3)]
        transform = Transform.fit(self.spec, self.prior, raw_sets[0])
        training, streaming, frozen = (
            Examples.unweighted(transform.encode(raw_set), label(raw_set)) for raw_set in raw_sets
        )
        support = FeatureSupport.count(training.rows.wide, training.label, transform.wide_size)
        validation = {STREAMING: streaming, FROZEN: frozen}
        return TrainingPart(transform, training, validation, support, 1000)

    def network(self, transform, seed=0, config=None):
        generator = torch.Generator().manual_seed(seed)
        shape = InputShape.from_transform(transform)
        return WideDeep(config or self.preset.network, shape, generator)

    def trainer(self, part, seed=0):
        """A trainer of a new network for the part."""
        return self.trainer_of(self.network(part.transform, seed), seed)

    def trainer_of(self, network, seed=0, replicas=None):
        """A trainer with new optimisers."""
        config, order = self.preset.training, np.random.default_rng(seed)
        return Trainer(network, Optimisers(network, config), config, order, replicas)

    def model(self, transform, seed=0, config=None, training=None):
        """A model with random weights and random optimiser state everywhere."""
        training = training or self.preset.training
        network = self.network(transform, seed, config)
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(generator=generator)
            optimisers = Optimisers(network, training)
            for name, value in optimisers.state().items():
                if name != "wide/z":
                    value.add_(torch.rand(value.shape, generator=generator))
            optimisers.wide.keep_weights()
        support = self.support(transform, seed)
        return TrainedModel(transform, network, training, optimisers.state(), 2000, support)

    def support(self, transform, seed=0):
        """Random support."""
        generator = np.random.default_rng(seed)
        support = generator.integers(0, 50, transform.wide_size)
        return FeatureSupport(support, generator.integers(0, support + 1), 400, 250)

    def with_preset(self, network=None, training=None):
        """The same world with other settings of the network and of the training."""
        preset = self.preset
        return replace(
            self,
            preset=replace(
                preset,
                network=replace(preset.network, **(network or {})),
                training=replace(preset.training, **(training or {})),
            ),
        )


def equal(first, second):
    """Whether two dicts hold equal tensors, to the bit, under the same names."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def tables():
    strings = np.dtypes.StringDType()
    grades = [("전체 관람가", "", "12세 관람가")[i % 3] for i in range(len(ITEMS))]
    genres = [[GENRES[i % 5], GENRES[(i + 2) % 5]][: i % 3] for i in range(len(ITEMS))]
    items = AttributeTable(
        ITEMS,
        {"grade": np.array([*grades, ""], strings)},
        {},
        {"genres": Ragged.from_lists([*genres, []], strings)},
    )
    return FeatureTables(items)


@pytest.fixture(scope="session")
def world():
    return World(tables())


@pytest.fixture(scope="session")
def part(world):
    """A training part in which a third of the items is liked."""
    return world.training_part(lambda raw: raw.queries.item % 3 == 0)


@pytest.fixture
def with_bfloat16(monkeypatch):
    """A CPU that is said to have bfloat16; torch emulates it, so the products are the same."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """One thread: equality to the bit is promised for a fixed number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

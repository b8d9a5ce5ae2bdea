"""A small simulation with models of random weights, and what the models themselves score."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch

from tests.worlds import KMRD_HISTORY, ingest, tables_of
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.attributes import FeatureTables
from widedeep.features.encoded import FeatureSupport
from widedeep.features.history import Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec, Number
from widedeep.features.transform import Transform
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.store import ArtifactStore

PRIOR = 0.6
LEAST = 7
SMALL = NetworkConfig(embedding=4, hidden=(16, 8))
EVERYTHING = FeatureSpec(
    categories=(Category("grade", 1), Category("user", 2), Category("item", 3)),
    bags=(
        Bag("genres", 2),
        Bag("people", 1),
        Bag("liked", 3),
        Bag("leading", 1),
        Bag("disliked", vocabulary_of="item"),
        Bag("countries", 1),
    ),
    numbers=(
        Number("item_age", 4),
        Number("staleness", 5),
        Number("expected_logit", 30),
        Number("item_recency", 7),
        Number("user_last", 9),
    ),
    buckets=(Bucket("item_age", 3), Bucket("user_fast", 8), Bucket("user_genres_residual", 5)),
    crosses=(
        Cross(("liked", "item"), 1),
        Cross(("genres", "liked", "user_genres_residual_bucket"), 1),
        Cross(("user", "genres"), 1),
        Cross(("liked", "disliked"), 1),
        Cross(("genres", "leading"), 1),
        Cross(("grade", "item_age_bucket", "user_fast_bucket", "user"), 1),
        Cross(("item_age_bucket", "user_genres_residual_bucket"), 1),
    ),
    wide=(
        "user",
        "item",
        "genres",
        "liked",
        "disliked",
        "user_genres_residual_bucket",
        "item_age_bucket",
    ),
    prior_logit="item_mean",
    history=replace(KMRD_HISTORY, length=6),
)
"""A feature of every kind, and crosses of every combination of kinds."""


@dataclass(frozen=True)
class World:
    """Ratings in order of time, and their items; `bare` has the items without any bag."""

    interactions: Interactions
    tables: FeatureTables
    bare: FeatureTables

    @classmethod
    def ingest(cls, source, folder):
        ingested = IngestedData(ingest(source, ArtifactStore(folder), 1_800_000_000))
        items = ingested.side_tables().items
        no_bags = {name: [[]] * len(items) for name in ("genres", "countries", "people", "leading")}
        bare = pa.Table.from_pydict(items.to_pydict() | no_bags, schema=items.schema)
        return cls(
            with_label_from(ingested.interactions(), LEAST), tables_of(items), tables_of(bare)
        )

    def model(self, spec, config, seed=0):
        """Fit the features on 4,000 rows and draw the weights; a third of the wide ones is 0."""
        time = self.interactions.time[:4000]
        queries = Queries(self.interactions.user[:4000], self.interactions.item[:4000], time, time)
        rows = RawFeatures.compute(self.interactions, queries, self.tables, spec.history, PRIOR)
        transform = Transform.fit(spec, PRIOR, rows)
        generator = torch.Generator().manual_seed(seed)
        network = WideDeep(config, InputShape.from_transform(transform), generator)
        with torch.no_grad():
            for parameter in (*network.embeddings.parameters(), network.bias, network.wide):
                parameter.normal_(0, 0.3, generator=generator)
            network.wide *= torch.rand(network.wide.shape, generator=generator) > 1 / 3
            for layer in network.layers:
                layer.bias.normal_(0, 0.1, generator=generator)
            if network.layers:
                network.layers[-1].weight.normal_(0, 0.3, generator=generator)
            if network.numbers:
                network.numbers.missing.normal_(0, 1, generator=generator)
            network.prior_slope.fill_(0.7)
        none = np.zeros(transform.wide_size, np.int64)
        support = FeatureSupport(none, none, 0, 0)
        return TrainedModel(transform, network, TrainingConfig(), {}, 0, support)

    def users(self):
        """A frequent user, a rare one, and an unknown one."""
        users, counts = np.unique(self.interactions.user, return_counts=True)
        return [int(users[counts.argmax()]), int(users[counts.argmin()]), -9]

    def candidates(self):
        """All items, and two unknown ones."""
        return np.concatenate([self.tables.items.ids, [-5, 10**12]])


def with_label_from(interactions, least):
    """Return interactions that are positive from a value of `least` on."""
    return replace(interactions, label=interactions.value >= least)


def rows_of(interactions, rows=slice(None)):
    """Yield (user, item, value, time) of some rows."""
    names = ("user", "item", "value", "time")
    columns = (getattr(interactions, name)[rows].tolist() for name in names)
    yield from zip(*columns, strict=True)


def scores_of_the_model(model, interactions, tables, user, items, at):
    """P(positive) of each item for a user at a moment, by the network itself."""
    scorer = model_scorer(model, interactions, tables)
    return scorer(Queries.for_every_pair(np.array([user]), items, at))

"""A registered model without a training: fitted features, random weights, a real history."""

import numpy as np
import torch
from mlflow import MlflowClient

from tasks.model_store import ModelStore
from tasks.registry import Registry
from tests.worlds import KMRD, ingest
from widedeep.data.tables import IngestedData
from widedeep.evaluation.snapshot import DataSnapshot
from widedeep.features.encoded import FeatureSupport
from widedeep.features.history import Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.features.transform import Transform
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.store import ArtifactStore

MODEL = "widedeep-sim"


def register_random_model(workspace, data):
    """Make version 1 of MODEL the champion of a workspace; it knows the ratings in `data`."""
    store = ArtifactStore(workspace.root / "stages")
    ratings = IngestedData(ingest(data, store, 1_800_000_000))
    folder = workspace.root / "version"
    history = folder / "artifacts" / "history"
    history.mkdir(parents=True)
    snapshot = DataSnapshot.from_tables(ratings.interactions(), ratings.side_tables())
    snapshot.save(history)
    (folder / "artifacts" / "id").mkdir()
    model = random_model(snapshot.interactions, snapshot.tables)
    model.save(folder / "artifacts" / "id")
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    store, client = ModelStore(workspace), MlflowClient(workspace.tracking_uri)
    client.create_registered_model(MODEL)
    tags = {"widedeep.gated_id": "id", "widedeep.served_id": "id"}
    client.create_model_version(MODEL, folder.as_uri(), tags=tags)
    registry = Registry(workspace, store, MODEL)
    registry.promote(registry.candidate("1", "a test"), "a test")


def random_model(interactions, tables):
    spec, prior = get_preset("default", KMRD).features, 0.6
    queries = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    rows = RawFeatures.compute(interactions, queries, tables, spec.history, prior)
    transform = Transform.fit(spec, prior, rows)
    config = NetworkConfig(embedding=4, hidden=(16,), number_embedding=2)
    generator = torch.Generator().manual_seed(0)
    network = WideDeep(config, InputShape.from_transform(transform), generator)
    with torch.no_grad():
        network.wide.normal_(0, 0.3, generator=generator)
        network.layers[-1].weight.normal_(0, 0.3, generator=generator)
    none = np.zeros(transform.wide_size, np.int64)
    support = FeatureSupport(none, none, 0, 0)
    return TrainedModel(transform, network, TrainingConfig(), {}, 0, support)

"""Versions of a model as the registry keeps them: random weights, fitted to a small simulation."""

import socket
import time
from contextlib import contextmanager
from threading import Thread

import httpx
import numpy as np
import pytest
import torch
import uvicorn

from tests.worlds import KMRD, ingest
from widedeep.data.feedback_log import read_feedback
from widedeep.data.tables import IngestedData
from widedeep.evaluation.scoring import model_scorer
from widedeep.evaluation.snapshot import GOLDEN, DataSnapshot, GoldenRequests
from widedeep.features.encoded import FeatureSupport
from widedeep.features.history import Queries
from widedeep.features.transform import Transform
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.serving.serving_model import ServedVersion, WarmState
from widedeep.store import ArtifactStore

MODEL = "widedeep-sim-tiny"


@pytest.fixture(scope="session")
def make_version(tiny, tmp_path_factory):
    """A function that writes the version of a number, which seeds its weights."""
    root = tmp_path_factory.mktemp("versions")
    ratings = IngestedData(ingest(tiny, ArtifactStore(root / "stages"), 1_800_000_000))
    snapshot = DataSnapshot.from_tables(ratings.interactions(), ratings.side_tables())
    interactions, tables = snapshot.interactions, snapshot.tables
    spec = get_preset("default", KMRD).features
    queries = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    transform = Transform.fit(
        spec,
        0.6,
        Transform(spec, 0.6, {}, {}, ()).compute_features(interactions, queries, tables),
    )

    def make(number):
        folder = root / number
        (folder / "history").mkdir(parents=True)
        generator = torch.Generator().manual_seed(int(number))
        config = NetworkConfig(embedding=4, hidden=(16, 8))
        network = WideDeep(config, InputShape.from_transform(transform), generator)
        with torch.no_grad():
            network.wide.normal_(0, 0.3, generator=generator)
            network.layers[-1].weight.normal_(0, 0.3, generator=generator)
        none = np.zeros(transform.wide_size, np.int64)
        support = FeatureSupport(none, none, 0, 0)
        model = TrainedModel(transform, network, TrainingConfig(), {}, 0, support)
        (folder / "model").mkdir()
        model.save(folder / "model")
        snapshot.save(folder / "history")
        scorer = model_scorer(model, interactions, tables)
        golden = GoldenRequests.compute(interactions, scorer)
        golden.save(folder / "history" / GOLDEN, snapshot.side)
        return ServedVersion(MODEL, number, folder / "model", folder / "history")

    return make


@contextmanager
def running(app):
    """Run a real server in a thread of this process; yield a client of it."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.005)
        port = listening.getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def serve():
    return running


@pytest.fixture(scope="session")
def hand_over(tmp_path_factory):
    """A function that passes a warm state through a file, as from the watcher's process."""
    path = tmp_path_factory.mktemp("handover") / "warm_state"

    def hand_over(warm_state):
        warm_state.save(path)
        loaded = WarmState.load(path)
        path.unlink()
        return loaded

    return hand_over


@pytest.fixture(scope="session")
def admit(hand_over):
    """A function that puts a version into service, with all acknowledged feedback."""

    def admit(service, version):
        acknowledged = service.acknowledged(version.model)
        feedback = read_feedback(acknowledged.path, KMRD, end=acknowledged.end)
        warm_state = WarmState.compute(version, feedback)
        service.admit(version, hand_over(warm_state), acknowledged)

    return admit


@pytest.fixture(scope="session")
def versions(make_version):
    """Two versions without faults."""
    return make_version("1"), make_version("2")

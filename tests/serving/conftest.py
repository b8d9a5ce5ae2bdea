"""Versions of a model as the registry keeps them: random weights on a small simulated world."""

import socket
import time
from contextlib import contextmanager
from threading import Thread

import httpx
import numpy as np
import pytest
import torch
import uvicorn

from widedeep.data.feedback_log import read_feedback
from widedeep.data.ingest import ingest
from widedeep.data.tables import IngestedData
from widedeep.evaluation.explain import DataSnapshot
from widedeep.evaluation.scoring import GOLDEN, GoldenRequests, model_scorer
from widedeep.features.encoded import FeatureSupport
from widedeep.features.history import Queries
from widedeep.features.transform import Transform
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.presets import preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.serving.serving_model import ServedVersion, WarmState
from widedeep.store import ArtifactStore

MODEL = "widedeep-sim-tiny"


@pytest.fixture(scope="session")
def make_version(tiny, tmp_path_factory):
    """Writes a version by its number, which seeds its weights."""
    root = tmp_path_factory.mktemp("versions")
    ratings = IngestedData(ingest(tiny, ArtifactStore(root / "stages"), 1_800_000_000))
    known = DataSnapshot.of(ratings.load(), ratings.items(), ratings.people())
    interactions, item_table = known.interactions, known.item_table
    spec = preset("default").features
    asked = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    transform = Transform.fit(
        spec, 0.6, Transform(spec, 0.6, {}, {}, ()).describe(interactions, asked, item_table)
    )

    def make(number):
        folder = root / number
        (folder / "history").mkdir(parents=True)
        generator = torch.Generator().manual_seed(int(number))
        config = NetworkConfig(embedding=4, hidden=(16, 8))
        network = WideDeep(config, InputShape.of(transform), generator)
        with torch.no_grad():
            network.wide.normal_(0, 0.3, generator=generator)
            network.layers[-1].weight.normal_(0, 0.3, generator=generator)
        none = np.zeros(transform.wide_size, np.int64)
        evidence = FeatureSupport(none, none, 0, 0)
        model = TrainedModel(transform, network, TrainingConfig(), {}, 0, evidence)
        (folder / "model").mkdir()
        model.save(folder / "model")
        known.save(folder / "history")
        scorer = model_scorer(model, interactions, item_table)
        GoldenRequests.of(interactions, scorer).save(folder / "history" / GOLDEN)
        return ServedVersion(MODEL, number, folder / "model", folder / "history")

    return make


@contextmanager
def running(app):
    """A client of a real server, in a thread of this process."""
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
def handed(tmp_path_factory):
    """A groundwork as a server has it: from a file, as from a scout."""
    path = tmp_path_factory.mktemp("known") / "known"

    def hand(known):
        known.save(path)
        found = WarmState.load(path)
        path.unlink()
        return found

    return hand


@pytest.fixture(scope="session")
def admit(handed):
    """Lets a version into a service, with all that is acknowledged."""

    def admit(service, version):
        told = service.acknowledged(version.model)
        known = WarmState.of(version, read_feedback(told.path, end=told.end))
        service.admit(version, handed(known), told)

    return admit


@pytest.fixture(scope="session")
def versions(make_version):
    """Two sound versions."""
    return make_version("1"), make_version("2")

"""Fixtures that the tests of several packages share."""

import gc
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.worlds import KMRD_HISTORY
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import EXAMPLE, simulate
from widedeep.features.crosses import CrossVocabulary, pack_keys
from widedeep.features.quantiles import QuantileNormaliser
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import Vocabulary
from widedeep.workspace import Workspace

# Tests have no deadline, because machines are slow at times.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

PROJECT = Path(__file__).resolve().parent.parent
_SLOWEST_FILES = (
    "flows/test_up.py",
    "flows/test_any_data.py",
    "flows/test_retrain.py",
    "flows/test_interruption.py",
    "flows/test_schedule.py",
    "flows/test_serving_loop.py",
    "flows/test_replay.py",
    "flows/test_bad_input.py",
    "flows/test_tune.py",
    "serving/test_api.py",
    "flows/test_ablation.py",
)
SPEC = FeatureSpec(
    categories=(Category("item"), Category("grade")),
    bags=(Bag("genres"), Bag("leading"), Bag("liked", vocabulary_of="item")),
    numbers=(),
    buckets=(Bucket("user_count"),),
    crosses=(Cross(("liked", "item")), Cross(("user_count_bucket", "genres", "grade"))),
    wide=("item", "grade", "leading", "user_count_bucket"),
    history=KMRD_HISTORY,
)


def pytest_collection_modifyitems(items):
    """Run the slowest files first, so that parallel workers end at the same time."""
    ranks = {PROJECT / "tests" / name: rank for rank, name in enumerate(_SLOWEST_FILES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_collection_finish():
    """Exempt imported modules from garbage collection, which would scan them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kmrd_small() -> Path:
    """Return the folder of the real KMRD-small, which is never in the repository."""
    folder = Path(
        os.environ.get("WIDEDEEP_KMRD_SMALL", PROJECT.parent / "shared" / "data" / "kmrd-small")
    )
    if not (folder / "rates.csv").exists():
        pytest.skip(f"no copy of KMRD-small at {folder}; name one by WIDEDEEP_KMRD_SMALL")
    return folder


@pytest.fixture(scope="session")
def ml_100k() -> Path:
    """Return the folder of MovieLens 100K in RecBole's form, which is never in the repository."""
    folder = Path(
        os.environ.get("WIDEDEEP_ML_100K", PROJECT.parent / "shared" / "data" / "ml-100k")
    )
    if not (folder / "ml-100k.inter").exists():
        pytest.skip(f"no copy of MovieLens 100K at {folder}; name one by WIDEDEEP_ML_100K")
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """Return a small simulated folder with tastes so strong that a second of training suffices.

    A model of it passes the gate.
    """
    folder = tmp_path_factory.mktemp("worlds") / "sim-small"
    config = SimulationConfig(
        users=300,
        items=60,
        ratings=8000,
        seed=4,
        single_share=0.1,
        user_spread=0.5,
        item_spread=0.5,
        taste_spread=3.0,
    )
    simulate(config, folder)
    return folder


@pytest.fixture(scope="session")
def make_workspace(tmp_path_factory):
    """Return a function that makes a folder a workspace with an empty MLflow store.

    The store is copied, because making one takes a second.
    """
    from tasks.model_store import ModelStore

    template = Workspace(tmp_path_factory.mktemp("template"))
    ModelStore(template).models()

    def make(folder: Path) -> Path:
        shutil.copy(template.root / "mlflow.db", folder)
        return folder

    return make


def transform(
    items=(1, 2, 3),
    grades=("", "12세"),
    genres=("SF", "드라마"),
    leading=(5, 8),
    ends=(2.0, 10.5),
    liked=((1, 2), (2, 1)),
    others=((2, "SF", "12세"),),
    spec=SPEC,
):
    """Return a transform with these ids in its vocabularies.

    `liked` are the ids of the cross of liked item and item; `others` are (quantile from 0, genre,
    grade) of the other cross.
    """
    vocabularies = {
        "item": Vocabulary(np.array(sorted(items), np.int64)),
        "grade": Vocabulary(np.array(sorted(grades), np.dtypes.StringDType())),
        "genres": Vocabulary(np.array(sorted(genres), np.dtypes.StringDType())),
        "leading": Vocabulary(np.array(sorted(leading), np.int64)),
    }
    normaliser = QuantileNormaliser(np.array(ends))
    sizes = {name: len(vocabulary) for name, vocabulary in vocabularies.items()}
    sizes |= {"liked": sizes["item"], "user_count_bucket": normaliser.quantiles + 2}
    members = {"liked x item": liked, "user_count_bucket x genres x grade": others}
    crosses = [
        _cross(cross.parts, members[cross.name], vocabularies, sizes) for cross in spec.crosses
    ]
    return Transform(spec, 0.6, vocabularies, {"user_count_bucket": normaliser}, tuple(crosses))


def _cross(parts, rows, vocabularies, sizes):
    codes = []
    for part, ids in zip(parts, zip(*rows, strict=True), strict=False):
        if part == "user_count_bucket":
            codes.append(np.array(ids) + 2)
        else:
            vocabulary = vocabularies["item" if part == "liked" else part].ids.tolist()
            codes.append(np.array([vocabulary.index(id_) + 1 for id_ in ids]))
    part_sizes = tuple(sizes[part] for part in parts)
    return CrossVocabulary(
        np.sort(pack_keys(codes, part_sizes)) if codes else np.empty(0, int), part_sizes
    )


@pytest.fixture(scope="session")
def make_transform():
    return transform


@pytest.fixture(scope="session")
def smaller_spec():
    """Return the spec of `make_transform` without its crosses and one raw feature."""
    return replace(SPEC, crosses=(), wide=("grade", "item", "user_count_bucket"))


@pytest.fixture(scope="session")
def clicks(tmp_path_factory):
    """Return a simulated flat click log with text ids, device and hour, and users' features."""
    folder = tmp_path_factory.mktemp("worlds") / "sim-clicks"
    config = SimulationConfig(
        users=300,
        items=60,
        ratings=8000,
        seed=4,
        single_share=0.1,
        positive_share=0.4,
        user_spread=0.3,
        item_spread=0.3,
        taste_spread=2.0,
        feature_spread=2.0,
    )
    simulate(config, folder, EXAMPLE.read_text(encoding="utf-8"))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return a simulated folder with so few ratings that a model is trained in a second."""
    folder = tmp_path_factory.mktemp("worlds") / "sim-tiny"
    sizes = {"users": 400, "items": 60, "ratings": 4000, "seed": 2, "single_share": 0.3}
    simulate(SimulationConfig(**sizes, user_spread=1.0, taste_spread=1.5), folder)
    return folder

"""Data that tests of several packages share."""

import gc
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from widedeep.data.simulator.write import SimulationConfig, simulate
from widedeep.features.crosses import CrossVocabulary, pack_keys
from widedeep.features.quantiles import QuantileNormaliser
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import Vocabulary
from widedeep.workspace import Workspace

# No test is timed: machines are slow at times.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

PROJECT = Path(__file__).resolve().parent.parent
LONGEST = (
    "flows/test_up.py",
    "flows/test_retrain.py",
    "flows/test_interruption.py",
    "flows/test_schedule.py",
    "flows/test_serving_loop.py",
    "flows/test_replay.py",
    "flows/test_bad_input.py",
    "flows/test_tune.py",
    "serving/test_app.py",
    "flows/test_ablation.py",
)
SPEC = FeatureSpec(
    categories=(Category("item"), Category("grade")),
    bags=(Bag("genres"), Bag("leading"), Bag("liked", vocabulary_of="item")),
    numbers=(),
    buckets=(Bucket("user_count"),),
    crosses=(Cross(("liked", "item")), Cross(("user_count_bucket", "genres", "grade"))),
    wide=("item", "grade", "leading", "user_count_bucket"),
)


def pytest_collection_modifyitems(items):
    """The longest files first, so that parallel workers end together."""
    places = {PROJECT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kmrd_small() -> Path:
    """The real KMRD-small, which is never in the repository."""
    folder = Path(
        os.environ.get("WIDEDEEP_KMRD_SMALL", PROJECT.parent / "shared" / "data" / "kmrd-small")
    )
    if not (folder / "rates.csv").exists():
        pytest.skip(f"no copy of KMRD-small at {folder}; name one by WIDEDEEP_KMRD_SMALL")
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """A small world in KMRD's form: so much taste that a model is promoted after a second."""
    folder = tmp_path_factory.mktemp("worlds") / "sim-small"
    settings = SimulationConfig(
        users=300,
        items=60,
        ratings=8000,
        seed=4,
        single_share=0.1,
        user_spread=0.5,
        item_spread=0.5,
        taste_spread=3.0,
    )
    simulate(settings, folder)
    return folder


@pytest.fixture(scope="session")
def make_home(tmp_path_factory):
    """Makes a home in a folder with an empty MLflow store: a copy, as making one takes a second."""
    from tasks.tracking import Tracker

    template = Workspace(tmp_path_factory.mktemp("template"))
    Tracker(template).models()

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
    """Tokens in, ids inside; `others` are (quantile from 0, genre, grade)."""
    vocabularies = {
        "item": Vocabulary(np.array(sorted(items), np.int64)),
        "grade": Vocabulary(np.array(sorted(grades), np.dtypes.StringDType())),
        "genres": Vocabulary(np.array(sorted(genres), np.dtypes.StringDType())),
        "leading": Vocabulary(np.array(sorted(leading), np.int64)),
    }
    normaliser = QuantileNormaliser(np.array(ends))
    sizes = {name: len(vocabulary) for name, vocabulary in vocabularies.items()}
    sizes |= {"liked": sizes["item"], "user_count_bucket": normaliser.quantiles + 2}
    tokens = {"liked x item": liked, "user_count_bucket x genres x grade": others}
    crosses = [
        _cross(cross.parts, tokens[cross.name], vocabularies, sizes) for cross in spec.crosses
    ]
    return Transform(spec, 0.6, vocabularies, {"user_count_bucket": normaliser}, tuple(crosses))


def _cross(parts, rows, vocabularies, sizes):
    ids = []
    for part, tokens in zip(parts, zip(*rows, strict=True), strict=False):
        if part == "user_count_bucket":
            ids.append(np.array(tokens) + 2)
        else:
            held = vocabularies["item" if part == "liked" else part].tokens.tolist()
            ids.append(np.array([held.index(token) + 1 for token in tokens]))
    part_sizes = tuple(sizes[part] for part in parts)
    return CrossVocabulary(
        np.sort(pack_keys(ids, part_sizes)) if ids else np.empty(0, int), part_sizes
    )


@pytest.fixture(scope="session")
def make_transform():
    return transform


@pytest.fixture(scope="session")
def smaller_spec():
    """The spec of `make_transform` without its crosses and one raw feature."""
    return replace(SPEC, crosses=(), wide=("grade", "item", "user_count_bucket"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A simulated folder with so few ratings that a model is trained in a second."""
    folder = tmp_path_factory.mktemp("worlds") / "sim-tiny"
    sizes = {"users": 400, "items": 60, "ratings": 4000, "seed": 2, "single_share": 0.3}
    simulate(SimulationConfig(**sizes, user_spread=1.0, taste_spread=1.5), folder)
    return folder

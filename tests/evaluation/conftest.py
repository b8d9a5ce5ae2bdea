"""Wide parts made by hand, so that every word, weight and count in them is known."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from widedeep.data.movies import MOVIE_COLUMNS, PEOPLE_COLUMNS
from widedeep.evaluation.names import Names
from widedeep.evaluation.wide_block import wide_blocks
from widedeep.features.cross_product import CrossVocabulary, pack
from widedeep.features.quantile_normaliser import QuantileNormaliser
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import Vocabulary
from widedeep.model.evidence import Evidence
from widedeep.model.ftrl import FtrlConfig
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import Optimisers, TrainingConfig

SPEC = FeatureSpec(
    categories=(Category("movie"), Category("grade")),
    bags=(Bag("genres"), Bag("leading"), Bag("liked", vocabulary_of="movie")),
    numbers=(),
    buckets=(Bucket("user_count"),),
    crosses=(Cross(("liked", "movie")), Cross(("user_count_bucket", "genres", "grade"))),
    wide=("movie", "grade", "leading", "user_count_bucket"),
)
TITLES = {
    1: ("매트릭스", "The Matrix , 1999"),
    2: ("매트릭스 2", "The Matrix Reloaded , 2003"),
    3: ("유보트", "Das Boot , The Boat , 1981"),
    4: ("아리랑", "1926"),
    5: ("", ""),
    6: ("새|鳥", "Good Morning, Vietnam , 1987"),
}
PEOPLE = {5: ("키아누 리브스", "Keanu Reeves"), 8: ("송강호", "")}


def transform(
    movies=(1, 2, 3),
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
        "movie": Vocabulary(np.array(sorted(movies), np.int64)),
        "grade": Vocabulary(np.array(sorted(grades), np.dtypes.StringDType())),
        "genres": Vocabulary(np.array(sorted(genres), np.dtypes.StringDType())),
        "leading": Vocabulary(np.array(sorted(leading), np.int64)),
    }
    normaliser = QuantileNormaliser(np.array(ends))
    sizes = {name: len(vocabulary) for name, vocabulary in vocabularies.items()}
    sizes |= {"liked": sizes["movie"], "user_count_bucket": normaliser.quantiles + 2}
    tokens = {"liked x movie": liked, "user_count_bucket x genres x grade": others}
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
            held = vocabularies["movie" if part == "liked" else part].tokens.tolist()
            ids.append(np.array([held.index(token) + 1 for token in tokens]))
    part_sizes = tuple(sizes[part] for part in parts)
    return CrossVocabulary(np.sort(pack(ids, part_sizes)) if ids else np.empty(0, int), part_sizes)


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
    nothing = Evidence(np.zeros(size, np.int64), np.zeros(size, np.int64), 0, 0)
    return TrainedModel(made, network, training, state, 1000, 2000, evidence or nothing)


def wide_id(made, block, *part_ids):
    """The id of a block's feature by the ids of its parts."""
    found = next(b for b in wide_blocks(made) if b.name == block)
    same = np.all(
        [ids == wanted for ids, wanted in zip(found.parts, part_ids, strict=True)], axis=0
    )
    return found.first + int(np.flatnonzero(same)[0])


@pytest.fixture(scope="session")
def make_transform():
    return transform


@pytest.fixture(scope="session")
def make_model():
    return model_of


@pytest.fixture(scope="session")
def find_wide():
    return wide_id


@pytest.fixture(scope="session")
def smaller_spec():
    """The spec of `make_transform` without its crosses and one raw feature."""
    return replace(SPEC, crosses=(), wide=("grade", "movie", "user_count_bucket"))


@pytest.fixture(scope="session")
def movie_tables():
    """Tables of movies and of people as ingest writes them."""
    blank = {name: [None] * len(TITLES) for name in MOVIE_COLUMNS.names[3:]}
    titles = [*zip(*TITLES.values(), strict=True)]
    films = {"movie": [*TITLES], "title": titles[0], "title_eng": titles[1], **blank}
    called = [*zip(*PEOPLE.values(), strict=True)]
    people = {"people": [*PEOPLE], "korean": called[0], "original": called[1]}
    return pa.table(films, schema=MOVIE_COLUMNS), pa.table(people, schema=PEOPLE_COLUMNS)


@pytest.fixture(scope="session")
def names(movie_tables):
    return Names.of(*movie_tables)

"""The parts of the holdout where memorisation should pay, against the truth and against loops."""

import json

import numpy as np
import pytest

from widedeep.artifact_store import ArtifactStore
from widedeep.data.ingest import ingest
from widedeep.data.ratings import Ratings
from widedeep.data.split import Split
from widedeep.evaluation import planted_pairs
from widedeep.evaluation.ablation_slices import (
    NEW,
    PLANTED,
    REMEMBERED,
    RETURNING,
    remembered,
    slice_holdout,
)
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import Queries
from widedeep.features.raw_columns import RawColumns
from widedeep.features.training_set import queries
from widedeep.features.transform import Transform
from widedeep.model.presets import preset

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    """Log, catalogue, split, and the default features fitted on the training part."""
    ratings = Ratings(ingest(simulated, ArtifactStore(tmp_path_factory.mktemp("stages")), NOW))
    log, catalogue = ratings.load(), Catalogue.from_table(ratings.movies())
    split = Split.of(log.time, ratings.last_time + 1)
    spec = preset("default").features
    asked = queries(log, split.training(log.time))
    rows = RawColumns.describe(log, asked, catalogue, spec.history, 0.6)
    return log, catalogue, split, Transform.fit(spec, 0.6, rows)


@pytest.fixture(scope="module")
def slices(world, simulated):
    return slice_holdout(*world, planted_pairs.read(simulated))


def test_planted_exceptions_apply_where_the_simulator_applied_them(world, simulated):
    log = world[0]
    every = Queries(log.user, log.movie, log.time, log.time)
    told = json.loads((simulated / "simulation.json").read_text(encoding="utf-8"))["exceptions"]
    planted = planted_pairs.read(simulated)
    assert len(planted) == len(told) > 0
    for pair, truth in zip(planted, told, strict=True):
        applied = planted_pairs.applies([pair], log, every)
        assert applied.sum() == truth["support"] > 0
        positive = log.rate[applied] == 10
        assert positive.mean() == pytest.approx(truth["positive_share"])


def test_real_data_have_no_planted_exceptions(tmp_path):
    assert planted_pairs.read(tmp_path) == []


def test_without_planted_exceptions_there_is_no_such_slice(world):
    assert set(slice_holdout(*world, [])) == {NEW, RETURNING, REMEMBERED}


def test_slices_are_rows_of_the_holdout(world, slices):
    log, _, split, _ = world
    rows = split.holdout(log.time).sum()
    assert set(slices) == {NEW, RETURNING, REMEMBERED, PLANTED}
    for masks in slices.values():
        assert {name: mask.shape for name, mask in masks.items()} == {
            "streaming": (rows,),
            "frozen": (rows,),
        }
        assert 0 < masks["frozen"].sum() <= masks["streaming"].sum()


def test_everybody_is_new_or_returning_and_only_the_returning_are_remembered(slices):
    new, returning = slices[NEW]["streaming"], slices[RETURNING]["streaming"]
    np.testing.assert_array_equal(new, ~returning)
    assert (slices[REMEMBERED]["streaming"] <= returning).all()
    assert (slices[PLANTED]["streaming"] <= returning).all()


def test_a_pair_is_remembered_where_a_liked_film_makes_a_kept_cross_with_the_candidate(world):
    log, catalogue, split, transform = world
    held = np.flatnonzero(split.holdout(log.time))[:300]
    asked = queries(log, np.isin(np.arange(len(log)), held))
    rows = RawColumns.describe(log, asked, catalogue, transform.spec.history, transform.prior)
    index = [set(cross.parts) for cross in transform.spec.crosses].index({"liked", "movie"})
    tokens = transform.vocabulary_of("movie").tokens
    liked, movie = (tokens[ids - 1] for ids in transform.crosses[index].parts())
    kept = set(zip(liked.tolist(), movie.tolist(), strict=True))
    bag = rows.history.liked.decoded()
    wanted = [
        any((film, candidate) in kept for film in bag.values[bag.offsets[i] : bag.offsets[i + 1]])
        for i, candidate in enumerate(asked.movie.tolist())
    ]
    assert any(wanted)
    assert not all(wanted)
    np.testing.assert_array_equal(remembered(transform, rows), wanted)

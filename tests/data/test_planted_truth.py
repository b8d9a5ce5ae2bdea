"""The truth drawn again from the settings is the one that the files were made of."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from widedeep.data.planted_truth import PlantedTruth
from widedeep.data.simulated_catalogue import FIRST_MOVIE
from widedeep.data.simulator import MARKER, TRUTH, Simulation, simulate
from widedeep.errors import InputError

SETTINGS = Simulation(users=600, movies=60, ratings=3_000, seed=4, exceptions=3, repeat_share=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("planted") / "sim"
    simulate(SETTINGS, made)
    return made


@pytest.fixture
def copy(folder, tmp_path):
    """The two files that tell the truth, to be changed."""
    for name in (MARKER, TRUTH):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


def test_its_terms_sum_to_every_stated_probability(folder):
    planted = PlantedTruth.load(folder)
    rates = pd.read_csv(folder / "rates.csv").sort_values("time", kind="stable")
    stated = pd.read_parquet(folder / TRUTH).probability[rates.index].to_numpy()
    user, movie = rates.user.to_numpy(), rates.movie.to_numpy()
    logit = planted.movie_logit(movie, rates.time.to_numpy()) + planted.taste_logit(user, movie)
    logit += planted.truth.user_bias[user]
    for pair in planted.exceptions:
        liked = rates[(rates.movie == pair.liked) & (rates.rate == 10)].set_index("user").time
        after = (rates.user.map(liked) < rates.time).to_numpy()
        logit[(movie == pair.candidate) & after] += pair.effect
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), stated, atol=1e-5)


def test_the_exceptions_are_those_of_the_marker(folder):
    stated = json.loads((folder / MARKER).read_text(encoding="utf-8"))["exceptions"]
    drawn = PlantedTruth.load(folder).exceptions
    assert [(p.liked, p.candidate, p.effect) for p in drawn] == [
        (p["liked"], p["candidate"], p["effect"]) for p in stated
    ]
    assert PlantedTruth.load(folder).without_exceptions().exceptions == ()


def test_a_users_prior_times_a_movies_vector_has_the_settings_spread(folder):
    planted = PlantedTruth.load(folder)
    movies = FIRST_MOVIE + np.arange(SETTINGS.movies)
    vectors = planted.movie_vectors(movies)
    assert vectors.shape == (SETTINGS.movies, 1 + SETTINGS.latent_dimension)
    assert (vectors[:, 0] == SETTINGS.user_spread).all()
    taste = np.mean((vectors[:, 1:] ** 2).sum(axis=1))
    assert taste == pytest.approx(SETTINGS.taste_spread**2, rel=1e-4)


@pytest.mark.parametrize("missing", [MARKER, TRUTH])
def test_a_folder_that_is_not_simulated_is_refused(copy, missing):
    (copy / missing).unlink()
    with pytest.raises(InputError, match=f"has no {missing}; a simulated data set is wanted"):
        PlantedTruth.load(copy)


def test_settings_that_do_not_fit_the_probabilities_are_refused(copy):
    marker = json.loads((copy / MARKER).read_text(encoding="utf-8"))
    other = replace(SETTINGS, seed=5)
    marker["simulation"]["seed"] = other.seed
    (copy / MARKER).write_text(json.dumps(marker), encoding="utf-8")
    with pytest.raises(InputError, match="another version of the simulator"):
        PlantedTruth.load(copy)

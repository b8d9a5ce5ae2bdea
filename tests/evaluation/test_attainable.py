"""The attainable score is the posterior probability: held against integrals over a whole grid."""

from dataclasses import replace

import numpy as np
import pytest

from widedeep import metrics
from widedeep.data.planted_truth import PlantedTruth
from widedeep.data.ratings import RatingLog
from widedeep.data.simulated_catalogue import FIRST_MOVIE, draw_catalogue
from widedeep.data.simulated_truth import PlantedException, draw_truth
from widedeep.data.simulation import Simulation
from widedeep.evaluation.attainable import attainable
from widedeep.features.history import Queries

SETTINGS = Simulation(
    users=200,
    movies=20,
    ratings=400,
    latent_dimension=1,
    exceptions=0,
)
AXIS = np.linspace(-6, 6, 161)
START = SETTINGS.since
PAIR = PlantedException(liked=1, candidate=2, effect=2.0)


def world(**settings):
    """A truth with 1 taste dimension, so that a user is a point in a plane."""
    simulation = replace(SETTINGS, **settings)
    rng = np.random.default_rng(3)
    truth = draw_truth(simulation, draw_catalogue(simulation, rng), rng)
    return PlantedTruth(simulation, truth, 0.5)


def flat_world():
    """A truth in which only the planted pair tells one rating from another."""
    flat = world(user_spread=0.0, taste_spread=0.0, drift=0.0, movie_spread=0.0)
    return replace(flat, truth=replace(flat.truth, exceptions=(PAIR,)))


def log_of(*rows):
    """Ratings of (user, movie from 0, rate, minute)."""
    user, movie, rate, minute = np.array(sorted(rows, key=lambda row: row[3]), np.int64).T
    return RatingLog(user, FIRST_MOVIE + movie, rate.astype(np.int8), START + 60 * minute)


def ask(planted, log, user, movie, minute, known_until=None):
    """The attainable score of one pair."""
    known_until = minute if known_until is None else known_until
    columns = [user, FIRST_MOVIE + movie, START + 60 * minute, START + 60 * known_until]
    return attainable(planted, log)(Queries(*(np.array([value]) for value in columns)))[0]


def by_grid(planted, log, user, movie, minute):
    """The same by summing over all values a user may have."""
    bias, taste = np.meshgrid(AXIS, AXIS)
    belief = np.exp(-(bias**2 + taste**2) / 2)

    def positive(film, time):
        film, time = np.array([film]), np.array([time])
        vector = planted.movie_vectors(film)[0]
        logit = planted.movie_logit(film, time)[0] + vector[0] * bias + vector[1] * taste
        return 1 / (1 + np.exp(-logit))

    for row in np.flatnonzero((log.user == user) & (log.time < START + 60 * minute)):
        likely = positive(log.movie[row], log.time[row])
        belief *= likely if log.rate[row] == 10 else 1 - likely
    return np.sum(belief * positive(FIRST_MOVIE + movie, START + 60 * minute)) / belief.sum()


def test_a_cold_user_gets_the_mean_over_the_prior():
    planted, log = world(), log_of((0, 1, 10, 5))
    for movie in range(20):
        exact = by_grid(planted, log, 7, movie, 9)
        assert ask(planted, log, 7, movie, 9) == pytest.approx(exact, abs=1e-4)


def test_after_each_rating_it_stays_near_the_exact_posterior():
    planted, errors = world(), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rates = zip(rng.permutation(20)[:9], rng.integers(9, 11, 9), strict=True)
        rows = [(0, movie, rate, minute) for minute, (movie, rate) in enumerate(rates)]
        log = log_of(*rows, (1, 3, 2, 4), (2, 5, 10, 6))
        asked = [(0, movie, minute) for minute in range(10) for movie in rng.permutation(20)[:3]]
        errors += [ask(planted, log, *row) - by_grid(planted, log, *row) for row in asked]
    assert np.abs(errors).mean() < 0.01
    assert np.abs(errors).max() < 0.05
    assert abs(np.mean(errors)) < 0.003


def test_neither_the_present_nor_the_future_nor_another_user_is_known():
    planted = world()
    earlier = [(0, 1, 10, 5), (0, 2, 3, 6)]
    log = log_of(*earlier)
    more = log_of(*earlier, (0, 4, 1, 8), (0, 5, 1, 9), (1, 6, 10, 2))
    assert ask(planted, log, 0, 3, 8) == ask(planted, more, 0, 3, 8)
    assert ask(planted, log, 0, 3, 9, known_until=8) == ask(planted, more, 0, 3, 9, known_until=8)
    assert ask(planted, log, 0, 3, 9) != ask(planted, more, 0, 3, 9)


def test_many_queries_get_what_each_gets_alone_in_any_order():
    planted = replace(world(), truth=replace(world().truth, exceptions=(PAIR,)))
    rng = np.random.default_rng(0)
    log = log_of(*((u, m, 5 + 5 * (m % 2), u + 3 * m) for u in range(6) for m in range(8)))
    user, movie = rng.integers(0, 8, 60), rng.integers(0, 20, 60)
    time = rng.integers(0, 40, 60)
    known_until = time - rng.integers(0, 10, 60)
    moments = (START + 60 * time, START + 60 * known_until)
    together = attainable(planted, log)(Queries(user, FIRST_MOVIE + movie, *moments))
    alone = [ask(planted, log, *row) for row in zip(user, movie, time, known_until, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_an_exception_counts_from_the_first_known_10_of_its_liked_movie():
    planted = flat_world()
    log = log_of((0, 1, 10, 5), (1, 1, 9, 5))
    usual, raised = (1 / (1 + np.exp(-logit)) for logit in (0.5, 2.5))
    assert ask(planted, log, 0, 2, 6) == pytest.approx(raised)
    assert ask(planted, log, 0, 2, 5) == pytest.approx(usual)
    assert ask(planted, log, 0, 2, 6, known_until=5) == pytest.approx(usual)
    assert ask(planted, log, 0, 3, 6) == pytest.approx(usual)
    assert ask(planted, log, 1, 2, 6) == pytest.approx(usual)


def test_an_exception_that_may_have_come_since_counts_as_often_as_it_did_among_earlier_raters():
    planted = flat_world()
    # Under a history 5 minutes old: 0 and 1 came by it, 2 by another rate, 3 and 4 never, and 5
    # was known before.
    partner = [(0, 1, 10, 10), (1, 1, 10, 11), (2, 1, 8, 12), (5, 1, 10, 1), (4, 1, 10, 20)]
    log = log_of(*partner, *((user, 2, 5, 14) for user in range(6)))
    usual, raised = (1 / (1 + np.exp(-logit)) for logit in (0.5, 2.5))
    mixed = usual + 2 / (1 + 5) * (raised - usual)
    assert ask(planted, log, 9, 2, 35, known_until=30) == pytest.approx(mixed)
    assert ask(planted, log, 9, 2, 35) == pytest.approx(usual)
    assert ask(planted, log, 5, 2, 35, known_until=30) == pytest.approx(raised)
    assert ask(planted, log, 2, 2, 35, known_until=30) == pytest.approx(usual)


def test_on_data_drawn_by_the_truth_it_is_calibrated_and_beats_the_movies_alone():
    planted = world(users=4_000, ratings=8_000)
    rng = np.random.default_rng(1)
    users, movies = np.repeat(np.arange(4_000), 6), np.tile(np.arange(6), 4_000)
    time = START + 60 * np.tile(np.arange(6), 4_000)
    logit = planted.movie_logit(FIRST_MOVIE + movies, time) + planted.truth.user_bias[users]
    logit += planted.taste_logit(users, FIRST_MOVIE + movies)
    rate = np.where(rng.random(logit.size) < 1 / (1 + np.exp(-logit)), 10, 4).astype(np.int8)
    order = np.argsort(time, kind="stable")
    log = RatingLog(users[order], FIRST_MOVIE + movies[order], rate[order], time[order])
    asked = Queries(log.user, log.movie, log.time, log.time)
    scores, label = attainable(planted, log)(asked), log.rate == 10
    assert metrics.ece(label, scores) < 0.015
    last = log.movie == FIRST_MOVIE + 5
    cold = attainable(planted, log)(Queries(log.user + 9_000, log.movie, log.time, log.time))
    gain = metrics.log_loss(label[last], cold[last]) - metrics.log_loss(label[last], scores[last])
    assert gain > 0.03

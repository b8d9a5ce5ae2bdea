"""The truth drawn again from the settings is the one that the files were made of.

The attainable score is the posterior probability: held against integrals over a whole grid.

On simulated ratings the model finds again what was planted, and comes near the best there is.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.benchmarks.planted_truth import (
    PlantedTruth,
    attainable_scores,
    recover_exceptions,
    recover_taste,
)
from tests.worlds import KMRD, ingest, rated
from widedeep import metrics
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.items import FIRST_ITEM, draw_items
from widedeep.data.simulator.truth import PlantedException, draw_truth
from widedeep.data.simulator.write import MARKER, TRUTH, simulate
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.scoring import Predictions, baseline_scorer, model_scorer
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.features.wide_ids import wide_blocks
from widedeep.inputs import InputError
from widedeep.model.fitting import TrainingRun
from widedeep.model.network import WideDeep
from widedeep.model.presets import get_preset
from widedeep.store import ArtifactStore

SETTINGS = SimulationConfig(
    users=600, items=60, ratings=3_000, seed=4, exceptions=3, repeat_share=0.0
)


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
    rates = rates.rename(columns={"movie": "item", "rate": "value"})
    stated = pd.read_parquet(folder / TRUTH).probability[rates.index].to_numpy()
    user, item = rates.user.to_numpy(), rates.item.to_numpy()
    logit = planted.item_logit(item, rates.time.to_numpy()) + planted.taste_logit(user, item)
    logit += planted.truth.user_bias[user]
    for pair in planted.exceptions:
        liked = rates[(rates.item == pair.liked) & (rates.value == 10)].set_index("user").time
        after = (rates.user.map(liked) < rates.time).to_numpy()
        logit[(item == pair.candidate) & after] += pair.effect
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), stated, atol=1e-5)


def test_the_exceptions_are_those_of_the_marker(folder):
    stated = json.loads((folder / MARKER).read_text(encoding="utf-8"))["exceptions"]
    drawn = PlantedTruth.load(folder).exceptions
    assert [(p.liked, p.candidate, p.effect) for p in drawn] == [
        (p["liked"], p["candidate"], p["effect"]) for p in stated
    ]
    assert PlantedTruth.load(folder).without_exceptions().exceptions == ()


def test_a_users_prior_times_an_items_vector_has_the_settings_spread(folder):
    planted = PlantedTruth.load(folder)
    items = FIRST_ITEM + np.arange(SETTINGS.items)
    vectors = planted.item_vectors(items)
    assert vectors.shape == (SETTINGS.items, 1 + SETTINGS.latent_dimension)
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


ATTAINABLE_SETTINGS = SimulationConfig(
    users=200,
    items=20,
    ratings=400,
    latent_dimension=1,
    exceptions=0,
)
AXIS = np.linspace(-6, 6, 161)
START = ATTAINABLE_SETTINGS.since
PAIR = PlantedException(liked=1, candidate=2, effect=2.0)


def world(**settings):
    """A truth with 1 taste dimension, so that a user is a point in a plane."""
    simulation = replace(ATTAINABLE_SETTINGS, **settings)
    rng = np.random.default_rng(3)
    truth = draw_truth(simulation, draw_items(simulation, rng), rng)
    return PlantedTruth(simulation, truth, 0.5)


def flat_world():
    """A truth in which only the planted pair tells one rating from another."""
    flat = world(user_spread=0.0, taste_spread=0.0, drift=0.0, item_spread=0.0)
    return replace(flat, truth=replace(flat.truth, exceptions=(PAIR,)))


def log_of(*rows):
    """Ratings of (user, item from 0, rate, minute)."""
    user, item, value, minute = np.array(sorted(rows, key=lambda row: row[3]), np.int64).T
    return rated(user, FIRST_ITEM + item, value, START + 60 * minute)


def ask(planted, interactions, user, item, minute, known_until=None):
    """The attainable score of one pair."""
    known_until = minute if known_until is None else known_until
    columns = [user, FIRST_ITEM + item, START + 60 * minute, START + 60 * known_until]
    return attainable_scores(planted, interactions)(
        Queries(*(np.array([value]) for value in columns))
    )[0]


def by_grid(planted, interactions, user, item, minute):
    """The same by summing over all values a user may have."""
    bias, taste = np.meshgrid(AXIS, AXIS)
    belief = np.exp(-(bias**2 + taste**2) / 2)

    def positive(fixed, time):
        fixed, time = np.array([fixed]), np.array([time])
        vector = planted.item_vectors(fixed)[0]
        logit = planted.item_logit(fixed, time)[0] + vector[0] * bias + vector[1] * taste
        return 1 / (1 + np.exp(-logit))

    for row in np.flatnonzero(
        (interactions.user == user) & (interactions.time < START + 60 * minute)
    ):
        likely = positive(interactions.item[row], interactions.time[row])
        belief *= likely if interactions.value[row] == 10 else 1 - likely
    return np.sum(belief * positive(FIRST_ITEM + item, START + 60 * minute)) / belief.sum()


def test_a_cold_user_gets_the_mean_over_the_prior():
    planted, interactions = world(), log_of((0, 1, 10, 5))
    for item in range(20):
        exact = by_grid(planted, interactions, 7, item, 9)
        assert ask(planted, interactions, 7, item, 9) == pytest.approx(exact, abs=1e-4)


def test_after_each_rating_it_stays_near_the_exact_posterior():
    planted, errors = world(), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rates = zip(rng.permutation(20)[:9], rng.integers(9, 11, 9), strict=True)
        rows = [(0, item, value, minute) for minute, (item, value) in enumerate(rates)]
        interactions = log_of(*rows, (1, 3, 2, 4), (2, 5, 10, 6))
        asked = [(0, item, minute) for minute in range(10) for item in rng.permutation(20)[:3]]
        errors += [
            ask(planted, interactions, *row) - by_grid(planted, interactions, *row) for row in asked
        ]
    assert np.abs(errors).mean() < 0.01
    assert np.abs(errors).max() < 0.05
    assert abs(np.mean(errors)) < 0.003


def test_neither_the_present_nor_the_future_nor_another_user_is_known():
    planted = world()
    earlier = [(0, 1, 10, 5), (0, 2, 3, 6)]
    interactions = log_of(*earlier)
    more = log_of(*earlier, (0, 4, 1, 8), (0, 5, 1, 9), (1, 6, 10, 2))
    assert ask(planted, interactions, 0, 3, 8) == ask(planted, more, 0, 3, 8)
    assert ask(planted, interactions, 0, 3, 9, known_until=8) == ask(
        planted, more, 0, 3, 9, known_until=8
    )
    assert ask(planted, interactions, 0, 3, 9) != ask(planted, more, 0, 3, 9)


def test_many_queries_get_what_each_gets_alone_in_any_order():
    planted = replace(world(), truth=replace(world().truth, exceptions=(PAIR,)))
    rng = np.random.default_rng(0)
    interactions = log_of(*((u, m, 5 + 5 * (m % 2), u + 3 * m) for u in range(6) for m in range(8)))
    user, item = rng.integers(0, 8, 60), rng.integers(0, 20, 60)
    time = rng.integers(0, 40, 60)
    known_until = time - rng.integers(0, 10, 60)
    moments = (START + 60 * time, START + 60 * known_until)
    together = attainable_scores(planted, interactions)(Queries(user, FIRST_ITEM + item, *moments))
    alone = [
        ask(planted, interactions, *row) for row in zip(user, item, time, known_until, strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_an_exception_counts_from_the_first_known_10_of_its_liked_item():
    planted = flat_world()
    interactions = log_of((0, 1, 10, 5), (1, 1, 9, 5))
    usual, raised = (1 / (1 + np.exp(-logit)) for logit in (0.5, 2.5))
    assert ask(planted, interactions, 0, 2, 6) == pytest.approx(raised)
    assert ask(planted, interactions, 0, 2, 5) == pytest.approx(usual)
    assert ask(planted, interactions, 0, 2, 6, known_until=5) == pytest.approx(usual)
    assert ask(planted, interactions, 0, 3, 6) == pytest.approx(usual)
    assert ask(planted, interactions, 1, 2, 6) == pytest.approx(usual)


def test_an_exception_that_may_have_come_since_counts_as_often_as_it_did_among_earlier_raters():
    planted = flat_world()
    # Under a history 5 minutes old: 0 and 1 came by it, 2 by another rate, 3 and 4 never, and 5
    # was known before.
    partner = [(0, 1, 10, 10), (1, 1, 10, 11), (2, 1, 8, 12), (5, 1, 10, 1), (4, 1, 10, 20)]
    interactions = log_of(*partner, *((user, 2, 5, 14) for user in range(6)))
    usual, raised = (1 / (1 + np.exp(-logit)) for logit in (0.5, 2.5))
    mixed = usual + 2 / (1 + 5) * (raised - usual)
    assert ask(planted, interactions, 9, 2, 35, known_until=30) == pytest.approx(mixed)
    assert ask(planted, interactions, 9, 2, 35) == pytest.approx(usual)
    assert ask(planted, interactions, 5, 2, 35, known_until=30) == pytest.approx(raised)
    assert ask(planted, interactions, 2, 2, 35, known_until=30) == pytest.approx(usual)


def test_on_data_drawn_by_the_truth_it_is_calibrated_and_beats_the_items_alone():
    planted = world(users=4_000, ratings=8_000)
    rng = np.random.default_rng(1)
    users, items = np.repeat(np.arange(4_000), 6), np.tile(np.arange(6), 4_000)
    time = START + 60 * np.tile(np.arange(6), 4_000)
    logit = planted.item_logit(FIRST_ITEM + items, time) + planted.truth.user_bias[users]
    logit += planted.taste_logit(users, FIRST_ITEM + items)
    value = np.where(rng.random(logit.size) < 1 / (1 + np.exp(-logit)), 10, 4)
    order = np.argsort(time, kind="stable")
    interactions = rated(users[order], FIRST_ITEM + items[order], value[order], time[order])
    asked = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    scores, label = attainable_scores(planted, interactions)(asked), interactions.value == 10
    assert metrics.ece(label, scores) < 0.015
    last = interactions.item == FIRST_ITEM + 5
    cold = attainable_scores(planted, interactions)(
        Queries(interactions.user + 9_000, interactions.item, interactions.time, interactions.time)
    )
    gain = metrics.log_loss(label[last], cold[last]) - metrics.log_loss(label[last], scores[last])
    assert gain > 0.03


RECOVERY_SETTINGS = SimulationConfig(
    users=3_000,
    items=60,
    ratings=30_000,
    seed=3,
    single_share=0.2,
    user_spread=1.2,
    exceptions=4,
    exception_effect=5.0,
)
EPOCHS = 5
NOW = 1_700_000_000


@pytest.fixture(scope="module")
def recovery_world(tmp_path_factory):
    """Truth, log, item table and split."""
    folder = tmp_path_factory.mktemp("planted")
    simulate(RECOVERY_SETTINGS, folder / "world")
    ratings = IngestedData(ingest(folder / "world", ArtifactStore(folder / "stages"), NOW))
    interactions = ratings.interactions()
    split = Split.from_times(interactions.time, ratings.last_time + 1)
    return (
        PlantedTruth.load(folder / "world"),
        interactions,
        FeatureTables.from_side_tables(ratings.side_tables()),
        split,
    )


@pytest.fixture(scope="module")
def model(recovery_world):
    """The default preset, trained for a few epochs."""
    _, interactions, tables, split = recovery_world
    chosen = get_preset("default", KMRD)
    chosen = replace(chosen, training=replace(chosen.training, epochs=EPOCHS))
    plan = TrainingData.from_parts(
        cold_parts(interactions, tables, split, chosen.features, chosen.sampling)
    )
    fitting = TrainingRun(plan, chosen, None, seed=0)
    list(fitting.epochs())
    return fitting.trained_model()


@pytest.fixture(scope="module")
def auc(recovery_world, model):
    """AUC by ranker and protocol."""
    planted, interactions, tables, split = recovery_world
    scorers = {
        "attainable": attainable_scores(planted, interactions),
        "model": model_scorer(model, interactions, tables),
        "mean": baseline_scorer(model.transform, interactions, tables),
    }
    found = {
        name: Predictions.compute(interactions, split, score) for name, score in scorers.items()
    }
    return {
        name: {
            "streaming": metrics.auc(rows.label, rows.streaming),
            "frozen": metrics.auc(rows.label, rows.frozen),
        }
        for name, rows in found.items()
    }


def test_the_wide_part_recovers_the_planted_exceptions_with_their_sign(recovery_world, model):
    found = recover_exceptions(model, recovery_world[0])
    assert found.seen == len(found.exceptions) == RECOVERY_SETTINGS.exceptions
    assert found.crosses > 100 * found.seen
    assert found.precision >= 0.75
    assert found.recall >= 0.75
    assert all(pair.right for pair in found.exceptions)


def test_the_model_beats_the_means_and_is_near_the_attainable_optimum(auc):
    for protocol, gain, distance in (("streaming", 0.005, 0.04), ("frozen", 0.0, 0.02)):
        ours = auc["model"][protocol]
        assert ours > auc["mean"][protocol] + gain
        assert auc["attainable"][protocol] - distance < ours < auc["attainable"][protocol]


def weigh(model, planted, weights):
    """The model with these weights for the planted crosses, and 0 for all other wide features."""
    transform = model.transform
    block = next(b for b in wide_blocks(transform) if b.features == ("liked", "item"))
    liked, candidate = (transform.vocabulary_of("item").decode(ids) for ids in block.codes)
    wide = torch.zeros_like(model.network.wide)
    for pair, weight in zip(planted.exceptions, weights, strict=True):
        place = np.flatnonzero((liked == pair.liked) & (candidate == pair.candidate))
        wide[block.first + place] = weight
    network = WideDeep(model.network.config, model.network.shape, torch.Generator())
    network.load_state_dict({**model.network.state_dict(), "wide": wide})
    return replace(model, network=network)


def test_a_pair_with_the_wrong_sign_or_no_weight_is_not_recovered(recovery_world, model):
    planted = recovery_world[0]
    right = [pair.effect for pair in planted.exceptions]
    assert recover_exceptions(weigh(model, planted, right), planted).recall == 1
    found = recover_exceptions(weigh(model, planted, [right[0], -right[1], right[2], 0.0]), planted)
    assert (found.recall, found.precision, found.nonzero) == (0.5, 0.5, 3)
    assert [pair.right for pair in found.exceptions] == [True, False, True, False]
    assert [pair.rank for pair in found.exceptions][3] == 0


def test_a_pair_without_support_lowers_recall_but_not_precision(recovery_world, model):
    planted = recovery_world[0]
    known = planted.truth.exceptions
    never = replace(known[0], liked=known[0].candidate, candidate=known[0].candidate)
    more = replace(planted, truth=replace(planted.truth, exceptions=(*known[:3], never)))
    weights = [pair.effect for pair in planted.exceptions]
    found = recover_exceptions(weigh(model, planted, weights), more)
    assert (found.seen, found.precision, found.recall) == (3, 1.0, 0.75)


def test_scores_know_the_tastes_of_their_own_users_only(recovery_world, model):
    planted, interactions, tables, _ = recovery_world
    found = recover_taste(model, planted, interactions, tables)
    assert 0.06 < found.deep < found.attainable
    assert 0.3 < found.attainable < 1
    others = np.roll(planted.truth.user_taste, 1, axis=0)
    other = replace(planted, truth=replace(planted.truth, user_taste=others))
    nothing = recover_taste(model, other, interactions, tables)
    assert abs(nothing.deep) < 0.03
    assert abs(nothing.attainable) < 0.03

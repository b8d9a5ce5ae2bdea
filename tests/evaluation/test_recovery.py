"""On simulated ratings the model finds again what was planted, and comes near the best there is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from widedeep import metrics
from widedeep.artifact_store import ArtifactStore
from widedeep.data.ingest import ingest
from widedeep.data.planted_truth import PlantedTruth
from widedeep.data.ratings import Ratings
from widedeep.data.simulator import Simulation, simulate
from widedeep.data.split import Split
from widedeep.evaluation.attainable import attainable
from widedeep.evaluation.recovery import recover_exceptions, recover_taste
from widedeep.evaluation.scoring import Predictions, model_scorer, user_movie_mean
from widedeep.features.catalogue import Catalogue
from widedeep.features.training_plan import TrainingPlan, cold_parts
from widedeep.features.wide_block import wide_blocks
from widedeep.model.fitting import Fitting
from widedeep.model.network import WideDeep
from widedeep.model.presets import preset

SETTINGS = Simulation(
    users=3_000,
    movies=60,
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
def world(tmp_path_factory):
    """Truth, log, catalogue and split."""
    folder = tmp_path_factory.mktemp("planted")
    simulate(SETTINGS, folder / "world")
    ratings = Ratings(ingest(folder / "world", ArtifactStore(folder / "stages"), NOW))
    log = ratings.load()
    split = Split.of(log.time, ratings.last_time + 1)
    return PlantedTruth.load(folder / "world"), log, Catalogue.from_table(ratings.movies()), split


@pytest.fixture(scope="module")
def model(world):
    """The default preset, trained for a few epochs."""
    _, log, catalogue, split = world
    chosen = preset("default")
    chosen = replace(chosen, training=replace(chosen.training, epochs=EPOCHS))
    plan = TrainingPlan.of(cold_parts(log, catalogue, split, chosen.features, chosen.sampling))
    fitting = Fitting(plan, chosen, None, seed=0)
    list(fitting.epochs())
    return fitting.finished()


@pytest.fixture(scope="module")
def auc(world, model):
    """AUC by ranker and protocol."""
    planted, log, catalogue, split = world
    scorers = {
        "attainable": attainable(planted, log),
        "model": model_scorer(model, log, catalogue),
        "mean": user_movie_mean(model.transform, log, catalogue),
    }
    history = model.transform.spec.history
    found = {name: Predictions.of(log, split, history, score) for name, score in scorers.items()}
    return {
        name: {
            "streaming": metrics.auc(rows.label, rows.streaming),
            "frozen": metrics.auc(rows.label, rows.frozen),
        }
        for name, rows in found.items()
    }


def test_the_wide_part_recovers_the_planted_exceptions_with_their_sign(world, model):
    found = recover_exceptions(model, world[0])
    assert found.seen == len(found.exceptions) == SETTINGS.exceptions
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
    block = next(b for b in wide_blocks(transform) if b.features == ("liked", "movie"))
    liked, candidate = (transform.vocabulary_of("movie").decode(ids) for ids in block.parts)
    wide = torch.zeros_like(model.network.wide)
    for pair, weight in zip(planted.exceptions, weights, strict=True):
        place = np.flatnonzero((liked == pair.liked) & (candidate == pair.candidate))
        wide[block.first + place] = weight
    network = WideDeep(model.network.config, model.network.shape, torch.Generator())
    network.load_state_dict({**model.network.state_dict(), "wide": wide})
    return replace(model, network=network)


def test_a_pair_with_the_wrong_sign_or_no_weight_is_not_recovered(world, model):
    planted = world[0]
    right = [pair.effect for pair in planted.exceptions]
    assert recover_exceptions(weigh(model, planted, right), planted).recall == 1
    found = recover_exceptions(weigh(model, planted, [right[0], -right[1], right[2], 0.0]), planted)
    assert (found.recall, found.precision, found.nonzero) == (0.5, 0.5, 3)
    assert [pair.right for pair in found.exceptions] == [True, False, True, False]
    assert [pair.rank for pair in found.exceptions][3] == 0


def test_a_pair_without_support_lowers_recall_but_not_precision(world, model):
    planted = world[0]
    known = planted.truth.exceptions
    never = replace(known[0], liked=known[0].candidate, candidate=known[0].candidate)
    more = replace(planted, truth=replace(planted.truth, exceptions=(*known[:3], never)))
    weights = [pair.effect for pair in planted.exceptions]
    found = recover_exceptions(weigh(model, planted, weights), more)
    assert (found.seen, found.precision, found.recall) == (3, 1.0, 0.75)


def test_scores_know_the_tastes_of_their_own_users_only(world, model):
    planted, log, catalogue, _ = world
    found = recover_taste(model, planted, log, catalogue)
    assert 0.06 < found.deep < found.attainable
    assert 0.3 < found.attainable < 1
    strangers = np.roll(planted.truth.user_taste, 1, axis=0)
    other = replace(planted, truth=replace(planted.truth, user_taste=strangers))
    nothing = recover_taste(model, other, log, catalogue)
    assert abs(nothing.deep) < 0.03
    assert abs(nothing.attainable) < 0.03

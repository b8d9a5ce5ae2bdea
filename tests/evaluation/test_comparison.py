"""Challenger and champion on the same raw rows, each through its own transform."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from widedeep import metrics
from widedeep.data.ingest import ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.comparison import Evaluator
from widedeep.evaluation.gate import GateConfig, Verdict
from widedeep.evaluation.scoring import (
    CHAMPION_PREDICTIONS,
    PREDICTIONS,
    Predictions,
    model_scorer,
    slices,
    user_item_mean,
)
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.training_data import TrainingData, cold_parts, example_queries
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import preset
from widedeep.store import ArtifactStore

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    """Log, item table and split of the simulated ratings."""
    ratings = IngestedData(ingest(simulated, ArtifactStore(tmp_path_factory.mktemp("stages")), NOW))
    interactions = ratings.load()
    return (
        interactions,
        ItemTable.from_table(ratings.items()),
        Split.of(interactions.time, ratings.last_time + 1),
    )


def train(world, seed, epochs=1):
    interactions, item_table, split = world
    chosen = preset("default")
    chosen = replace(chosen, training=replace(chosen.training, epochs=epochs))
    plan = TrainingData.of(
        cold_parts(interactions, item_table, split, chosen.features, chosen.sampling)
    )
    fitting = TrainingRun(plan, chosen, None, seed)
    list(fitting.epochs())
    return fitting.finished()


@pytest.fixture(scope="module")
def models(world):
    return train(world, 0), train(world, 1)


@pytest.fixture
def evaluator(world):
    return Evaluator(*world, GateConfig(replicates=200))


def test_the_measured_numbers_are_those_of_the_written_predictions(evaluator, models, tmp_path):
    found = evaluator.compare(*models, tmp_path)
    for name, measured in ((PREDICTIONS, found.challenger), (CHAMPION_PREDICTIONS, found.champion)):
        rows = pd.read_parquet(tmp_path / name)
        for protocol in ("streaming", "frozen"):
            scores = rows[protocol].to_numpy()
            assert measured[protocol]["auc"] == metrics.auc(rows.label.to_numpy(), scores)
    assert "gauc" in found.challenger["frozen"]
    assert "gauc" not in found.challenger["streaming"]


def test_a_model_against_itself_is_no_evidence(evaluator, models, tmp_path):
    found = evaluator.compare(models[0], models[0], tmp_path)
    assert found.decision.verdict == Verdict.INSUFFICIENT
    assert found.difference.auc.difference == 0


def test_a_first_model_is_held_against_the_means_and_the_constant(evaluator, models, tmp_path):
    found = evaluator.compare(models[0], None, tmp_path)
    assert found.champion is None
    assert "user + item mean" in found.decision.reasons[0]
    assert "constant" in found.decision.reasons[1]
    assert not (tmp_path / CHAMPION_PREDICTIONS).exists()


def test_a_champion_that_saw_the_holdout_is_not_compared(evaluator, models, tmp_path):
    seen = replace(models[1], learned_until=evaluator.split.holdout_from + 1)
    found = evaluator.compare(models[0], seen, tmp_path)
    assert (found.decision.verdict, found.champion, found.difference) == (Verdict.HOLD, None, None)
    assert "unfair" in found.decision.reasons[0]


def test_another_label_is_not_compared(evaluator, models, tmp_path):
    spec = models[1].transform.spec
    nine = replace(spec, history=replace(spec.history, positive_rating=9))
    other = replace(models[1], transform=replace(models[1].transform, spec=nine))
    found = evaluator.compare(models[0], other, tmp_path)
    assert found.decision.verdict == Verdict.HOLD
    assert "cannot be compared" in found.decision.reasons[0]


def test_frozen_scores_know_nothing_of_the_holdout(world, models):
    interactions, item_table, split = world
    before = replace(
        interactions,
        **{
            n: getattr(interactions, n)[interactions.time < split.holdout_from]
            for n in interactions.__slots__
        },
    )
    asked = example_queries(interactions, split.holdout(interactions.time), split.holdout_from)
    whole, cut = (
        model_scorer(models[0], known, item_table)(asked) for known in (interactions, before)
    )
    assert np.array_equal(whole, cut)


def test_a_cold_user_and_item_get_a_probability(world, models):
    interactions, item_table, split = world
    nobody = np.array([-1])
    asked = Queries(nobody, nobody, np.array([split.as_of]), np.array([split.as_of]))
    model = model_scorer(models[0], interactions, item_table)
    means = user_item_mean(models[0].transform, interactions, item_table)
    for score in (model, means):
        assert 0 <= score(asked)[0] <= 1


def test_slices_part_the_holdout_by_what_is_known(world):
    interactions, _, split = world
    masks = slices(interactions, split)
    held = split.holdout(interactions.time)
    assert (masks["new_user"] ^ masks["returning_user"]).all()
    assert (masks["new_item"] ^ masks["old_item"]).all()
    for user, time, new in zip(
        interactions.user[held], interactions.time[held], masks["new_user"], strict=True
    ):
        assert new == (not ((interactions.user == user) & (interactions.time < time)).any())


def test_predictions_keep_the_order_of_the_log(world, models):
    interactions, item_table, split = world
    scorer = model_scorer(models[0], interactions, item_table)
    found = Predictions.of(interactions, split, models[0].transform.spec.history, scorer)
    held = split.holdout(interactions.time)
    assert np.array_equal(found.user, interactions.user[held])
    assert np.array_equal(found.label, interactions.value[held] >= 10)

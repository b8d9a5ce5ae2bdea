"""Benchmarks work: each part learns, encodes or judges, if only a little."""

import json

import numpy as np
import pytest

from tests.benchmarks import bench_lists, bench_ranking
from tests.benchmarks.speed import features_speed, training_speed
from tests.benchmarks.speed.training_work import BATCH, TrainingWork
from widedeep.evaluation.snapshot import DataSnapshot
from widedeep.inputs import Precision


def test_training_goes_on_where_the_last_epoch_ended():
    work = TrainingWork.of(BATCH + 1)
    trainer = training_speed._trainer(work, Precision.FLOAT32, "cpu")
    assert min(training_speed._epoch(trainer, work) for _ in range(2)) > 0
    assert trainer.progress.epoch == 2


def test_features_are_encoded_by_all_that_are_compared():
    found = features_speed.measure(3000, 1)
    assert min(*found["ours"].values(), *found["peers"].values()) > 0


def test_a_ranker_finds_what_a_registered_model_carries(tiny, tmp_path):
    data = bench_ranking.Data.of(tiny, tmp_path)
    assert len(DataSnapshot.load(data.history).interactions) == len(data.interactions)


@pytest.fixture(scope="module")
def lists(simulated, tmp_path_factory):
    """What the benchmark of lists finds with a model of one epoch."""
    options = bench_lists.options_of(["--data", str(simulated), "--epochs", "1"])
    return bench_lists.measure(options, tmp_path_factory.mktemp("lists"))


def test_new_users_have_one_list_whose_order_is_the_items_own(lists):
    new, *others = lists["by_known"]
    assert (new["interactions"], new["items"]) == ("0", 10)
    assert new["overlap"] == new["item_share"] == pytest.approx(1.0)
    assert all(0 < row["item_share"] < 1 and row["overlap"] < 1 for row in others)
    json.dumps(lists)


def test_orders_of_the_same_candidates_are_measured_against_probability(lists):
    rows = {row["order"]: row for row in lists["by_order"]}
    base = rows["probability"]
    assert base["error"] == 0
    assert {row["lists"] for row in rows.values()} == {base["lists"]}
    parts = [rows[f"personalisation {part}"]["overlap"] for part in (0.25, 0.5, 0.75, 0.9)]
    assert parts == sorted(parts, reverse=True)
    assert parts[0] < base["overlap"]
    assert rows["random"]["gini"] < base["gini"]
    assert rows["popularity penalty 0.1"]["novelty"] > base["novelty"]
    assert rows["popularity"]["novelty"] < base["novelty"]


def test_diversity_shows_the_best_item_first_and_then_unlike_ones():
    row = bench_lists.Candidates(
        user=np.array([1]),
        item=np.arange(12)[None, :],
        logit=np.linspace(1, 0, 12)[None, :],
        new=np.zeros(12),
        known=np.array([1]),
    )
    likeness = np.zeros((12, 12))
    likeness[0, 1] = likeness[1, 0] = 1.0
    assert row.diverse(likeness, 0.0).tolist() == [list(range(10))]
    assert row.diverse(likeness, 5.0).tolist() == [[0, *range(2, 11)]]

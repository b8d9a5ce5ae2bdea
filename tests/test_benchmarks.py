"""Benchmarks work: each part learns, encodes or judges, if only a little."""

from tests.benchmarks import bench_ranking
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

"""Windows are pooled without a row twice and without more error than was allowed."""

from itertools import count, islice

import numpy as np
import pytest

from widedeep.evaluation.comparison import streaming_difference
from widedeep.evaluation.gate import GateConfig
from widedeep.evaluation.scoring import CHAMPION_PREDICTIONS, PREDICTIONS, Predictions
from widedeep.evaluation.sequential import (
    HoldoutWindow,
    confidence_at_look,
    disjoint_windows,
    pool_windows,
)
from widedeep.store import Artifact

CONFIDENCE = 0.95
TIMES = np.arange(1000)


def predictions(seed, noise, times):
    """Predictions with as much noise as said, of rows whose truth depends on `times` alone."""
    world = np.random.default_rng(7)
    logit = world.normal(0.5, 1.3, len(TIMES))
    label = world.random(len(TIMES)) < 1 / (1 + np.exp(-logit))
    guess = logit + noise * np.random.default_rng(seed).normal(size=len(TIMES))
    probability = 1 / (1 + np.exp(-guess))
    columns = (TIMES % 300, TIMES % 7, TIMES, label, probability, probability)
    return Predictions(*(column[times] for column in columns))


def model_pair(seed, times):
    """Predictions of a challenger, and of a champion that is the same for every seed."""
    return predictions(seed, 0.2, times), predictions(0, 0.6, times)


def window(seed, begin, end):
    return HoldoutWindow.from_predictions(*model_pair(seed, slice(begin, end)))


def pool(windows, looks=2):
    generator = np.random.default_rng(1)
    return pool_windows(windows, looks, generator=generator, replicates=400, confidence=CONFIDENCE)


@pytest.fixture
def make_evaluation(tmp_path):
    """Return a function that makes an earlier evaluation, saved as a retrain saves it."""
    numbers = count()

    def make(times, seed=1):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        challenger, champion = model_pair(seed, times)
        challenger.save(folder / PREDICTIONS)
        champion.save(folder / CHAMPION_PREDICTIONS)
        summary = {"holdout_from": int(TIMES[times][0])}
        return Artifact("evaluations", folder.name, folder, {}, summary)

    return make


def test_the_error_spent_over_all_looks_is_what_one_window_may_err():
    looks = islice(count(2), 5000)
    spent = sum(1 - confidence_at_look(CONFIDENCE, look) for look in looks)
    assert spent == pytest.approx(0.05, abs=1e-4)
    assert confidence_at_look(CONFIDENCE, 2) == pytest.approx(0.975)


def test_overlapping_windows_count_each_row_once_for_the_challenger_of_its_day(make_evaluation):
    earlier = [make_evaluation(slice(100, 600), seed=1), make_evaluation(slice(300, 700), seed=2)]
    windows = disjoint_windows(earlier, model_pair(3, slice(500, 900)), 500)
    assert [len(window.label) for window in windows] == [200, 200, 400]
    for part, seed, begin in zip(windows, (1, 2, 3), (100, 300, 500), strict=True):
        challenger, _ = model_pair(seed, slice(begin, begin + len(part.label)))
        np.testing.assert_array_equal(part.challenger, challenger.streaming)


def test_the_same_holdout_looked_at_again_adds_no_row(make_evaluation):
    earlier = [make_evaluation(slice(500, 900), seed=seed) for seed in (1, 2)]
    windows = disjoint_windows(earlier, model_pair(3, slice(500, 900)), 500)
    assert [len(window.label) for window in windows] == [400]


def test_one_window_has_the_interval_of_the_paired_bootstrap_at_the_same_confidence():
    challenger, champion = model_pair(1, slice(0, 1000))
    pooled = pool([window(1, 0, 1000)]).auc
    gate = GateConfig(confidence=confidence_at_look(CONFIDENCE, 2))
    single = streaming_difference(challenger, champion, gate).auc
    assert pooled.difference == pytest.approx(single.difference)
    assert (pooled.low, pooled.high) == pytest.approx((single.low, single.high), abs=0.003)


def test_more_windows_narrow_the_interval_and_more_looks_widen_it():
    windows = [window(1, begin, begin + 250) for begin in range(0, 1000, 250)]
    two, four, four_at_look_9 = (
        pooled.auc.high - pooled.auc.low
        for pooled in (pool(windows[:2]), pool(windows), pool(windows, looks=9))
    )
    assert four < two
    assert four < four_at_look_9


def test_a_window_counts_by_its_rows():
    small, large = window(1, 0, 200), window(2, 200, 1000)
    expected = 0.2 * small.auc_difference + 0.8 * large.auc_difference
    assert pool([small, large]).auc.difference == pytest.approx(expected)

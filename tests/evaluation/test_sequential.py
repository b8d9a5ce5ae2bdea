"""Windows are pooled without a row twice and without more error than was allowed."""

from itertools import count, islice

import numpy as np
import pytest

from widedeep.evaluation.gate import GateConfig, streaming_difference
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


def scored(seed, noise, times):
    """Predictions with as much noise as said, of rows whose truth depends on `times` alone."""
    world = np.random.default_rng(7)
    logit = world.normal(0.5, 1.3, len(TIMES))
    label = world.random(len(TIMES)) < 1 / (1 + np.exp(-logit))
    guess = logit + noise * np.random.default_rng(seed).normal(size=len(TIMES))
    probability = 1 / (1 + np.exp(-guess))
    columns = (TIMES % 300, TIMES % 7, TIMES, label, probability, probability)
    return Predictions(*(column[times] for column in columns))


def pair(seed, times):
    return scored(seed, 0.2, times), scored(0, 0.6, times)


def pooled(windows, looks=2):
    generator = np.random.default_rng(1)
    return pool_windows(windows, looks, generator=generator, replicates=400, confidence=CONFIDENCE)


@pytest.fixture
def evaluation(tmp_path):
    """An evaluation of the rows of some times, as it is kept."""
    numbers = count()

    def keep(times, seed=1):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        ours, theirs = pair(seed, times)
        ours.save(folder / PREDICTIONS)
        theirs.save(folder / CHAMPION_PREDICTIONS)
        summary = {"holdout_from": int(TIMES[times][0])}
        return Artifact("evaluations", folder.name, folder, {}, summary)

    return keep


def test_the_error_spent_over_all_looks_is_what_one_window_may_err():
    looks = islice(count(2), 5000)
    assert sum(1 - confidence_at_look(CONFIDENCE, k) for k in looks) == pytest.approx(
        0.05, abs=1e-4
    )
    assert confidence_at_look(CONFIDENCE, 2) == pytest.approx(0.975)


def test_windows_that_overlap_give_each_row_once_to_the_challenger_of_its_day(evaluation):
    earlier = [evaluation(slice(100, 600), seed=1), evaluation(slice(300, 700), seed=2)]
    present = pair(3, slice(500, 900))
    windows = disjoint_windows(earlier, present, 500)
    assert [len(window.label) for window in windows] == [200, 200, 400]
    for window, seed, begin in zip(windows, (1, 2, 3), (100, 300, 500), strict=True):
        wanted = pair(seed, slice(begin, begin + len(window.label)))[0].streaming
        np.testing.assert_array_equal(window.challenger, wanted)


def test_the_same_holdout_looked_at_again_adds_no_row(evaluation):
    earlier = [evaluation(slice(500, 900), seed=seed) for seed in (1, 2)]
    windows = disjoint_windows(earlier, pair(3, slice(500, 900)), 500)
    assert [len(window.label) for window in windows] == [400]


def test_one_window_is_what_the_paired_bootstrap_says_but_for_the_confidence():
    ours, theirs = pair(1, slice(0, 1000))
    found = pooled([HoldoutWindow.of(ours, theirs)]).auc
    confidence = confidence_at_look(CONFIDENCE, 2)
    alone = streaming_difference(ours, theirs, GateConfig(confidence=confidence)).auc
    assert found.difference == pytest.approx(alone.difference)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.003)


def test_more_windows_narrow_the_interval_and_more_looks_widen_it():
    parts = [HoldoutWindow.of(*pair(1, slice(begin, begin + 250))) for begin in range(0, 1000, 250)]
    widths = [
        found.auc.high - found.auc.low
        for found in (pooled(parts[:2]), pooled(parts), pooled(parts, looks=9))
    ]
    assert widths[1] < widths[0]
    assert widths[1] < widths[2]


def test_a_window_counts_by_its_rows():
    small, large = (
        HoldoutWindow.of(*pair(1, slice(0, 200))),
        HoldoutWindow.of(*pair(2, slice(200, 1000))),
    )
    wanted = 0.2 * small.difference + 0.8 * large.difference
    assert pooled([small, large]).auc.difference == pytest.approx(wanted)

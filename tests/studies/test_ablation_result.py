"""The numbers of an ablation: means over seeds, and intervals of the mean difference."""

from itertools import pairwise

import numpy as np
import pytest

from tests.worlds import KMRD
from widedeep import metrics
from widedeep.evaluation.bootstrap import BOOTSTRAP_SEED, paired_bootstrap
from widedeep.evaluation.scoring import Predictions
from widedeep.studies.ablation import all_variants
from widedeep.studies.ablation_result import (
    ScoredVariant,
    SeedSpread,
    mean_auc_difference,
    mean_log_loss_difference,
    variant_results,
)

FULL, WIDE = all_variants(KMRD)[:2]
ROWS = 300


def simulate(seed=0):
    """Return user, label, and a function that draws a model's probabilities; some rows are tied."""
    generator = np.random.default_rng(seed)
    user, quality = generator.integers(60, size=ROWS), generator.normal(size=ROWS)
    label = generator.random(ROWS) < 1 / (1 + np.exp(-quality))

    def draw(noise):
        return (1 / (1 + np.exp(-quality - generator.normal(0, noise, ROWS)))).round(2)

    return user, label, draw


def interval_ends(interval):
    return interval.difference, interval.low, interval.high


MEANS = {"auc": mean_auc_difference, "log_loss": mean_log_loss_difference}


@pytest.mark.parametrize("metric", MEANS)
def test_the_difference_is_the_mean_of_the_seeds_differences(metric):
    user, label, draw = simulate()
    variant, reference = [draw(1.0) for _ in range(3)], [draw(0.5) for _ in range(3)]
    measure = getattr(metrics, metric)
    by_seed = [
        measure(label, a) - measure(label, b) for a, b in zip(variant, reference, strict=True)
    ]
    interval = MEANS[metric](label, variant, reference, user)
    assert interval.difference == pytest.approx(np.mean(by_seed), abs=1e-12)
    assert interval.low < interval.difference < interval.high


@pytest.mark.parametrize("metric", MEANS)
@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_seeds_have_the_interval_of_a_single_one(metric, seeds):
    user, label, draw = simulate(1)
    variant, reference = draw(1.0), draw(0.5)
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    single = getattr(paired_bootstrap(label, variant, reference, user, generator=generator), metric)
    interval = MEANS[metric](label, [variant] * seeds, [reference] * seeds, user)
    assert interval_ends(interval) == pytest.approx(interval_ends(single), abs=1e-12)


@pytest.mark.parametrize("metric", MEANS)
def test_seeds_that_contradict_each_other_cancel_in_every_replicate(metric):
    user, label, draw = simulate(2)
    first, second = draw(1.0), draw(0.3)
    interval = MEANS[metric](label, [first, second], [second, first], user)
    assert interval_ends(interval) == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_monotone_change_of_a_seeds_scores_changes_no_auc_difference():
    user, label, draw = simulate(3)
    variant, reference = [draw(1.0), draw(1.0)], [draw(0.5), draw(0.5)]
    plain = mean_auc_difference(label, variant, reference, user)
    variant[1], reference[1] = variant[1] ** 4, reference[1] ** 4
    bent = mean_auc_difference(label, variant, reference, user)
    assert interval_ends(bent) == pytest.approx(interval_ends(plain), abs=1e-12)


def score(variant, probabilities, user, label):
    column = np.arange(ROWS)
    predictions = tuple(Predictions(user, column, column, label, p, p**2) for p in probabilities)
    return ScoredVariant(variant, predictions, (10, 20), (4, 5), (1.0, 3.0))


@pytest.fixture(scope="module")
def results():
    user, label, draw = simulate(4)
    variant, reference = [draw(1.0), draw(1.0)], [draw(0.5), draw(0.5)]
    masks = {
        "some": dict.fromkeys(("streaming", "frozen"), user < 30),
        "positive": dict.fromkeys(("streaming", "frozen"), label),
        "none": dict.fromkeys(("streaming", "frozen"), np.zeros(ROWS, bool)),
    }
    models = [score(FULL, reference, user, label), score(WIDE, variant, user, label)]
    return variant_results(models, masks), (user, label, variant, reference)


def test_metrics_are_means_and_spreads_over_the_seeds(results):
    (_, wide), (_, label, variant, _) = results
    aucs = [metrics.auc(label, p) for p in variant]
    assert wide.measured["streaming"]["auc"] == SeedSpread(np.mean(aucs), np.std(aucs, ddof=1))
    losses = [metrics.log_loss(label, p**2) for p in variant]
    assert wide.measured["frozen"]["log_loss"].mean == pytest.approx(np.mean(losses))
    assert wide.wide_nonzero.mean == 15
    assert wide.best_epoch.mean == 4.5
    assert wide.seconds.mean == 2


def test_a_single_seed_has_no_spread():
    assert SeedSpread.from_values([0.7]) == SeedSpread(0.7, None)


def test_a_variant_is_compared_with_the_one_it_names(results):
    (full, wide), (_, label, variant, reference) = results
    assert not full.differences
    by_seed = [
        metrics.auc(label, a) - metrics.auc(label, b)
        for a, b in zip(variant, reference, strict=True)
    ]
    difference = wide.differences["streaming"]
    assert difference.auc.difference == pytest.approx(np.mean(by_seed), abs=1e-12)
    assert difference.auc_sd == pytest.approx(np.std(by_seed, ddof=1))


def test_slices_are_measured_on_their_rows_and_left_empty_where_they_cannot_be(results):
    (full, wide), (user, label, variant, reference) = results
    rows = user < 30
    some = wide.slices["some"]["streaming"]
    auc = np.mean([metrics.auc(label[rows], seed[rows]) for seed in variant])
    reference_auc = np.mean([metrics.auc(label[rows], seed[rows]) for seed in reference])
    assert some.rows == rows.sum()
    assert some.measured["auc"].mean == pytest.approx(auc)
    assert some.differences["auc"].difference == pytest.approx(auc - reference_auc, abs=1e-12)
    assert not full.slices["some"]["streaming"].differences
    for name, count in (("positive", label.sum()), ("none", 0)):
        empty = wide.slices[name]["frozen"]
        assert (empty.rows, empty.measured, empty.differences) == (count, {}, {})


def test_the_order_of_seeds_changes_nothing_but_rounding():
    user, label, draw = simulate(5)
    variant, reference = [draw(1.0) for _ in range(3)], [draw(0.5) for _ in range(3)]
    rotations = [
        (variant[first:] + variant[:first], reference[first:] + reference[:first])
        for first in range(3)
    ]
    ends = [interval_ends(mean_auc_difference(label, *pair, user)) for pair in rotations]
    for rotation, following in pairwise(ends):
        assert rotation == pytest.approx(following, abs=1e-12)

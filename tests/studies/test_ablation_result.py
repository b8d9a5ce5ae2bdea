"""The numbers of an ablation: means over seeds, and intervals of the mean difference."""

from itertools import pairwise

import numpy as np
import pytest

from widedeep import metrics
from widedeep.evaluation.bootstrap import paired_bootstrap
from widedeep.evaluation.gate import BOOTSTRAP_SEED
from widedeep.evaluation.scoring import Predictions
from widedeep.studies.ablation import all_variants
from widedeep.studies.ablation_result import (
    ScoredVariant,
    SeedSpread,
    mean_auc_difference,
    mean_log_loss_difference,
    variant_results,
)

FULL, WIDE = all_variants()[:2]
ROWS = 300


def world(seed=0):
    """User, label, and a way to draw a model's probabilities; some rows are tied."""
    generator = np.random.default_rng(seed)
    user, quality = generator.integers(60, size=ROWS), generator.normal(size=ROWS)
    label = generator.random(ROWS) < 1 / (1 + np.exp(-quality))

    def model(noise):
        return (1 / (1 + np.exp(-quality - generator.normal(0, noise, ROWS)))).round(2)

    return user, label, model


def ends(interval):
    return interval.difference, interval.low, interval.high


MEANS = {"auc": mean_auc_difference, "log_loss": mean_log_loss_difference}


@pytest.mark.parametrize("metric", MEANS)
def test_the_difference_is_the_mean_of_the_seeds_own(metric):
    user, label, model = world()
    ours, theirs = [model(1.0) for _ in range(3)], [model(0.5) for _ in range(3)]
    measure = getattr(metrics, metric)
    own = [measure(label, a) - measure(label, b) for a, b in zip(ours, theirs, strict=True)]
    found = MEANS[metric](label, ours, theirs, user)
    assert found.difference == pytest.approx(np.mean(own), abs=1e-12)
    assert found.low < found.difference < found.high


@pytest.mark.parametrize("metric", MEANS)
@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_that_agree_have_the_interval_of_one(metric, seeds):
    user, label, model = world(1)
    ours, theirs = model(1.0), model(0.5)
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    single = getattr(paired_bootstrap(label, ours, theirs, user, generator=generator), metric)
    found = MEANS[metric](label, [ours] * seeds, [theirs] * seeds, user)
    assert ends(found) == pytest.approx(ends(single), abs=1e-12)


@pytest.mark.parametrize("metric", MEANS)
def test_seeds_that_contradict_each_other_cancel_in_every_replicate(metric):
    user, label, model = world(2)
    one, other = model(1.0), model(0.3)
    found = MEANS[metric](label, [one, other], [other, one], user)
    assert ends(found) == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_seed_with_other_calibration_changes_no_auc_difference():
    user, label, model = world(3)
    ours, theirs = [model(1.0), model(1.0)], [model(0.5), model(0.5)]
    plain = mean_auc_difference(label, ours, theirs, user)
    bent = mean_auc_difference(label, [ours[0], ours[1] ** 4], [theirs[0], theirs[1] ** 4], user)
    assert ends(bent) == pytest.approx(ends(plain), abs=1e-12)


def scored(variant, probabilities, user, label):
    column = np.arange(ROWS)
    predictions = tuple(Predictions(user, column, column, label, p, p**2) for p in probabilities)
    return ScoredVariant(variant, predictions, (10, 20), (4, 5), (1.0, 3.0))


@pytest.fixture(scope="module")
def results():
    user, label, model = world(4)
    ours, theirs = [model(1.0), model(1.0)], [model(0.5), model(0.5)]
    masks = {
        "some": dict.fromkeys(("streaming", "frozen"), user < 30),
        "positive": dict.fromkeys(("streaming", "frozen"), label),
        "none": dict.fromkeys(("streaming", "frozen"), np.zeros(ROWS, bool)),
    }
    models = [scored(FULL, theirs, user, label), scored(WIDE, ours, user, label)]
    return variant_results(models, masks), (user, label, ours, theirs)


def test_metrics_are_means_and_spreads_over_the_seeds(results):
    (_, wide), (_, label, ours, _) = results
    aucs = [metrics.auc(label, p) for p in ours]
    assert wide.measured["streaming"]["auc"] == SeedSpread(np.mean(aucs), np.std(aucs, ddof=1))
    losses = [metrics.log_loss(label, p**2) for p in ours]
    assert wide.measured["frozen"]["log_loss"].mean == pytest.approx(np.mean(losses))
    assert wide.wide_nonzero.mean == 15
    assert wide.best_epoch.mean == 4.5
    assert wide.seconds.mean == 2


def test_a_single_seed_has_no_spread():
    assert SeedSpread.of([0.7]) == SeedSpread(0.7, None)


def test_a_variant_is_compared_with_the_one_it_names(results):
    (full, wide), (_, label, ours, theirs) = results
    assert not full.differences
    own = [metrics.auc(label, a) - metrics.auc(label, b) for a, b in zip(ours, theirs, strict=True)]
    found = wide.differences["streaming"]
    assert found.auc.difference == pytest.approx(np.mean(own), abs=1e-12)
    assert found.auc_sd == pytest.approx(np.std(own, ddof=1))


def test_slices_are_measured_on_their_rows_and_left_empty_where_they_cannot_be(results):
    (full, wide), (user, label, ours, theirs) = results
    part = user < 30
    found = wide.slices["some"]["streaming"]
    own = [metrics.auc(label[part], p[part]) for p in ours]
    others = [metrics.auc(label[part], p[part]) for p in theirs]
    assert found.rows == part.sum()
    assert found.measured["auc"].mean == pytest.approx(np.mean(own))
    difference = np.mean(own) - np.mean(others)
    assert found.differences["auc"].difference == pytest.approx(difference, abs=1e-12)
    assert not full.slices["some"]["streaming"].differences
    for name, rows in (("positive", label.sum()), ("none", 0)):
        empty = wide.slices[name]["frozen"]
        assert (empty.rows, empty.measured, empty.differences) == (rows, {}, {})


def test_the_order_of_seeds_changes_nothing_but_rounding():
    user, label, model = world(5)
    ours, theirs = [model(1.0) for _ in range(3)], [model(0.5) for _ in range(3)]
    found = [
        ends(mean_auc_difference(label, ours[i:] + ours[:i], theirs[i:] + theirs[:i], user))
        for i in range(3)
    ]
    for one, other in pairwise(found):
        assert one == pytest.approx(other, abs=1e-12)

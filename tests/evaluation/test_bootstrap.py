"""The paired bootstrap against repeated rows, against its own promise, and against itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from widedeep import metrics
from widedeep.evaluation import bootstrap
from widedeep.evaluation.bootstrap import Interval, PairedSample, paired_bootstrap, user_draws
from widedeep.inputs import InputError

# Difference, low, high. New values are right only where numpy changed its stream of draws.
GOLDEN_AUC = (0.01758241758241763, -0.04204143988650769, 0.08649672302902979)
GOLDEN_LOG_LOSS = (-0.031875407884995544, -0.09562094319611265, 0.026327725455049328)


def _rng(seed):
    return np.random.default_rng(seed)


def simulate(generator, users, rows):
    """Simulate users with preferences: return label, a good model, a worse one, user."""
    user = generator.integers(users, size=rows)
    preference = generator.normal(0, 1.0, size=users)[user]
    quality = generator.normal(0.5, 1.0, size=rows)
    label = generator.random(rows) < _sigmoid(preference + quality)
    # The error is shared by a user's rows: what a bootstrap of rows would miss.
    wrong = generator.normal(0, 0.5, size=users)[user]
    return label, _sigmoid(quality + 0.4 * preference), _sigmoid(0.8 * quality + 0.3 + wrong), user


def _sigmoid(logit):
    return 1 / (1 + np.exp(-logit))


def tied_sample(seed, rows=60, levels=8):
    generator = _rng(seed)
    scores = generator.integers(levels + 1, size=(2, rows)) / levels
    user = generator.choice([907, -1, 40, 5, 8, 13, 21, 34], size=rows)
    return generator.random(rows) < 0.6, *scores, user


def compare(sample, seed=0, **settings):
    return paired_bootstrap(*sample, generator=_rng(seed), **settings)


def repeated_rows(sample, counts):
    """Challenger minus champion on a table that really repeats each row `counts` times."""
    label, *models, user = sample
    rows = np.repeat(np.arange(len(label)), counts[np.unique(user, return_inverse=True)[1]])
    auc = [roc_auc_score(label[rows], model[rows]) for model in models]
    clipped = [np.clip(model[rows], 1e-7, 1 - 1e-7) for model in models]
    loss = [log_loss(label[rows], model) for model in clipped]
    ece = [calibration(label, model, rows) for model in models]
    return auc[0] - auc[1], loss[0] - loss[1], ece[0] - ece[1]


def calibration(label, model, rows):
    """The calibration error of the repeated rows in the bins of the whole table."""
    bins = metrics.calibration_bins(model)[rows]
    gaps = np.bincount(bins, weights=label[rows] - model[rows])
    return np.abs(gaps).sum() / len(rows)


@pytest.mark.parametrize("make", [tied_sample, lambda seed: simulate(_rng(seed), 30, 80)])
def test_every_replicate_equals_scikit_learn_on_repeated_rows(make):
    for seed in range(2):
        sample = make(seed)
        users = len(np.unique(sample[3]))
        label, *models, user = sample
        code = np.unique(user, return_inverse=True)[1]
        prepared = PairedSample.from_scores(label, *models, code, users)
        (counts,) = user_draws(_rng(seed), users, 40)
        assert (counts.sum(axis=0) == users).all()
        differences = prepared.differences(counts)
        usable = np.flatnonzero(~np.isnan(differences[0]))
        expected = [repeated_rows(sample, counts[:, replicate]) for replicate in usable]
        np.testing.assert_allclose(differences[:, usable].T, expected, rtol=0, atol=1e-12)


def test_the_interval_is_the_percentiles_of_brute_force_draws():
    sample = simulate(_rng(1), 40, 120)
    users, generator = len(np.unique(sample[3])), _rng(7)
    draws = [np.bincount(generator.integers(users, size=users), minlength=users) for _ in range(90)]
    expected = np.array([repeated_rows(sample, counts) for counts in draws])
    result = compare(sample, seed=7, replicates=90, confidence=0.8)
    for interval, drawn in zip((result.auc, result.log_loss, result.ece), expected.T, strict=True):
        ends = np.percentile(drawn, [10, 90])
        np.testing.assert_allclose([interval.low, interval.high], ends, rtol=0, atol=1e-12)


def test_the_point_difference_is_that_of_the_metrics():
    label, challenger, champion, user = sample = simulate(_rng(2), 50, 200)
    result = compare(sample, replicates=10)
    auc = metrics.auc(label, challenger) - metrics.auc(label, champion)
    loss = metrics.log_loss(label, challenger) - metrics.log_loss(label, champion)
    assert (result.auc.difference, result.log_loss.difference) == (auc, loss)
    assert (result.rows, result.users, result.replicates) == (200, len(np.unique(user)), 10)


def test_the_interval_of_a_fixed_table_is_the_golden_one():
    row = np.arange(400)
    label = (row * 7919 % 400) < 260
    challenger = (row * 104729 % 401 + 60 * label) / 461
    champion = (row * 15485863 % 401 + 45 * label) / 446
    result = compare((label, challenger, champion, row * row % 131), seed=2016)
    assert result.users == 66
    for interval, golden in ((result.auc, GOLDEN_AUC), (result.log_loss, GOLDEN_LOG_LOSS)):
        ends = (interval.difference, interval.low, interval.high)
        assert ends == pytest.approx(golden, rel=0, abs=1e-12)


def test_a_95_percent_interval_covers_the_true_difference_in_about_95_percent():
    label, challenger, champion, _ = simulate(_rng(3), 150_000, 300_000)
    true_auc = metrics.auc(label, challenger) - metrics.auc(label, champion)
    true_loss = metrics.log_loss(label, challenger) - metrics.log_loss(label, champion)
    generator, covered = _rng(4), np.zeros(2)
    for _ in range(200):
        result = paired_bootstrap(
            *simulate(generator, 250, 500), generator=generator, replicates=400
        )
        covered += (_covers(result.auc, true_auc), _covers(result.log_loss, true_loss))
    assert ((covered / 200 >= 0.9) & (covered / 200 <= 0.99)).all(), covered / 200


def _covers(interval, value):
    return interval.low <= value <= interval.high


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_identical_models_have_exactly_no_difference(seed):
    label, model, _, user = tied_sample(seed)
    result = compare((label, model, model.copy(), user), replicates=50)
    assert result.auc == result.log_loss == Interval(0.0, 0.0, 0.0)


def test_swapped_models_have_the_mirrored_interval():
    label, challenger, champion, user = simulate(_rng(5), 50, 200)
    forward = compare((label, challenger, champion, user))
    backward = compare((label, champion, challenger, user))
    assert (backward.auc.low, backward.auc.high) == pytest.approx(
        (-forward.auc.high, -forward.auc.low)
    )


def test_copied_rows_are_no_evidence_where_the_user_is_the_same():
    label, challenger, champion, user = simulate(_rng(6), 300, 300)
    copies = [np.repeat(column, 9) for column in (label, challenger, champion, user)]
    once = compare((label, challenger, champion, user))
    clustered = compare(copies)
    of_new_users = compare((*copies[:3], np.arange(len(copies[0]))))
    assert _width(clustered.auc) == pytest.approx(_width(once.auc))
    assert _width(of_new_users.auc) == pytest.approx(_width(once.auc) / 3, rel=0.15)


def _width(interval):
    return interval.high - interval.low


def test_equal_generators_give_equal_results():
    sample = simulate(_rng(7), 50, 200)
    assert compare(sample, seed=3) == compare(sample, seed=3)
    assert compare(sample, seed=3) != compare(sample, seed=4)


def test_the_width_of_a_block_changes_nothing(monkeypatch):
    sample = simulate(_rng(8), 50, 200)
    wide = compare(sample, replicates=130)
    users = wide.users
    monkeypatch.setattr(bootstrap, "_BLOCK_BYTES", 7 * users)
    assert [counts.shape[1] for counts in user_draws(_rng(0), users, 16)] == [7, 7, 2]
    assert compare(sample, replicates=130) == wide


def test_the_names_of_users_change_nothing():
    label, challenger, champion, user = simulate(_rng(9), 50, 200)
    names = np.array([f"관객-{number:03d}" for number in user])
    assert compare((label, challenger, champion, names)) == compare(
        (label, challenger, champion, user)
    )


def test_replicates_with_one_class_are_left_out_and_counted():
    label = np.array([1, 0, 0, 0, 0])
    sample = (label, np.linspace(0.9, 0.1, 5), np.linspace(0.5, 0.4, 5), np.arange(5))
    result = compare(sample, replicates=1000)
    assert result.replicates + result.left_out == 1000
    # The one positive is missing from (4 / 5)^5 = 33 % of the draws.
    assert result.left_out / 1000 == pytest.approx(0.8**5 + 0.2**5, abs=0.05)


def test_more_than_half_without_a_class_is_refused():
    sample = (np.array([1, 0]), np.array([0.9, 0.1]), np.array([0.5, 0.4]), np.array([1, 2]))
    with pytest.raises(InputError, match="of 101 bootstrap replicates have one class only"):
        compare(sample, seed=0, replicates=101)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"replicates": 0}, "replicates is 0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": float("nan")}, "confidence is nan"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        compare(tied_sample(0), **change)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, np.ones(60), "needs both classes"),
        (1, np.full(60, 1.2), "value 1.2"),
        (2, np.full(60, np.nan), "value nan"),
        (2, np.full(59, 0.5), "shape"),
        (3, np.arange(59), "user has shape"),
    ],
)
def test_unusable_input_is_refused(column, value, message):
    sample = list(tied_sample(0))
    sample[column] = value
    with pytest.raises(InputError, match=message):
        compare(sample)

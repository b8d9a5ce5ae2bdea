"""The metrics against scikit-learn, or against a loop that spells the definition out."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from widedeep import metrics
from widedeep.inputs import InputError

# Few values make ties; the neighbours in float64 must stay apart.
PROBABILITIES = [0.0, 0.1, 0.3, np.nextafter(0.3, 1), 0.5, 1 - 1e-9, 1.0]

patient = settings(max_examples=60)


def columns(rows, dtype, elements):
    """Draw every value separately; hypothesis would fill an array with one value."""
    return st_numpy.arrays(dtype, rows, elements=elements, fill=st.nothing())


@st.composite
def samples(draw):
    rows = draw(st.integers(2, 40))
    label = draw(columns(rows, np.bool_, st.booleans()))
    probability = draw(columns(rows, float, st.sampled_from(PROBABILITIES)))
    return label, probability, draw(columns(rows, np.int64, st.integers(-3, 3)))


def pairs_won(label, probability):
    """Return the share of (positive, negative) pairs in the right order; a tie is half a pair."""
    above = probability[label][:, None] - probability[~label][None, :]
    return np.mean((above > 0) + 0.5 * (above == 0))


def random_sample(seed, rows=500, users=60, levels=20):
    generator = np.random.default_rng(seed)
    probability = generator.integers(levels, size=rows) / levels
    return generator.random(rows) < probability, probability, generator.integers(users, size=rows)


def by_user(sample):
    label, probability, user = sample
    return [(label[user == code], probability[user == code]) for code in np.unique(user)]


def mean_gauc(sample):
    lists = [(y, p) for y, p in by_user(sample) if 0 < y.sum() < len(y)]
    return np.average([pairs_won(y, p) for y, p in lists], weights=[len(y) for y, _ in lists])


def mean_ndcg(sample):
    lists = [(y, p) for y, p in by_user(sample) if y.any() and len(y) > 1]
    return np.mean([ndcg_score(y[None].astype(int), p[None], k=10) for y, p in lists])


@patient
@given(samples())
def test_auc_is_the_share_of_pairs_in_order(sample):
    label, probability, _ = sample
    assume(0 < label.sum() < len(label))
    assert metrics.auc(label, probability) == pytest.approx(pairs_won(label, probability))


@patient
@given(samples())
def test_pr_auc_is_scikit_learns_average_precision(sample):
    label, probability, _ = sample
    assume(0 < label.sum() < len(label))
    expected = average_precision_score(label, probability)
    assert metrics.pr_auc(label, probability) == pytest.approx(expected)


@patient
@given(samples())
def test_log_loss_is_scikit_learns_after_clipping(sample):
    label, probability, _ = sample
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    expected = sklearn_log_loss(label, clipped, labels=[False, True])
    assert metrics.log_loss(label, probability) == pytest.approx(expected)
    assert metrics.row_log_loss(label, probability).mean() == metrics.log_loss(label, probability)


def test_a_certain_mistake_costs_a_finite_loss():
    assert metrics.log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-np.log(1e-7))


@patient
@given(samples())
def test_gauc_is_the_weighted_mean_of_each_users_auc(sample):
    assume(any(0 < y.sum() < len(y) for y, _ in by_user(sample)))
    assert metrics.gauc(*sample) == pytest.approx(mean_gauc(sample))


def test_gauc_of_many_users_is_scikit_learns_auc_user_by_user():
    sample = random_sample(0)
    lists = [(y, p) for y, p in by_user(sample) if 0 < y.sum() < len(y)]
    values = [roc_auc_score(y, p) for y, p in lists]
    expected = np.average(values, weights=[len(y) for y, _ in lists])
    assert metrics.gauc(*sample) == pytest.approx(expected, abs=1e-12)


@patient
@given(samples())
def test_ndcg_is_the_mean_of_scikit_learns_over_users(sample):
    assume(any(y.any() and len(y) > 1 for y, _ in by_user(sample)))
    assert metrics.ndcg_at_10(*sample) == pytest.approx(mean_ndcg(sample))


def test_ndcg_beyond_its_cutoff_is_scikit_learns():
    sample = random_sample(1, users=12)
    assert metrics.ndcg_at_10(*sample) == pytest.approx(mean_ndcg(sample), abs=1e-12)


def test_ndcg_of_ties_is_the_mean_over_all_their_orders():
    label, tied = np.array([1, 0, 0, 1]), np.array([0.7, 0.7, 0.7, 0.2])
    broken = [np.array([*order, 0.2]) for order in permutations([0.7, 0.8, 0.9])]
    one_user = np.zeros(4, dtype=int)
    orders = [metrics.ndcg_at_10(label, probability, one_user) for probability in broken]
    assert metrics.ndcg_at_10(label, tied, one_user) == pytest.approx(np.mean(orders))


@patient
@given(samples(), st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_the_rows(sample, random):
    label, probability, user = sample
    assume(any(0 < y.sum() < len(y) for y, _ in by_user(sample)))
    order = list(range(len(label)))
    random.shuffle(order)
    for metric in (metrics.auc, metrics.pr_auc, metrics.log_loss, metrics.ece):
        mixed = metric(label[order], probability[order])
        assert mixed == pytest.approx(metric(label, probability), abs=1e-12)
    for metric in (metrics.gauc, metrics.ndcg_at_10):
        mixed = metric(label[order], probability[order], user[order])
        assert mixed == pytest.approx(metric(label, probability, user), abs=1e-12)


def test_ece_of_distinct_probabilities_is_the_mean_gap_over_fifteen_equal_slices():
    generator = np.random.default_rng(2)
    probability = np.sort(generator.random(1500))
    label = generator.random(1500) < probability**2
    slices = zip(np.split(label, 15), np.split(probability, 15), strict=True)
    expected = np.mean([abs(y.mean() - p.mean()) for y, p in slices])
    assert metrics.ece(label, probability) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_ece_places_a_tie_by_its_middle_rank(seed):
    label, probability, _ = random_sample(seed, rows=200, levels=40)
    gaps = np.zeros(15)
    for value in np.unique(probability):
        middle = np.flatnonzero(np.sort(probability) == value).mean()
        gaps[int(15 * middle / len(label))] += (label - probability)[probability == value].sum()
    assert metrics.ece(label, probability) == pytest.approx(np.abs(gaps).sum() / len(label))


def test_ece_of_a_constant_is_its_distance_from_the_base_rate():
    label = np.arange(100) < 70
    assert metrics.ece(label, np.full(100, 0.6)) == pytest.approx(0.1)


def test_ece_keeps_equal_probabilities_in_one_bin():
    label = np.repeat([False, True], 50)
    assert metrics.ece(label, np.full(100, 0.5)) == pytest.approx(0)


def test_a_calibrated_model_scores_only_the_noise_of_its_size():
    generator = np.random.default_rng(3)
    probability = 1 / (1 + np.exp(-generator.normal(0.8, 1.5, size=14_000)))
    scores = [metrics.ece(generator.random(14_000) < probability, probability) for _ in range(20)]
    assert np.mean(scores) == pytest.approx(0.009, abs=0.002)


def test_users_may_be_named_by_text():
    label, probability, user = random_sample(4)
    names = np.array([f"관객-{code}" for code in user])
    assert metrics.gauc(label, probability, names) == pytest.approx(
        mean_gauc((label, probability, user))
    )


@pytest.mark.parametrize("metric", [metrics.auc, metrics.pr_auc])
@pytest.mark.parametrize("value", [0, 1])
def test_a_ranking_of_one_class_is_refused(metric, value):
    with pytest.raises(InputError, match=f"needs both classes; all 3 labels are {value}"):
        metric(np.full(3, value), np.array([0.1, 0.2, 0.3]))


def test_gauc_and_ndcg_are_refused_where_no_user_can_be_judged():
    label, probability, user = np.array([1, 0]), np.array([0.4, 0.3]), np.array([1, 2])
    with pytest.raises(InputError, match="none of 2 users"):
        metrics.gauc(label, probability, user)
    with pytest.raises(InputError, match="none of 2 users"):
        metrics.ndcg_at_10(label, probability, user)


@pytest.mark.parametrize(
    ("label", "probability", "message"),
    [
        ([0, 1], [0.1], r"shape \(2,\)"),
        ([[0, 1]], [[0.1, 0.2]], r"shape \(1, 2\)"),
        ([], [], "0 rows"),
        ([0, 2], [0.1, 0.2], "value 2"),
        ([0, 1], [0.1, np.nan], "value nan"),
        ([0, 1], [0.1, np.inf], "value inf"),
        ([0, 1], [0.1, 1.5], "value 1.5"),
    ],
)
def test_unusable_input_is_refused_by_name(label, probability, message):
    with pytest.raises(InputError, match=message):
        metrics.log_loss(np.array(label), np.array(probability))


def test_a_user_column_of_another_length_is_refused():
    with pytest.raises(InputError, match="user has shape"):
        metrics.gauc(np.array([0, 1]), np.array([0.1, 0.2]), np.array([1]))

"""History is strictly the past: nothing at or after `known_until` can move a feature.

The numbers are compared with a plain reference, which reads lists of ratings in dictionaries: a
line of `reference` for each number of the table in `widedeep.features.history`.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import groupby
from math import exp, log, log2
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import rated
from widedeep.features.attributes import AttributeTable
from widedeep.features.history import NUMERIC, HistoryConfig, Queries, compute_history
from widedeep.features.history.config import CONSTANTS
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError

patient = settings(max_examples=60)
CONFIG = HistoryConfig(
    length=2,
    value_scale=10.0,
    user_attributes=("genres", "grade"),
    attributes=("people", "genres"),
    long_half_life=3.0,
    short_half_life=0.7,
    global_half_life=2.0,
    user_half_life=5.0,
    item_drift=0.01,
)
PRIOR = 0.6
HALF_DAY, DAY = 43_200, 86_400.0
GENRES = {10: ["드라마"], 11: ["드라마", "액션"], 12: [], 13: ["액션"]}
GRADES = {10: "PG", 11: "R", 12: "PG", 13: ""}
PEOPLE = {10: [1], 11: [2, 1], 12: [3], 13: []}
USERS, ITEMS = range(1, 6), (10, 11, 12, 13, 99)  # 99 is not in the item table
IN_GIVEN_ORDER = ("user_fast", "user_slow", "user_last", "user_fast_value", "user_last_value")
"""Numbers that depend on the order of a user's own ratings of one moment."""

# Ratings are (time in half days, user, item, value), queries (user, item, known until, ahead).
rating = st.tuples(
    st.integers(0, 9),
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.sampled_from([1, 6, 9, 10, 10, 10]),
)
ratings = st.lists(rating, max_size=22, unique_by=lambda r: r[1:3])
ratings_apart = st.lists(rating, max_size=22, unique_by=(lambda r: r[1:3], lambda r: r[:2]))
query = st.tuples(
    st.sampled_from([*USERS, 77]),
    st.sampled_from([*ITEMS, 98]),
    st.integers(-1, 10),
    st.integers(0, 3),
)
queries = st.lists(query, min_size=1, max_size=6)


def item_table_of(new_ids=None):
    """The items, under other ids if `new_ids` maps them."""
    old_id = {new_ids[item] if new_ids else item: item for item in GENRES}
    ids = sorted(old_id)
    bags = {
        "genres": Ragged.from_lists(
            [*(GENRES[old_id[i]] for i in ids), []], np.dtypes.StringDType()
        ),
        "people": Ragged.from_lists([*(PEOPLE[old_id[i]] for i in ids), []], np.int64),
    }
    grades = [GRADES[old_id[i]] for i in ids]
    categories = {"grade": np.array([*grades, ""], np.dtypes.StringDType())}
    return AttributeTable(np.array(ids), categories, {}, bags)


ITEM_TABLE = item_table_of()


def interactions_of(rows, key=lambda r: r[:3]):
    columns = [[row[i] for row in sorted(rows, key=key)] for i in (1, 2, 3, 0)]
    user, item, value, time = (np.array(column, np.int64) for column in columns)
    return rated(user, item, value, time * HALF_DAY)


def queries_of(rows):
    user, item, known_until, ahead = (np.array(c, np.int64) for c in zip(*rows, strict=True))
    return Queries(user, item, (known_until + ahead) * HALF_DAY, known_until * HALF_DAY)


def compute(rows, query_rows, tables=ITEM_TABLE, config=CONFIG):
    interactions, queries = interactions_of(rows), queries_of(query_rows)
    return compute_history(interactions, queries, tables, config, PRIOR)


ALL_NUMERIC = (*NUMERIC, *CONFIG.attribute_numbers)


def numbers_of(history, row):
    return dict(zip(ALL_NUMERIC, history.numeric[row].tolist(), strict=True))


def bag_lists(bag):
    return [bag.values[a:b].tolist() for a, b in zip(bag.offsets, bag.offsets[1:], strict=False)]


def bags_of(history):
    return bag_lists(history.liked.decode()), bag_lists(history.disliked.decode())


def assert_identical(history, other):
    assert history.numeric.tobytes() == other.numeric.tobytes()
    assert bags_of(history) == bags_of(other)


def assert_close(history, other, but=()):
    """Equal but for the order of sums, which the features (float32) show in their last digit."""
    compared = [i for i, name in enumerate(ALL_NUMERIC) if name not in but]
    np.testing.assert_allclose(history.numeric[:, compared], other.numeric[:, compared], 1e-5, 1e-6)


@patient
@given(ratings, ratings, ratings, query)
def test_no_rating_at_or_after_known_until_can_move_a_feature(past, future, other_future, asked):
    until = asked[2]
    past = [row for row in past if row[0] < until]
    after = [[row for row in rows if row[0] >= until] for rows in (future, other_future, [])]

    with_future, with_other_future, alone = (compute(past + rows, [asked]) for rows in after)

    assert_identical(with_future, alone)
    assert_identical(with_other_future, alone)


@patient
@given(ratings.filter(len), st.data())
def test_no_label_can_move_the_features_of_its_own_row(rows, data):
    at = data.draw(st.integers(0, len(rows) - 1))
    time, user, item, value = rows[at]
    flipped = [*rows[:at], (time, user, item, 1 if value == 10 else 10), *rows[at + 1 :]]
    asked = [(user, item, time, 0)]

    assert_identical(compute(flipped, asked), compute(rows, asked))


@patient
@given(ratings, queries)
def test_every_numeric_feature_is_what_the_reference_says(rows, asked):
    history = compute(rows, asked)

    for i, row in enumerate(asked):
        assert numbers_of(history, i) == pytest.approx(
            reference(rows, row), rel=1e-5, abs=1e-6, nan_ok=True
        )


@pytest.mark.parametrize("count", [1, 3, 62, 63, 126, 127, 200])
def test_the_features_of_a_busy_user_are_what_the_reference_says(count):
    rows = [(i, 1, 1000 + i, 10 if i % 3 else 2) for i in range(count)]
    asked = (1, 10, count, 1)

    assert numbers_of(compute(rows, [asked]), 0) == pytest.approx(
        reference(rows, asked), rel=1e-5, abs=1e-6, nan_ok=True
    )


@patient
@given(ratings, queries)
def test_bags_hold_the_latest_liked_and_disliked_items_newest_first(rows, asked):
    liked, disliked = bags_of(compute(rows, asked))

    for i, (user, _, until, _) in enumerate(asked):
        past = sorted((r for r in rows if r[1] == user and r[0] < until), reverse=True)
        assert liked[i] == [r[2] for r in past if r[3] == 10][: CONFIG.length]
        assert disliked[i] == [r[2] for r in past if r[3] < 10][: CONFIG.length]


@patient
@given(ratings, queries, st.randoms(use_true_random=False))
def test_the_order_of_ratings_of_one_moment_does_not_matter(rows, asked, random):
    config = replace(CONFIG, length=30)
    shuffled = interactions_of(random.sample(rows, len(rows)), key=lambda r: r[0])

    history = compute_history(shuffled, queries_of(asked), ITEM_TABLE, config, PRIOR)
    in_order = compute(rows, asked, config=config)

    assert_close(history, in_order, but=IN_GIVEN_ORDER)
    for bags, bags_in_order in zip(bags_of(history), bags_of(in_order), strict=True):
        assert [sorted(bag) for bag in bags] == [sorted(bag) for bag in bags_in_order]


def renamed(rows, asked, random):
    """Rows and queries under a random permutation of user and of item ids, and that of items."""
    users, items = [*USERS, 77], [*ITEMS, 98]
    user = dict(zip(users, random.sample(users, len(users)), strict=True))
    item = dict(zip(items, random.sample(items, len(items)), strict=True))
    new_rows = [(time, user[u], item[m], value) for time, u, m, value in rows]
    return new_rows, [(user[u], item[m], *rest) for u, m, *rest in asked], item


@patient
@given(ratings_apart, queries, st.randoms(use_true_random=False))
def test_ids_are_names_so_new_ids_have_the_same_features(rows, asked, random):
    new_rows, new_asked, item = renamed(rows, asked, random)

    history = compute(new_rows, new_asked, item_table_of(item))
    under_old_ids = compute(rows, asked)

    assert_close(history, under_old_ids)
    for bags, old_bags in zip(bags_of(history), bags_of(under_old_ids), strict=True):
        assert bags == [[item[m] for m in bag] for bag in old_bags]


@patient
@given(ratings, queries, st.randoms(use_true_random=False))
def test_new_ids_move_only_the_order_of_a_users_own_ratings_of_one_moment(rows, asked, random):
    config = replace(CONFIG, length=30)
    new_rows, new_asked, item = renamed(rows, asked, random)

    history = compute(new_rows, new_asked, item_table_of(item), config)
    under_old_ids = compute(rows, asked, config=config)

    assert_close(history, under_old_ids, but=IN_GIVEN_ORDER)
    for bags, old_bags in zip(bags_of(history), bags_of(under_old_ids), strict=True):
        assert [set(bag) for bag in bags] == [{item[m] for m in bag} for bag in old_bags]


@patient
@given(ratings, queries, st.randoms(use_true_random=False))
def test_queries_in_any_order_have_the_same_rows(rows, asked, random):
    order = random.sample(range(len(asked)), len(asked))

    shuffled = compute(rows, [asked[i] for i in order])
    in_order = compute(rows, asked)

    assert shuffled.numeric.tobytes() == in_order.numeric[order].tobytes()
    liked, disliked = bags_of(in_order)
    assert bags_of(shuffled) == ([liked[i] for i in order], [disliked[i] for i in order])


@patient
@given(ratings, queries)
def test_one_query_at_a_time_equals_all_at_once(rows, asked):
    together = compute(rows, asked)

    for i, row in enumerate(asked):
        alone = compute(rows, [row])
        assert alone.numeric.tobytes() == together.numeric[i : i + 1].tobytes()
        assert bags_of(alone) == tuple([bags[i]] for bags in bags_of(together))


def test_of_an_unknown_user_and_item_only_the_means_of_all_are_known():
    history = compute([(0, 1, 10, 10)], [(77, 98, 4, 2)])

    known = {name: value for name, value in numbers_of(history, 0).items() if not np.isnan(value)}
    base = CONFIG.global_step * (1 - PRIOR)
    assert known == pytest.approx(
        {
            "expected_logit": log(PRIOR / (1 - PRIOR)) + 2 * base,
            "item_bias": 0,
            "item_first_timer_bias": 0,
            "user_count": 0,
            "item_count": 0,
            "item_mean": PRIOR,
            "item_first_timer_mean": PRIOR,
            "mean_plus_residual": PRIOR,
            "staleness": 1,
            "item_group_residual": 0,
            "item_late_group_residual": 0,
            "global_first_mean": mean([1], CONFIG.item_smoothing),
            "global_later_mean": PRIOR,
        }
    )
    assert bags_of(history) == ([[]], [[]])


def test_no_queries_have_no_rows():
    empty = np.empty(0, np.int64)
    none = Queries(empty, empty, empty, empty)

    history = compute_history(interactions_of([(0, 1, 10, 10)]), none, ITEM_TABLE, CONFIG, PRIOR)

    assert history.numeric.shape == (0, len(ALL_NUMERIC))
    assert bags_of(history) == ([], [])


def test_knowing_more_than_a_rows_own_time_is_an_error():
    time = np.array([5, 7])

    with pytest.raises(InputError, match=r"query 1: .*\b8\b.*\b7\b"):
        Queries(time, time, time, np.array([5, 8]))


def test_queries_of_uneven_columns_are_an_error():
    with pytest.raises(InputError, match=r"\[2, 2, 2, 1\] rows"):
        Queries(np.arange(2), np.arange(2), np.arange(2), np.zeros(1, np.int64))


def test_queries_can_be_selected_and_made_to_know_less():
    selected = queries_of([(1, 10, 4, 0), (2, 11, 6, 0)]).select_rows(np.array([1]))

    earlier = selected.known_earlier(np.array([HALF_DAY]))

    assert (earlier.user[0], earlier.time[0]) == (2, 6 * HALF_DAY)
    assert earlier.known_until[0] == 5 * HALF_DAY


def test_ratings_out_of_order_are_an_error():
    interactions = interactions_of([(2, 1, 10, 10), (1, 1, 11, 10)], key=lambda r: -r[0])

    with pytest.raises(InputError, match=r"interaction 1 has time 43200\b.*\b86400\b"):
        compute_history(interactions, queries_of([(1, 10, 5, 0)]), ITEM_TABLE, CONFIG, PRIOR)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("value_scale", 0.0),
        ("length", 0),
        ("item_smoothing", 0.0),
        ("global_step", -1.0),
        ("user_variance", 0.0),
        ("short_half_life", 0.0),
        ("fast", float("nan")),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}"):
        HistoryConfig(**{name: value})


@pytest.mark.parametrize("name", ["item_drift", "global_step", "fast", "slow", "fast_value"])
def test_steps_and_weights_may_be_0(name):
    assert getattr(HistoryConfig(**{name: 0.0}), name) == 0


@pytest.mark.parametrize("prior", [0.0, 1.0, float("nan")])
def test_a_prior_without_both_classes_is_an_error(prior):
    with pytest.raises(InputError, match="the prior is"):
        CONFIG.params(prior)


def test_compiled_code_reads_every_setting_under_its_own_name():
    params = CONFIG.params(PRIOR)._asdict()

    assert params == {"prior": PRIOR} | {name: getattr(CONFIG, name) for name in CONSTANTS}
    others = {"length", "value_scale", "user_attributes", "attributes"}
    assert {*others, *CONSTANTS} == {*HistoryConfig.__slots__}


def test_sampled_negatives_are_no_history():
    rows = [(0, 1, 10, 10), (0, 1, 11, 1), (1, 1, 12, 10)]
    asked = [(1, 10, 5, 0), (2, 11, 5, 0)]
    interactions = interactions_of(rows)
    sampled = replace(interactions, sampled=np.array([False, True, False]))

    history = compute_history(sampled, queries_of(asked), ITEM_TABLE, CONFIG, PRIOR)

    assert_identical(history, compute([rows[0], rows[2]], asked))


def grades_of(item):
    return [GRADES[item]] if GRADES.get(item) else []


def reference(rows, asked):
    """Every number of one query, from the ratings that it may know."""
    user, item, until, ahead = asked
    c, nan, now = CONFIG, float("nan"), (until + ahead) * HALF_DAY
    past = sorted(row for row in rows if row[0] < until)
    own = [row for row in past if row[1] == user]
    of_item = [row for row in past if row[2] == item]
    firsts = [row for row in past if is_first(past, row)]
    later = [row for row in past if not is_first(past, row)]
    first_timers = [row for row in of_item if is_first(past, row)]
    values = [row[3] / 10 for row in own]
    model = replay(past)
    errors, group = model.user_errors[user], model.group_errors[item, activity_group(len(own))]
    item_mean = mean(labels(of_item), c.item_smoothing)
    user_residual = residual(model.from_item_means[user], c.user_smoothing)
    numbers = {
        "expected_logit": model.expected_logit(user, item, now),
        "mean_plus_residual": item_mean + user_residual,
        "user_genres_residual": bag_residual(
            [e for g in GENRES.get(item, []) for e in model.user_genre_errors[user, g]]
        ),
        "user_grade_residual": bag_residual(
            [e for g in grades_of(item) for e in model.user_grade_errors[user, g]]
        ),
        "people_residual": bag_residual(
            [e for p in PEOPLE.get(item, []) for e in model.person_errors[p]]
        ),
        "genres_residual": bag_residual(
            [e for g in GENRES.get(item, []) for e in model.genre_errors[g]]
        ),
        "staleness": ahead / 2,
        "item_group_residual": residual([e for _, e in group], c.item_smoothing),
        "item_late_group_residual": faded_residual(group, now, c.long_half_life, c.item_smoothing),
        "global_first_mean": global_mean(past, firsts),
        "global_later_mean": global_mean(past, later),
    }
    of_user = {
        "user_bias": lambda: model.user_term(user, now)[0],
        "user_mean": lambda: mean(labels(own), c.user_smoothing),
        "user_residual": lambda: user_residual,
        "user_fast": lambda: moving_average(model.from_item_means[user], c.fast),
        "user_slow": lambda: moving_average(model.from_item_means[user], c.slow),
        "user_day_residual": lambda: faded_residual(errors, now, c.day_half_life, 1),
        "user_month_residual": lambda: faded_residual(errors, now, c.month_half_life, 1),
        "user_last": lambda: labels(own)[-1],
        "user_value": lambda: sum(values) / len(values),
        "user_fast_value": lambda: fast_value(own),
        "user_last_value": lambda: values[-1],
        "user_value_spread": lambda: float(np.std(values)) if len(values) > 1 else nan,
        "user_recency": lambda: days(own[-1], now),
        "user_tenure": lambda: days(own[0], now),
    }
    of_rated_item = {
        "item_residual": lambda: residual(model.from_user_means[item], c.item_smoothing),
        "item_long_mean": lambda: faded_mean(of_item, now, c.long_half_life, c.item_smoothing),
        "item_short_count": lambda: sum(faded(row, now, c.short_half_life) for row in of_item),
        "item_short_mean": lambda: faded_mean(of_item, now, c.short_half_life, c.item_smoothing),
        "item_burst_count": lambda: sum(faded(row, now, c.burst_half_life) for row in of_item),
        "item_burst_mean": lambda: faded_mean(of_item, now, c.burst_half_life, c.burst_smoothing),
        "item_recency": lambda: days(of_item[-1], now),
        "item_tenure": lambda: days(of_item[0], now),
    }
    return {
        **numbers,
        "user_count": len(own),
        **{name: number() if own else nan for name, number in of_user.items()},
        "item_count": len(of_item),
        "item_bias": model.item_term(item, now)[0],
        "item_first_timer_bias": model.first_timer_bias[item],
        "item_mean": item_mean,
        "item_first_timer_mean": mean(labels(first_timers), c.item_smoothing),
        **{name: number() if of_item else nan for name, number in of_rated_item.items()},
    }


def replay(past):
    """The terms of the online model and the residuals against it, moment by moment."""
    model = SimpleNamespace(
        base=0.0,
        activity=defaultdict(float),
        user_terms={},
        item_terms={},
        first_timer_bias=defaultdict(float),
        user_labels=defaultdict(list),
        item_labels=defaultdict(list),
        from_item_means=defaultdict(list),
        from_user_means=defaultdict(list),
        user_genre_errors=defaultdict(list),
        user_grade_errors=defaultdict(list),
        genre_errors=defaultdict(list),
        person_errors=defaultdict(list),
        user_errors=defaultdict(list),
        group_errors=defaultdict(list),
    )

    def expected_logit(user, item, now):
        level = activity_level(len(model.user_labels[user]))
        terms = model.user_term(user, now)[0] + model.item_term(item, now)[0]
        return log(PRIOR / (1 - PRIOR)) + model.base + model.activity[level] + terms

    model.expected_logit = expected_logit
    model.user_term = lambda user, now: user_term(model.user_terms.get(user), now)
    model.item_term = lambda item, now: item_term(model.item_terms.get(item), now)
    for _, group in groupby(past, key=lambda row: row[0]):
        tied = [(row, residuals_of(model, row)) for row in group]
        learn(model.user_terms, model.user_term, [(row[1], row, r.for_user) for row, r in tied])
        learn(model.item_terms, model.item_term, [(row[2], row, r.for_item) for row, r in tied])
        for (_, user, item, value), _ in tied:
            model.user_labels[user].append(float(value == 10))
            model.item_labels[item].append(float(value == 10))
        for row, residuals in tied:
            apply(model, row, residuals)
    return model


def residuals_of(model, row):
    time, user, item, value = row
    label, own, of_item = value == 10, model.user_labels[user], model.item_labels[item]
    now = time * HALF_DAY
    expected = 1 / (1 + exp(-model.expected_logit(user, item, now)))
    error, w = label - expected, expected * (1 - expected)
    user_variance, item_variance = model.user_term(user, now)[1], model.item_term(item, now)[1]
    return SimpleNamespace(
        error=error,
        for_user=(error / (1 + w * item_variance), w / (1 + w * item_variance)),
        for_item=(error / (1 + w * user_variance), w / (1 + w * user_variance)),
        item_step=error * item_variance / (1 + w * (user_variance + item_variance)),
        from_item_mean=label - mean(of_item, CONFIG.item_smoothing),
        from_user_mean=label - mean(own, CONFIG.user_smoothing),
        count=len(own),
    )


def user_term(last, now):
    """Mean and variance: an Ornstein-Uhlenbeck process from the last rating on."""
    if last is None:
        return 0.0, CONFIG.user_variance
    then, mean_then, variance = last
    left = 0.5 ** ((now - then) / DAY / CONFIG.user_half_life)
    return mean_then * left, left**2 * variance + (1 - left**2) * CONFIG.user_variance


def item_term(last, now):
    """Mean and variance: a random walk, but never less certain than an unrated item."""
    if last is None:
        return 0.0, CONFIG.item_variance
    then, mean_then, variance = last
    grown = variance + CONFIG.item_drift * (now - then) / DAY
    return mean_then, min(grown, CONFIG.item_variance)


def learn(terms, term, steps):
    """One Newton step per user or item for all its ratings of a moment together."""
    by_key = defaultdict(list)
    for key, row, step in steps:
        by_key[key].append((row[0] * HALF_DAY, step))
    changed = {}
    for key, steps_of in by_key.items():
        now = steps_of[0][0]
        mean_before, variance = term(key, now)
        after = 1 / (1 / variance + sum(w for _, (_, w) in steps_of))
        changed[key] = now, mean_before + after * sum(e for _, (e, _) in steps_of), after
    terms.update(changed)


def apply(model, row, residuals):
    _, user, item, _ = row
    error = residuals.error
    model.base += CONFIG.global_step * error
    model.activity[activity_level(residuals.count)] += CONFIG.global_step * error
    if residuals.count == 0:
        model.first_timer_bias[item] += residuals.item_step
    model.from_item_means[user].append(residuals.from_item_mean)
    model.from_user_means[item].append(residuals.from_user_mean)
    for genre in GENRES.get(item, []):
        model.user_genre_errors[user, genre].append(error)
        model.genre_errors[genre].append(error)
    for grade in grades_of(item):
        model.user_grade_errors[user, grade].append(error)
    for person in PEOPLE.get(item, []):
        model.person_errors[person].append(error)
    model.user_errors[user].append((row, error))
    model.group_errors[item, activity_group(residuals.count)].append((row, error))


def activity_level(count):
    return min(int(log2(count + 1)), 7)


def activity_group(count):
    return int(np.searchsorted([1, 3, 10], count, side="right"))


def labels(rows):
    return [float(row[3] == 10) for row in rows]


def is_first(past, row):
    return not any(other[1] == row[1] and other[0] < row[0] for other in past)


def days(row, now):
    return (now - row[0] * HALF_DAY) / DAY


def faded(row, now, half_life):
    return 0.5 ** (days(row, now) / half_life)


def mean(labels, smoothing):
    return (sum(labels) + PRIOR * smoothing) / (len(labels) + smoothing)


def residual(errors, smoothing):
    return sum(errors) / (len(errors) + smoothing)


def bag_residual(errors):
    return residual(errors, CONFIG.attribute_smoothing) if errors else float("nan")


def faded_mean(rows, now, half_life, smoothing):
    weights = [faded(row, now, half_life) for row in rows]
    total = sum(w * label for w, label in zip(weights, labels(rows), strict=True))
    return (total + PRIOR * smoothing) / (sum(weights) + smoothing)


def faded_residual(errors, now, half_life, smoothing):
    """Of pairs of a rating and its error."""
    weights = [faded(row, now, half_life) for row, _ in errors]
    total = sum(w * error for w, (_, error) in zip(weights, errors, strict=True))
    return total / (sum(weights) + smoothing)


def global_mean(past, rows):
    """Of the labels of `rows`, decayed up to the last rating of all."""
    last = past[-1][0] * HALF_DAY if past else 0
    return faded_mean(rows, last, CONFIG.global_half_life, CONFIG.item_smoothing)


def moving_average(residuals, weight):
    value = 0.0
    for each in residuals:
        value += weight * (each - value)
    return value


def fast_value(own):
    """A moving average that begins at the last value of the first moment."""
    first = [row[3] / 10 for row in own if row[0] == own[0][0]]
    average = first[-1]
    for row in own[len(first) :]:
        average += CONFIG.fast_value * (row[3] / 10 - average)
    return average

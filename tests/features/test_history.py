"""History is strictly the past: nothing at or after `known_until` can move a feature.

The numeric features are held against a plain reading of their descriptions, kept in dictionaries.
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

from widedeep.data.tables import Interactions
from widedeep.features.history import HistoryConfig, Queries, history_columns
from widedeep.features.history_state import NUMERIC
from widedeep.features.items import ItemTable
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError

patient = settings(max_examples=60)
CONFIG = HistoryConfig(
    length=2,
    long_half_life=3.0,
    short_half_life=0.7,
    world_half_life=2.0,
    user_half_life=5.0,
    item_drift=0.01,
)
PRIOR = 0.6
HALF_DAY, DAY = 43_200, 86_400.0
GENRES = {10: ["드라마"], 11: ["드라마", "액션"], 12: [], 13: ["액션"]}
PEOPLE = {10: [1], 11: [2, 1], 12: [3], 13: []}
USERS, ITEMS = range(1, 6), (10, 11, 12, 13, 99)  # 99 is not in the item table
AS_THEY_STAND = ("user_fast", "user_slow", "user_last", "user_fast_value", "user_last_value")

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


def item_table_of(items=None):
    """The items, under other ids if `items` maps them."""
    names = sorted(items[m] if items else m for m in GENRES)
    back = {items[m] if items else m: m for m in GENRES}
    genres = [GENRES[back[m]] for m in names]
    people = [PEOPLE[back[m]] for m in names]
    bags = {
        "genres": Ragged.from_lists([*genres, []], np.dtypes.StringDType()),
        "people": Ragged.from_lists([*people, []], np.int64),
    }
    return ItemTable(np.array(names), {}, {}, bags)


ITEM_TABLE = item_table_of()


def log_of(rows, key=lambda r: r[:3]):
    columns = [[row[i] for row in sorted(rows, key=key)] for i in (1, 2, 3, 0)]
    user, item, value, time = (np.array(column, np.int64) for column in columns)
    return Interactions(user, item, value.astype(np.int8), time * HALF_DAY)


def queries_of(rows):
    user, item, known_until, ahead = (np.array(c, np.int64) for c in zip(*rows, strict=True))
    return Queries(user, item, (known_until + ahead) * HALF_DAY, known_until * HALF_DAY)


def describe(rows, asked, item_table=ITEM_TABLE, config=CONFIG):
    return history_columns(log_of(rows), queries_of(asked), item_table, config, PRIOR)


def bag_lists(bag):
    return [bag.values[a:b].tolist() for a, b in zip(bag.offsets, bag.offsets[1:], strict=False)]


def bags_of(columns):
    return bag_lists(columns.liked.decode()), bag_lists(columns.disliked.decode())


def assert_identical(found, wanted):
    assert found.numeric.tobytes() == wanted.numeric.tobytes()
    assert bags_of(found) == bags_of(wanted)


def assert_close(found, wanted, but=()):
    """Equal but for the order of sums, which the features (float32) show in their last digit."""
    kept = [i for i, name in enumerate(NUMERIC) if name not in but]
    np.testing.assert_allclose(found.numeric[:, kept], wanted.numeric[:, kept], 1e-5, 1e-6)


@patient
@given(ratings, ratings, ratings, query)
def test_no_rating_at_or_after_known_until_can_move_a_feature(past, future, other_future, asked):
    until = asked[2]
    past = [row for row in past if row[0] < until]
    after = [[row for row in rows if row[0] >= until] for rows in (future, other_future, [])]

    one, other, nothing = (describe(past + rows, [asked]) for rows in after)

    assert_identical(one, nothing)
    assert_identical(other, nothing)


@patient
@given(ratings.filter(len), st.data())
def test_no_label_can_move_the_features_of_its_own_row(rows, data):
    at = data.draw(st.integers(0, len(rows) - 1))
    time, user, item, value = rows[at]
    flipped = [*rows[:at], (time, user, item, 1 if value == 10 else 10), *rows[at + 1 :]]
    asked = [(user, item, time, 0)]

    assert_identical(describe(flipped, asked), describe(rows, asked))


@patient
@given(ratings, queries)
def test_every_numeric_feature_is_what_its_description_says(rows, asked):
    found = describe(rows, asked)

    for i, row in enumerate(asked):
        wanted = reference(rows, row)
        numeric = dict(zip(NUMERIC, found.numeric[i].tolist(), strict=True))
        assert numeric == pytest.approx(wanted, rel=1e-5, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("count", [1, 3, 62, 63, 126, 127, 200])
def test_a_busy_user_is_described_so_too(count):
    rows = [(i, 1, 1000 + i, 10 if i % 3 else 2) for i in range(count)]

    found = describe(rows, [(1, 10, count, 1)])

    wanted = reference(rows, (1, 10, count, 1))
    numeric = dict(zip(NUMERIC, found.numeric[0].tolist(), strict=True))
    assert numeric == pytest.approx(wanted, rel=1e-5, abs=1e-6, nan_ok=True)


@patient
@given(ratings, queries)
def test_bags_hold_the_latest_liked_and_disliked_items_newest_first(rows, asked):
    liked, disliked = bags_of(describe(rows, asked))

    for i, (user, _, until, _) in enumerate(asked):
        past = sorted((r for r in rows if r[1] == user and r[0] < until), reverse=True)
        assert liked[i] == [r[2] for r in past if r[3] == 10][: CONFIG.length]
        assert disliked[i] == [r[2] for r in past if r[3] < 10][: CONFIG.length]


@patient
@given(ratings, queries, st.randoms(use_true_random=False))
def test_the_order_of_ratings_of_one_instant_has_no_say(rows, asked, random):
    config = replace(CONFIG, length=30)
    shuffled = log_of(random.sample(rows, len(rows)), key=lambda r: r[0])

    found = history_columns(shuffled, queries_of(asked), ITEM_TABLE, config, PRIOR)
    wanted = describe(rows, asked, config=config)

    assert_close(found, wanted, but=AS_THEY_STAND)
    for one, other in zip(bags_of(found), bags_of(wanted), strict=True):
        assert [sorted(bag) for bag in one] == [sorted(bag) for bag in other]


def relabelled(rows, asked, random):
    """Rows and queries under a random permutation of user and of item ids, and that of items."""
    users, items = [*USERS, 77], [*ITEMS, 98]
    user = dict(zip(users, random.sample(users, len(users)), strict=True))
    item = dict(zip(items, random.sample(items, len(items)), strict=True))
    renamed = [(time, user[u], item[m], value) for time, u, m, value in rows]
    return renamed, [(user[u], item[m], *rest) for u, m, *rest in asked], item


@patient
@given(ratings_apart, queries, st.randoms(use_true_random=False))
def test_ids_are_names_so_new_names_give_the_same_features(rows, asked, random):
    renamed, asked_so, item = relabelled(rows, asked, random)

    found = describe(renamed, asked_so, item_table_of(item))
    wanted = describe(rows, asked)

    assert_close(found, wanted)
    for one, other in zip(bags_of(found), bags_of(wanted), strict=True):
        assert one == [[item[m] for m in bag] for bag in other]


@patient
@given(ratings, queries, st.randoms(use_true_random=False))
def test_new_names_move_only_the_order_of_a_users_own_ratings_of_one_instant(rows, asked, random):
    config = replace(CONFIG, length=30)
    renamed, asked_so, item = relabelled(rows, asked, random)

    found = describe(renamed, asked_so, item_table_of(item), config)
    wanted = describe(rows, asked, config=config)

    assert_close(found, wanted, but=AS_THEY_STAND)
    for one, other in zip(bags_of(found), bags_of(wanted), strict=True):
        assert [set(bag) for bag in one] == [{item[m] for m in bag} for bag in other]


@patient
@given(ratings, queries, st.randoms(use_true_random=False))
def test_queries_in_any_order_give_the_same_rows(rows, asked, random):
    order = random.sample(range(len(asked)), len(asked))

    found = describe(rows, [asked[i] for i in order])
    wanted = describe(rows, asked)

    assert found.numeric.tobytes() == wanted.numeric[order].tobytes()
    liked, disliked = bags_of(wanted)
    assert bags_of(found) == ([liked[i] for i in order], [disliked[i] for i in order])


@patient
@given(ratings, queries)
def test_one_query_at_a_time_equals_all_at_once(rows, asked):
    together = describe(rows, asked)

    for i, row in enumerate(asked):
        alone = describe(rows, [row])
        assert alone.numeric.tobytes() == together.numeric[i : i + 1].tobytes()
        assert bags_of(alone) == tuple([bags[i]] for bags in bags_of(together))


def test_nothing_is_known_of_an_unseen_user_and_item():
    found = describe([(0, 1, 10, 10)], [(77, 98, 4, 2)])

    numeric = dict(zip(NUMERIC, found.numeric[0].tolist(), strict=True))
    known = {name: value for name, value in numeric.items() if not np.isnan(value)}
    base = CONFIG.world_step * (1 - PRIOR)
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
            "item_peer_residual": 0,
            "item_late_peer_residual": 0,
            "world_first_mean": mean([1], CONFIG.item_smoothing),
            "world_later_mean": PRIOR,
        }
    )
    assert bags_of(found) == ([[]], [[]])


def test_no_queries_give_no_rows():
    empty = np.empty(0, np.int64)
    asked = Queries(empty, empty, empty, empty)

    found = history_columns(log_of([(0, 1, 10, 10)]), asked, ITEM_TABLE, CONFIG, PRIOR)

    assert found.numeric.shape == (0, len(NUMERIC))
    assert bags_of(found) == ([], [])


def test_knowing_more_than_a_rows_own_time_is_an_error():
    time = np.array([5, 7])

    with pytest.raises(InputError, match="query 1: known until 8, later than its own time 7"):
        Queries(time, time, time, np.array([5, 8]))


def test_queries_of_uneven_columns_are_an_error():
    with pytest.raises(InputError, match=r"\[2, 2, 2, 1\] rows"):
        Queries(np.arange(2), np.arange(2), np.arange(2), np.zeros(1, np.int64))


def test_queries_can_be_taken_and_made_to_know_less():
    asked = queries_of([(1, 10, 4, 0), (2, 11, 6, 0)]).take(np.array([1]))

    earlier = asked.known_earlier(np.array([HALF_DAY]))

    assert (earlier.user[0], earlier.time[0]) == (2, 6 * HALF_DAY)
    assert earlier.known_until[0] == 5 * HALF_DAY


def test_a_log_out_of_order_is_an_error():
    rows = [(2, 1, 10, 10), (1, 1, 11, 10)]

    with pytest.raises(InputError, match="rating 1 of the log has time 43200"):
        history_columns(
            log_of(rows, key=lambda r: -r[0]),
            queries_of([(1, 10, 5, 0)]),
            ITEM_TABLE,
            CONFIG,
            PRIOR,
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("positive_rating", 1),
        ("positive_rating", 11),
        ("length", 0),
        ("item_smoothing", 0.0),
        ("world_step", -1.0),
        ("user_variance", 0.0),
        ("short_half_life", 0.0),
        ("fast", float("nan")),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}"):
        HistoryConfig(**{name: value})


@pytest.mark.parametrize("prior", [0.0, 1.0, float("nan")])
def test_a_prior_without_both_classes_is_an_error(prior):
    with pytest.raises(InputError, match="the prior is"):
        CONFIG.params(prior)


def test_the_positive_rating_is_a_setting():
    rows, asked = [(0, 1, 10, 9)], [(1, 11, 2, 0)]

    strict = describe(rows, asked)
    lenient = describe(rows, asked, config=replace(CONFIG, positive_rating=9))

    assert bags_of(strict) == ([[]], [[10]])
    assert bags_of(lenient) == ([[10]], [[]])
    assert (strict.column("user_last")[0], lenient.column("user_last")[0]) == (0, 1)


def reference(rows, asked):
    """Every numeric feature of one query, from the ratings it may know."""
    user, item, until, ahead = asked
    now = (until + ahead) * HALF_DAY
    past = sorted(row for row in rows if row[0] < until)
    own = [row for row in past if row[1] == user]
    of_item = [row for row in past if row[2] == item]
    firsts = [row for row in of_item if not earlier(past, row)]
    online = replay(past)
    c, nan = CONFIG, float("nan")
    residual = sum(online.user_surprises[user]) / (len(own) + c.user_smoothing)
    item_mean = mean(labels(of_item), c.item_smoothing)
    return {
        "expected_logit": online.expected(user, item, now),
        "user_bias": online.user_term(user, now)[0] if own else nan,
        "item_bias": online.item_term(item, now)[0],
        "item_first_timer_bias": online.first_timer_bias[item],
        "user_count": len(own),
        "user_mean": mean(labels(own), c.user_smoothing) if own else nan,
        "user_residual": residual if own else nan,
        "user_value": sum(row[3] for row in own) / 10 / len(own) if own else nan,
        "user_fast": average(online.user_surprises[user], c.fast) if own else nan,
        "user_slow": average(online.user_surprises[user], c.slow) if own else nan,
        "user_last": labels(own)[-1] if own else nan,
        "user_recency": days(own[-1], now) if own else nan,
        "user_tenure": days(own[0], now) if own else nan,
        "item_count": len(of_item),
        "item_mean": item_mean,
        "item_residual": sum(online.item_surprises[item]) / (len(of_item) + c.item_smoothing)
        if of_item
        else nan,
        "item_first_timer_mean": mean(labels(firsts), c.item_smoothing),
        "item_long_mean": decayed(of_item, now, c.long_half_life) if of_item else nan,
        "item_short_mean": decayed(of_item, now, c.short_half_life) if of_item else nan,
        "item_recency": days(of_item[-1], now) if of_item else nan,
        "item_tenure": days(of_item[0], now) if of_item else nan,
        "taste": shrunk([e for g in GENRES.get(item, []) for e in online.taste[user, g]]),
        "people": shrunk([e for p in PEOPLE.get(item, []) for e in online.appeal[p]]),
        "mean_plus_residual": item_mean + residual,
        "staleness": ahead / 2,
        **lately(past, own, of_item, online, (user, item, now)),
    }


def lately(past, own, of_item, online, asked):
    """The features of rates, of decayed errors, of bursts, of peers and of everybody."""
    user, item, now = asked
    c, nan = CONFIG, float("nan")
    params = [row[3] / 10 for row in own]
    own_errors, peers = online.user_errors[user], online.peers[item, peer_group(len(own))]
    firsts = [row for row in past if not earlier(past, row)]
    later = [row for row in past if earlier(past, row)]
    weights = [faded(row, now, c.burst_half_life) for row in of_item]
    hits = sum(w * label for w, label in zip(weights, labels(of_item), strict=True))
    seen = bool(of_item)
    return {
        "user_day_residual": faded_mean(own_errors, now, c.day_half_life, 1) if own else nan,
        "user_month_residual": faded_mean(own_errors, now, c.month_half_life, 1) if own else nan,
        "user_fast_value": fast_value(own) if own else nan,
        "user_last_value": params[-1] if own else nan,
        "user_value_spread": float(np.std(params)) if len(own) > 1 else nan,
        "item_short_count": sum(faded(r, now, c.short_half_life) for r in of_item) if seen else nan,
        "item_burst_count": sum(weights) if seen else nan,
        "item_burst_mean": (hits + PRIOR * c.burst_smoothing) / (sum(weights) + c.burst_smoothing)
        if seen
        else nan,
        "item_peer_residual": sum(e for _, e in peers) / (len(peers) + c.item_smoothing),
        "item_late_peer_residual": faded_mean(peers, now, c.long_half_life, c.item_smoothing),
        "world_first_mean": latest_mean(past, firsts),
        "world_later_mean": latest_mean(past, later),
    }


def faded(row, now, half_life):
    return 0.5 ** (days(row, now) / half_life)


def faded_mean(errors, now, half_life, smoothing):
    """Of pairs of a rating and its error."""
    weights = [faded(row, now, half_life) for row, _ in errors]
    total = sum(w * error for w, (_, error) in zip(weights, errors, strict=True))
    return total / (sum(weights) + smoothing)


def fast_value(own):
    """A moving average that begins at the last rate of the first instant."""
    begun = [row[3] / 10 for row in own if row[0] == own[0][0]]
    average = begun[-1]
    for row in own[len(begun) :]:
        average += CONFIG.fast_value * (row[3] / 10 - average)
    return average


def latest_mean(past, rows):
    """Of the labels of `rows`, decayed up to the last rating of all."""
    weights = [faded(row, past[-1][0] * HALF_DAY, CONFIG.world_half_life) for row in rows]
    total = sum(w * label for w, label in zip(weights, labels(rows), strict=True))
    return (total + PRIOR * CONFIG.item_smoothing) / (sum(weights) + CONFIG.item_smoothing)


def peer_group(count):
    return int(np.searchsorted([1, 3, 10], count, side="right"))


def replay(past):
    """The terms of the online model and the residuals against it, instant by instant."""
    o = SimpleNamespace(
        base=0.0,
        activity=defaultdict(float),
        user_terms={},
        item_terms={},
        first_timer_bias=defaultdict(float),
        user_labels=defaultdict(list),
        item_labels=defaultdict(list),
        user_surprises=defaultdict(list),
        item_surprises=defaultdict(list),
        taste=defaultdict(list),
        appeal=defaultdict(list),
        user_errors=defaultdict(list),
        peers=defaultdict(list),
    )

    def expected(user, item, now):
        level = activity(len(o.user_labels[user]))
        terms = o.user_term(user, now)[0] + o.item_term(item, now)[0]
        return log(PRIOR / (1 - PRIOR)) + o.base + o.activity[level] + terms

    o.expected = expected
    o.user_term = lambda user, now: user_term(o.user_terms.get(user), now)
    o.item_term = lambda item, now: item_term(o.item_terms.get(item), now)
    for _, group in groupby(past, key=lambda row: row[0]):
        instant = [(row, judge(o, row)) for row in group]
        learn(o.user_terms, o.user_term, [(row[1], row, j.for_user) for row, j in instant])
        learn(o.item_terms, o.item_term, [(row[2], row, j.for_item) for row, j in instant])
        for (_, user, item, value), _ in instant:
            o.user_labels[user].append(float(value == 10))
            o.item_labels[item].append(float(value == 10))
        for row, judged in instant:
            move(o, *row[1:3], judged)
            o.user_errors[row[1]].append((row, judged.error))
            o.peers[row[2], peer_group(judged.count)].append((row, judged.error))
    return o


def judge(o, row):
    time, user, item, value = row
    label, own, of_item = value == 10, o.user_labels[user], o.item_labels[item]
    now = time * HALF_DAY
    p = 1 / (1 + exp(-o.expected(user, item, now)))
    error, w = label - p, p * (1 - p)
    user_variance, item_variance = o.user_term(user, now)[1], o.item_term(item, now)[1]
    return SimpleNamespace(
        error=error,
        for_user=(error / (1 + w * item_variance), w / (1 + w * item_variance)),
        for_item=(error / (1 + w * user_variance), w / (1 + w * user_variance)),
        item_step=error * item_variance / (1 + w * (user_variance + item_variance)),
        of_item=label - mean(of_item, CONFIG.item_smoothing),
        of_user=label - mean(own, CONFIG.user_smoothing),
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
    """Mean and variance: a random walk, but never less known than an unrated item."""
    if last is None:
        return 0.0, CONFIG.item_variance
    then, mean_then, variance = last
    grown = variance + CONFIG.item_drift * (now - then) / DAY
    return mean_then, min(grown, CONFIG.item_variance)


def learn(terms, term, found):
    """One Newton step per user or item for all its ratings of an instant together."""
    by_key = defaultdict(list)
    for key, row, told in found:
        by_key[key].append((row[0] * HALF_DAY, told))
    changed = {}
    for key, ratings_of in by_key.items():
        now = ratings_of[0][0]
        mean_before, variance = term(key, now)
        after = 1 / (1 / variance + sum(w for _, (_, w) in ratings_of))
        changed[key] = now, mean_before + after * sum(e for _, (e, _) in ratings_of), after
    terms.update(changed)


def move(o, user, item, judged):
    c, error = CONFIG, judged.error
    o.base += c.world_step * error
    o.activity[activity(judged.count)] += c.world_step * error
    if judged.count == 0:
        o.first_timer_bias[item] += judged.item_step
    o.user_surprises[user].append(judged.of_item)
    o.item_surprises[item].append(judged.of_user)
    for genre in GENRES.get(item, []):
        o.taste[user, genre].append(error)
    for person in PEOPLE.get(item, []):
        o.appeal[person].append(error)


def activity(count):
    return min(int(log2(count + 1)), 7)


def labels(rows):
    return [float(row[3] == 10) for row in rows]


def earlier(past, row):
    return [other for other in past if other[1] == row[1] and other[0] < row[0]]


def days(row, now):
    return (now - row[0] * HALF_DAY) / DAY


def mean(found, smoothing):
    return (sum(found) + PRIOR * smoothing) / (len(found) + smoothing)


def decayed(rows, now, half_life):
    weights = [0.5 ** (days(row, now) / half_life) for row in rows]
    total = sum(w * label for w, label in zip(weights, labels(rows), strict=True))
    return (total + PRIOR * CONFIG.item_smoothing) / (sum(weights) + CONFIG.item_smoothing)


def average(surprises, weight):
    value = 0.0
    for surprise in surprises:
        value += weight * (surprise - value)
    return value


def shrunk(errors):
    return sum(errors) / (len(errors) + CONFIG.taste_smoothing) if errors else float("nan")

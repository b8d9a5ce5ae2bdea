"""The state: tied events, cuts between moments, remembered items, the table, what is compiled."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import rated
from widedeep.features.attributes import AttributeTable
from widedeep.features.history import (
    ITEM_NUMERIC,
    NUMERIC,
    USER_NUMERIC,
    CodedBags,
    CodedInteractions,
    History,
    HistoryConfig,
    ItemAttributes,
    Queries,
    compute_history,
    empty_state,
    passes,
    update,
)
from widedeep.features.history.numbers import NUMBERS
from widedeep.features.history.passes import read
from widedeep.features.history.state import USER_ROW
from widedeep.features.history.table import Entity, row_columns

patient = settings(max_examples=60)
USERS, ITEMS, LENGTH = 4, 3, 3
PARAMS = HistoryConfig().params(0.6)
ATTRIBUTES = ItemAttributes(
    CodedBags(np.array([0, 1, 1]), np.array([0, 2, 3, 3]), 2, 1),
    CodedBags(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 4]), 3, 1),
)
IN_GIVEN_ORDER = ("last_label", "fast", "slow", "fast_value", "last_value")

rating = st.tuples(
    st.integers(0, 5), st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.booleans()
)
ratings = st.lists(rating, max_size=25).map(lambda rows: sorted(rows, key=lambda row: row[0]))


def events_of(rows):
    time, user, item, label = (np.array([row[i] for row in rows], np.int64) for i in range(4))
    return CodedInteractions(user, item, time * 86_400, label.astype(np.float64), label * 0.9 + 0.1)


def updated(rows, cuts=()):
    history = History(empty_state(USERS, ITEMS, ATTRIBUTES, LENGTH), ATTRIBUTES, PARAMS)
    for start, stop in pairwise([0, *cuts, len(rows)]):
        assert update(history, events_of(rows), start, stop) == stop
    return history


@patient
@given(ratings, st.randoms(use_true_random=False))
def test_the_order_of_tied_events_matters_only_where_they_are_taken_in_the_given_order(
    rows, random
):
    shuffled = sorted(random.sample(rows, len(rows)), key=lambda row: row[0])

    state, other = updated(rows).state, updated(shuffled).state

    for name in ("item", "global_", "groups", "residuals"):
        np.testing.assert_allclose(getattr(state, name), getattr(other, name), 1e-9, 1e-9)
    columns = [i for i, name in enumerate(USER_ROW.names) if name not in IN_GIVEN_ORDER]
    assert len(columns) == len(USER_ROW.names) - len(IN_GIVEN_ORDER)
    np.testing.assert_allclose(state.user[:, columns], other.user[:, columns], 1e-9, 1e-9)
    np.testing.assert_allclose(state.user_residuals, other.user_residuals, 1e-5, 1e-6)  # of float32


@patient
@given(ratings, st.data())
def test_stopping_between_moments_changes_no_bit(rows, data):
    borders = [i for i in range(1, len(rows)) if rows[i][0] > rows[i - 1][0]]
    cuts = sorted(data.draw(st.sets(st.sampled_from(borders)))) if borders else []

    at_once, in_parts = updated(rows), updated(rows, cuts)

    for array, array_in_parts in zip(at_once.state, in_parts.state, strict=True):
        np.testing.assert_array_equal(array, array_in_parts)


@patient
@given(ratings)
def test_reading_changes_nothing(rows):
    history, untouched = updated(rows), updated(rows)

    read(history, (0, 1, 9 * 86_400, 8 * 86_400), np.empty(len(NUMERIC) + 2))

    for array, untouched_array in zip(history.state, untouched.state, strict=True):
        np.testing.assert_array_equal(array, untouched_array)


def test_rings_keep_the_newest_items():
    rows = [(day, 0, item, True) for day, item in enumerate([2, 1, 0, 1, 2])]

    state = updated(rows).state

    assert state.liked[0].tolist() == [1, 2, 0]  # of the 4th, the 5th and the 3rd rating
    assert not state.disliked.any()


def test_every_number_has_a_name_of_its_own_and_says_what_it_is():
    assert len(set(NUMERIC)) == len(NUMERIC) == len(NUMBERS)
    assert all(number.about for number in NUMBERS)


def test_the_numbers_of_a_pair_come_first_then_those_of_the_user_and_of_the_item():
    assert NUMERIC[-len(USER_NUMERIC) - len(ITEM_NUMERIC) :] == (*USER_NUMERIC, *ITEM_NUMERIC)
    entities = {number.name: number.entity for number in NUMBERS}
    assert {name for name in NUMERIC if entities[name] is Entity.USER} == set(USER_NUMERIC)
    assert {name for name in NUMERIC if entities[name] is Entity.ITEM} == set(ITEM_NUMERIC)


def test_two_numbers_cannot_keep_a_column_of_the_same_name():
    fast = next(number for number in NUMBERS if number.name == "user_fast")

    with pytest.raises(ValueError, match="'fast'"):
        row_columns(Entity.USER, [fast, replace(fast, name="user_faster")])


def test_read_only_columns_compile_nothing_new():
    interactions = rated(*(np.array([value]) for value in (1, 2, 9, 5)))
    tables = AttributeTable(np.empty(0, np.int64))
    time = np.array([7])

    def numbers():
        queries = Queries(interactions.user, interactions.item, time, time)
        history = compute_history(interactions, queries, tables, HistoryConfig(), 0.5)
        return history.numeric.tobytes()

    before = numbers()
    signatures = len(passes.run_pass.signatures)
    names = ("user", "item", "value", "time", "label")
    columns = [getattr(interactions, name) for name in names]
    for column in (*columns, time):
        column.flags.writeable = False

    assert numbers() == before
    assert len(passes.run_pass.signatures) == signatures

"""The state: order within an instant, cuts between instants, rings, and what numba compiles."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.registry import CPUDispatcher

from widedeep.data.tables import Interactions
from widedeep.features import history_state, ragged
from widedeep.features.history import HistoryConfig, Queries, history_columns
from widedeep.features.history_state import (
    NUMERIC,
    U_FAST,
    U_FAST_VALUE,
    U_LAST_LABEL,
    U_LAST_VALUE,
    U_SLOW,
    CodedInteractions,
    HistoryParams,
    ItemAttributes,
    empty_state,
    read,
    update,
)
from widedeep.features.items import ItemTable

patient = settings(max_examples=60)
USERS, ITEMS, LENGTH = 4, 3, 3
RATES = HistoryConfig().params(0.6)
ATTRIBUTES = ItemAttributes(
    np.array([0, 1, 1]), np.array([0, 2, 3, 3]), np.array([0, 1, 1, 2]), np.array([0, 1, 2, 4])
)
AS_THEY_STAND = [U_LAST_LABEL, U_FAST, U_SLOW, U_FAST_VALUE, U_LAST_VALUE]

rating = st.tuples(
    st.integers(0, 5), st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.booleans()
)
ratings = st.lists(rating, max_size=25).map(lambda rows: sorted(rows, key=lambda row: row[0]))


def events_of(rows):
    time, user, item, label = (np.array([row[i] for row in rows], np.int64) for i in range(4))
    return CodedInteractions(user, item, time * 86_400, label.astype(np.float64), label * 0.9 + 0.1)


def observed(rows, cuts=()):
    state = empty_state(USERS, ITEMS, 2, 3, LENGTH)
    for start, stop in pairwise([0, *cuts, len(rows)]):
        update(state, ATTRIBUTES, RATES, events_of(rows), start, stop)
    return state


@patient
@given(ratings, st.randoms(use_true_random=False))
def test_the_order_within_an_instant_matters_to_nothing_but_what_is_kept_as_it_stands(rows, random):
    shuffled = sorted(random.sample(rows, len(rows)), key=lambda row: row[0])

    state, other = observed(rows), observed(shuffled)

    for name in ("item", "world", "peers", "person"):
        np.testing.assert_allclose(getattr(state, name), getattr(other, name), 1e-9, 1e-9)
    users = [np.delete(s.user, AS_THEY_STAND, axis=1) for s in (state, other)]
    np.testing.assert_allclose(*users, 1e-9, 1e-9)
    np.testing.assert_allclose(state.taste, other.taste, 1e-5, 1e-6)  # sums of float32


@patient
@given(ratings, st.data())
def test_stopping_between_instants_changes_no_bit(rows, data):
    borders = [i for i in range(1, len(rows)) if rows[i][0] > rows[i - 1][0]]
    cuts = sorted(data.draw(st.sets(st.sampled_from(borders)))) if borders else []

    at_once, in_parts = observed(rows), observed(rows, cuts)

    for one, other in zip(at_once, in_parts, strict=True):
        np.testing.assert_array_equal(one, other)


@patient
@given(ratings)
def test_reading_changes_nothing(rows):
    state, untouched = observed(rows), observed(rows)

    out = np.empty(len(NUMERIC))
    read(state, ATTRIBUTES, RATES, (0, 1, 9 * 86_400, 8 * 86_400), out)

    for one, other in zip(state, untouched, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rings_keep_the_newest_items():
    rows = [(day, 0, item, True) for day, item in enumerate([2, 1, 0, 1, 2])]

    state = observed(rows)

    assert state.liked[0].tolist() == [1, 2, 0]  # place of the 4th, the 5th and the 3rd
    assert not state.disliked.any()


def test_the_constants_stand_in_the_order_in_which_they_are_named():
    config = HistoryConfig()

    assert RATES._asdict() == {"prior": 0.6} | {
        name: getattr(config, name) for name in HistoryParams._fields[1:]
    }


def compiled(module):
    return {name: f for name, f in vars(module).items() if isinstance(f, CPUDispatcher)}


@pytest.mark.parametrize("module", [history_state, ragged])
def test_compiled_code_calls_no_compiled_code_of_another_file(module):
    """numba's cache would go on using what it compiled before that file changed."""
    assert compiled(module)
    for function in compiled(module).values():
        called = {function.py_func.__globals__.get(n) for n in function.py_func.__code__.co_names}
        modules = {f.__module__ for f in called if isinstance(f, CPUDispatcher)}
        assert modules <= {module.__name__}


def test_read_only_columns_compile_nothing_new():
    interactions = Interactions(
        *(np.array([v], dtype) for v, dtype in ((1, int), (2, int), (9, "i1"), (5, int)))
    )
    item_table = ItemTable(np.empty(0, np.int64), {}, {}, no_bags())
    time = np.array([7])

    def ask():
        asked = Queries(interactions.user, interactions.item, time, time)
        return history_columns(
            interactions, asked, item_table, HistoryConfig(), 0.5
        ).numeric.tobytes()

    found = ask()
    signatures = len(history_state.run.signatures)
    for column in (
        interactions.user,
        interactions.item,
        interactions.value,
        interactions.time,
        time,
    ):
        column.flags.writeable = False

    assert ask() == found
    assert len(history_state.run.signatures) == signatures


def no_bags():
    return {name: ragged.Ragged.from_lists([[]], np.int64) for name in ("genres", "people")}

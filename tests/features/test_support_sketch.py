"""A sketch of support: what is frequent is always found, what is rare seldom."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.support_sketch import SupportSketch

KEYS = st.one_of(st.integers(0, 40), st.integers(0, 2**63 - 1))
PARTS = st.lists(st.lists(st.tuples(KEYS, st.integers(1, 9)), max_size=30), max_size=5)


@given(PARTS, st.integers(1, 300), st.integers(1, 100))
def test_what_is_frequent_is_found(parts, wanted, room):
    sketch, counted = SupportSketch.empty(room, wanted), Counter()
    for part in parts:
        sketch.add(*(np.array([pair[i] for pair in part], np.int64) for i in (0, 1)))
        for key, times in part:
            counted[key] += times
    frequent = np.array([key for key, times in counted.items() if times >= wanted], np.int64)
    assert sketch.frequent(frequent).all()


def test_with_room_for_all_hardly_any_rare_one_seems_frequent():
    generator = np.random.default_rng(0)
    rare = generator.choice(2**40, 20_000, replace=False)
    sketch = SupportSketch.empty(len(rare), 25)
    for _ in range(4):
        sketch.add(rare, np.ones(len(rare), np.int64))
    assert sketch.frequent(rare).mean() < 0.001


def test_counters_stop_at_what_is_wanted():
    sketch = SupportSketch.empty(4, 200)
    for _ in range(3):
        sketch.add(np.array([7]), np.array([199]))
    assert sketch.counters.dtype == np.uint8
    assert sketch.counters.max() == 200

"""What stands behind a wide feature is counted, not estimated."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.evidence import Evidence, share
from widedeep.features.ragged import Ragged

SIZE = 6
ROWS = st.lists(st.tuples(st.lists(st.integers(0, SIZE - 1), max_size=5), st.booleans()))


def count(rows):
    wide = Ragged.from_lists([fired for fired, _ in rows], np.int32)
    return Evidence.count(wide, np.array([label for _, label in rows], bool), SIZE)


@given(ROWS)
def test_support_and_positives_are_counts_of_rows_however_often_an_id_stands_in_one(rows):
    found = count(rows)
    support = Counter(i for fired, _ in rows for i in set(fired))
    positives = Counter(i for fired, label in rows for i in set(fired) if label)
    assert found.support.tolist() == [support[i] for i in range(SIZE)]
    assert found.positives.tolist() == [positives[i] for i in range(SIZE)]
    assert found.rows == len(rows)
    assert found.positive_rows == sum(label for _, label in rows)


def test_the_positive_rate_is_unknown_where_nothing_fired():
    found = count([([0, 1], True), ([0], False), ([1], True)])
    assert found.positive_rate[:2].tolist() == [0.5, 1.0]
    assert np.isnan(found.positive_rate[2:]).all()
    assert found.overall_rate == 2 / 3
    assert np.isnan(count([]).overall_rate)


def test_a_share_of_nothing_is_unknown():
    found = share(np.array([1, 0]), np.array([4, 0]))
    assert found[0] == 0.25
    assert np.isnan(found[1])


def test_evidence_is_read_back_as_it_was_written(tmp_path):
    wanted = count([([0, 1], True), ([0], False)])
    wanted.save(tmp_path / "evidence.safetensors")
    found = Evidence.load(tmp_path / "evidence.safetensors")
    assert np.array_equal(found.support, wanted.support)
    assert np.array_equal(found.positives, wanted.positives)
    assert (found.rows, found.positive_rows) == (wanted.rows, wanted.positive_rows) == (2, 1)

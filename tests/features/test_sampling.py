"""Which ratings are learned from, which are learned again, and which with a history cut short."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.sampling import DAY, RowSelection, Sampling, Staleness, new_user_rows
from widedeep.inputs import InputError


def first_ratings(interactions):
    """Row by row: the user has no earlier rating."""
    return np.array(
        [
            not ((interactions.user == u) & (interactions.time < t)).any()
            for u, t in zip(interactions.user, interactions.time, strict=True)
        ]
    )


def test_a_user_is_new_until_the_instant_of_the_first_rating_is_over(world):
    is_first = new_user_rows(world.interactions)

    np.testing.assert_array_equal(is_first, first_ratings(world.interactions))
    time = np.minimum(world.interactions.time, int(np.median(world.interactions.time)))
    crowded = replace(world.interactions, time=time)
    assert new_user_rows(crowded).sum() > is_first.sum()
    np.testing.assert_array_equal(new_user_rows(crowded), first_ratings(crowded))


def test_rows_are_all_or_those_of_new_users(world):
    assert RowSelection.ALL.mask(world.interactions).all()
    np.testing.assert_array_equal(
        RowSelection.NEW_USERS.mask(world.interactions), first_ratings(world.interactions)
    )


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0, 5))
def test_old_rows_are_replayed_in_proportion_to_new_ones(new, old, replay):
    sampling = Sampling(replay=replay)

    rows = sampling.sample_replay(new, old, sampling.generator())

    assert len(rows) == min(old, round(replay * new))
    assert (np.diff(rows) > 0).all()
    assert not len(rows) or (rows[0] >= 0 and rows[-1] < old)


def test_a_window_of_less_than_no_days_is_refused():
    with pytest.raises(InputError, match="window is -1"):
        Sampling(window=-1)


@pytest.mark.parametrize("replay", [-0.1, float("inf"), float("nan")])
def test_a_replay_out_of_range_is_refused(replay):
    with pytest.raises(InputError, match=f"replay is {replay}"):
        Sampling(replay=replay)


def test_stale_copies_know_less_each_by_a_time_of_its_own(world):
    fresh = world.queries()

    copies = Staleness(copies=2, days=30).stale_copies(fresh, np.random.default_rng(0))

    cuts = [fresh.known_until - copy.known_until for copy in copies]
    assert all((cut >= 0).all() and (cut < 30 * DAY).all() for cut in cuts)
    assert not np.array_equal(*cuts)
    assert all(np.array_equal(copy.time, fresh.time) for copy in copies)


def test_weights_are_those_of_fresh_rows_and_of_copies():
    weights = Staleness(copies=2, weight=0.25).weights(3)

    assert weights.tolist() == [1] * 3 + [0.25] * 6
    assert weights.dtype == np.float32


@pytest.mark.parametrize("change", [{"copies": -1}, {"days": 0}, {"weight": 0.0}])
def test_staleness_out_of_range_is_refused(change):
    ((name, value),) = change.items()
    with pytest.raises(InputError, match=f"{name}={value}.*expected"):
        Staleness(**change)

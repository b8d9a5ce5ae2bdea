"""Which ratings are learned from, again, and with a history cut short."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.sampling import DAY, RowSelection, Sampling, Staleness, new_user_rows
from widedeep.inputs import InputError


def first_ratings(interactions):
    """Row by row: nobody of that user before."""
    return np.array(
        [
            not ((interactions.user == u) & (interactions.time < t)).any()
            for u, t in zip(interactions.user, interactions.time, strict=True)
        ]
    )


def test_a_user_is_new_until_the_instant_of_the_first_rating_is_over(world):
    found = new_user_rows(world.interactions)
    np.testing.assert_array_equal(found, first_ratings(world.interactions))
    time = np.minimum(world.interactions.time, int(np.median(world.interactions.time)))
    crowded = replace(world.interactions, time=time)
    assert new_user_rows(crowded).sum() > found.sum()
    np.testing.assert_array_equal(new_user_rows(crowded), first_ratings(crowded))


def test_rows_are_all_or_those_of_new_users(world):
    assert RowSelection.ALL.of(world.interactions).all()
    np.testing.assert_array_equal(
        RowSelection.NEW_USERS.of(world.interactions), first_ratings(world.interactions)
    )


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0, 5))
def test_old_rows_are_replayed_in_proportion_to_new_ones(new, old, replay):
    sampling = Sampling(replay=replay)
    found = sampling.replayed(new, old, sampling.generator())
    assert len(found) == min(old, round(replay * new))
    assert (np.diff(found) > 0).all()
    assert not len(found) or (found[0] >= 0 and found[-1] < old)


def test_a_window_of_less_than_no_days_is_refused():
    with pytest.raises(InputError, match="window is -1"):
        Sampling(window=-1)


@pytest.mark.parametrize("replay", [-0.1, float("inf"), float("nan")])
def test_a_replay_out_of_range_is_refused(replay):
    with pytest.raises(InputError, match="a number from 0 is wanted"):
        Sampling(replay=replay)


def test_stale_copies_know_less_each_by_a_time_of_its_own(world):
    fresh = world.queries()
    copies = Staleness(copies=2, days=30).stale(fresh, np.random.default_rng(0))
    cuts = [fresh.known_until - copy.known_until for copy in copies]
    assert all((cut >= 0).all() and (cut < 30 * DAY).all() for cut in cuts)
    assert not np.array_equal(*cuts)
    assert all(np.array_equal(copy.time, fresh.time) for copy in copies)


def test_weights_are_those_of_fresh_rows_and_of_copies():
    found = Staleness(copies=2, weight=0.25).weights(3)
    assert found.tolist() == [1] * 3 + [0.25] * 6
    assert found.dtype == np.float32


@pytest.mark.parametrize("change", [{"copies": -1}, {"days": 0}, {"weight": 0.0}])
def test_staleness_out_of_range_is_refused(change):
    with pytest.raises(InputError, match="are wanted"):
        Staleness(**change)

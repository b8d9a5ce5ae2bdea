"""Learning from some of the training rows: the right ones, their copies, and no other change."""

from dataclasses import replace

import numpy as np
import pytest

from widedeep.data.split import Split
from widedeep.features.training_rows import Rows, keep, of_new_users
from widedeep.features.training_set import Staleness, TrainingSet


@pytest.fixture(scope="module")
def split(world):
    time = world.log.time
    return Split(int(time[400]), int(time[550]), int(time[-1]) + 1)


@pytest.fixture(scope="module", params=[0, 2])
def training_set(world, split, request):
    copies = Staleness(copies=request.param)
    return TrainingSet.build(world.log, world.catalogue, split, world.spec, copies)


def first_ratings(log):
    """Row by row: nobody of that user before."""
    return np.array(
        [
            not ((log.user == u) & (log.time < t)).any()
            for u, t in zip(log.user, log.time, strict=True)
        ]
    )


def test_a_user_is_new_until_the_instant_of_the_first_rating_is_over(world):
    found = of_new_users(world.log)
    np.testing.assert_array_equal(found, first_ratings(world.log))
    time = np.minimum(world.log.time, int(np.median(world.log.time)))
    crowded = replace(world.log, time=time)
    assert of_new_users(crowded).sum() > found.sum()
    np.testing.assert_array_equal(of_new_users(crowded), first_ratings(crowded))


def test_new_users_rows_are_kept_with_their_stale_copies(world, split, training_set):
    kept = keep(training_set, Rows.NEW_USERS, world.log, split).training
    whole = training_set.training
    wanted = first_ratings(world.log)[split.training(world.log.time)]
    copies = len(whole) // len(wanted)
    assert 0 < len(kept) == copies * wanted.sum() < len(whole)
    places = np.flatnonzero(np.tile(wanted, copies))
    np.testing.assert_array_equal(kept.label, whole.label[places])
    np.testing.assert_array_equal(kept.weight, whole.weight[places])
    np.testing.assert_array_equal(kept.rows.categories, whole.rows.categories[places])


def test_nothing_but_the_training_rows_changes(world, split, training_set):
    kept = keep(training_set, Rows.NEW_USERS, world.log, split)
    assert kept.transform is training_set.transform
    assert kept.validation is training_set.validation
    assert keep(training_set, Rows.ALL, world.log, split) is training_set

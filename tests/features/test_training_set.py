"""The training set: what is fitted knows nothing of validation, and nothing of the holdout."""

from dataclasses import replace

import numpy as np
import pytest

from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.errors import InputError
from widedeep.features.training_set import (
    FROZEN,
    STREAMING,
    Staleness,
    TrainingSet,
    queries,
)
from widedeep.features.transform import Transform

STALENESS = Staleness(copies=2, days=30, weight=0.25, seed=3)


@pytest.fixture(scope="module")
def split(world):
    time = world.log.time
    return Split(int(time[400]), int(time[550]), int(time[-1]) + 1)


@pytest.fixture(scope="module")
def training_set(world, split):
    return build(world, split)


def build(world, split, log=None, **options):
    given = {"staleness": STALENESS} | options
    return TrainingSet.build(log or world.log, world.catalogue, split, world.spec, **given)


def contents(training_set, folder):
    training_set.save(folder)
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def labels(world, rows):
    return world.log.rate[rows] == 10


def test_training_rows_come_fresh_and_in_stale_copies_that_weigh_less(world, split, training_set):
    label = labels(world, split.training(world.log.time))

    training = training_set.training

    assert len(training) == 3 * len(label)
    assert training.label.tolist() == [*label, *label, *label]
    assert training.weight.tolist() == [1] * len(label) + [0.25] * (2 * len(label))
    assert (training.label.dtype, training.weight.dtype) == (bool, np.float32)


def test_fresh_rows_are_encoded_with_all_that_was_known(world, split, training_set):
    rows = np.flatnonzero(split.training(world.log.time))
    prior = float((world.log.rate[rows] == 10).mean())
    described = replace(world, prior=prior).describe(world.queries(rows))

    fresh = training_set.transform.encode(described)

    assert training_set.transform.prior == prior
    found = training_set.training.rows.take(np.arange(len(rows)))
    assert found.numbers.tobytes() == fresh.numbers.tobytes()
    assert found.wide.values.tobytes() == fresh.wide.values.tobytes()


def test_stale_copies_know_less(training_set):
    fresh, *stale = np.split(training_set.training.rows.bags[2].lengths, 3)

    for copy in stale:
        assert (copy <= fresh).all()
        assert copy.sum() < fresh.sum()
    assert stale[0].tolist() != stale[1].tolist()


def test_without_copies_each_training_row_stands_there_once(world, split):
    found = build(world, split, staleness=Staleness(copies=0))

    assert len(found.training) == split.training(world.log.time).sum()
    assert (found.training.weight == 1).all()


def test_validation_rows_are_there_under_both_protocols(world, split, training_set):
    label = labels(world, split.validation(world.log.time))

    for name in (STREAMING, FROZEN):
        examples = training_set.validation[name]
        assert examples.label.tolist() == label.tolist()
        assert (examples.weight == 1).all()
    seen = {k: v.rows.bags[2].lengths.sum() for k, v in training_set.validation.items()}
    assert seen[FROZEN] < seen[STREAMING]


def test_no_rating_of_the_holdout_is_in_anything(world, split, training_set, tmp_path):
    log, kept = world.log, ~split.holdout(world.log.time)
    held = ~kept
    flipped = RatingLog(log.user, log.movie, np.where(held, 11 - log.rate, log.rate), log.time)

    found = build(world, split, log=flipped)

    assert contents(found, tmp_path / "flipped") == contents(training_set, tmp_path / "given")


def test_no_rating_of_validation_is_in_what_is_fitted(world, split, training_set, tmp_path):
    log, held = world.log, ~split.training(world.log.time)
    rate = np.where(split.validation(log.time), 11 - log.rate, log.rate)
    rate[held & (log.user % 2 == 0)] = 5

    found = build(world, split, log=RatingLog(log.user, log.movie, rate, log.time))

    parts = [contents(t, tmp_path / n) for t, n in ((found, "changed"), (training_set, "given"))]
    same = [name for name, text in parts[0].items() if parts[1][name] == text]
    folders = {name.parts[0] for name in parts[0]} - {n.parts[0] for n in parts[0] if n not in same}
    assert folders == {"transform", "training"}


def test_the_same_inputs_give_the_same_bytes(world, split, training_set, tmp_path):
    again = build(world, split)

    assert contents(again, tmp_path / "again") == contents(training_set, tmp_path / "given")


def test_what_was_saved_is_loaded_equal(training_set, tmp_path):
    given = contents(training_set, tmp_path / "given")

    loaded = TrainingSet.load(tmp_path / "given")

    assert contents(loaded, tmp_path / "again") == given
    assert [*loaded.validation] == [*training_set.validation]
    for examples in (loaded.training, *loaded.validation.values()):
        assert examples.label.flags.writeable
        assert examples.weight.flags.writeable
    assert loaded.summary() == training_set.summary()


def test_a_warm_build_keeps_the_previous_prior_and_boundaries(world, split, training_set):
    later = Split(split.validation_from + 86_400, split.holdout_from, split.as_of)

    warm = build(world, later, previous=training_set.transform)

    assert warm.transform.prior == training_set.transform.prior
    for name, normaliser in training_set.transform.normalisers.items():
        assert warm.transform.normalisers[name] is normaliser
    assert len(warm.training) > len(training_set.training)


def test_frozen_queries_know_nothing_after_the_moment_and_never_more_than_their_time(world):
    moment = int(world.log.time[350])

    asked = queries(world.log, world.log.time >= 0, moment)

    assert asked.known_until.max() == moment
    assert (asked.known_until[:300] == world.log.time[:300]).all()


def test_a_part_of_one_class_is_refused(world, split):
    all_liked = RatingLog(
        world.log.user, world.log.movie, np.full_like(world.log.rate, 10), world.log.time
    )

    with pytest.raises(InputError, match="the training part has 400 positive labels in 400"):
        build(world, split, log=all_liked)


def test_the_summary_counts_rows_and_ids(training_set):
    summary = training_set.summary()

    assert summary["training_rows"] == len(training_set.training)
    assert summary["validation_rows"] == len(training_set.validation[STREAMING])
    assert summary["wide_size"] == training_set.transform.wide_size
    assert summary["vocabularies"].keys() == training_set.transform.vocabularies.keys()
    assert sum(summary["crosses"].values()) < summary["wide_size"]


@pytest.mark.parametrize("change", [{"copies": -1}, {"days": 0}, {"weight": 0.0}])
def test_staleness_out_of_range_is_refused(change):
    with pytest.raises(InputError, match="are wanted"):
        Staleness(**change)


def test_the_transform_lies_in_a_folder_of_its_own(training_set, tmp_path):
    training_set.save(tmp_path / "set")

    assert Transform.load(tmp_path / "set" / "transform").prior == training_set.transform.prior

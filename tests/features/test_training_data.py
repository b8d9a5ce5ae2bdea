"""Training data: what is fitted knows nothing of what comes after it."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from widedeep.data.split import Split
from widedeep.features.sampling import DAY, RowSelection, Sampling, Staleness, new_user_rows
from widedeep.features.training_data import (
    FROZEN,
    STREAMING,
    TrainingData,
    cold_parts,
    example_queries,
    save_parts,
    warm_parts,
)
from widedeep.features.transform import Transform
from widedeep.inputs import InputError

STALENESS = Staleness(copies=2, days=30, weight=0.25)
SAMPLING = Sampling(replay=1.5, staleness=STALENESS, seed=3)


@pytest.fixture(scope="module")
def split(world):
    time = world.interactions.time
    return Split(int(time[400]), int(time[550]), int(time[-1]) + 1)


@pytest.fixture(scope="module")
def data(world, split):
    return cold(world, split)


@pytest.fixture(scope="module")
def initial(data):
    return data.initial


def cold(world, split, interactions=None, sampling=SAMPLING, until=None):
    return TrainingData.from_parts(
        cold_parts(
            interactions or world.interactions,
            world.tables,
            split,
            world.spec,
            sampling,
            until=until,
        )
    )


def warm(world, until, previous, learned_until):
    return TrainingData.from_parts(
        warm_parts(world.interactions, world.tables, until, SAMPLING, previous, learned_until)
    )


def contents(data, folder):
    data.save(folder)
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def labels(world, rows):
    return world.interactions.value[rows] == 10


def test_training_rows_come_fresh_and_in_stale_copies_that_weigh_less(world, split, initial):
    label = labels(world, split.training(world.interactions.time))

    training = initial.training

    assert len(training) == 3 * len(label)
    assert training.label.tolist() == [*label, *label, *label]
    assert training.weight.tolist() == [1] * len(label) + [0.25] * (2 * len(label))
    assert (training.label.dtype, training.weight.dtype) == (bool, np.float32)


def test_fresh_rows_are_encoded_with_everything_known_at_their_time(world, split, initial):
    rows = np.flatnonzero(split.training(world.interactions.time))
    prior = float((world.interactions.value[rows] == 10).mean())
    raw = replace(world, prior=prior).compute_features(world.queries(rows))

    fresh = initial.transform.encode(raw)

    assert initial.transform.prior == prior
    encoded = initial.training.rows.select_rows(np.arange(len(rows)))
    assert encoded.numbers.quantile.tobytes() == fresh.numbers.quantile.tobytes()
    assert encoded.wide.values.tobytes() == fresh.wide.values.tobytes()


def test_stale_copies_know_less(initial):
    fresh, *stale = np.split(initial.training.rows.bags[2].lengths, 3)

    for copy in stale:
        assert (copy <= fresh).all()
        assert copy.sum() < fresh.sum()
    assert stale[0].tolist() != stale[1].tolist()


def test_without_copies_each_training_row_stands_there_once(world, split):
    initial = cold(world, split, sampling=Sampling(staleness=Staleness(copies=0))).initial

    assert len(initial.training) == split.training(world.interactions.time).sum()
    assert (initial.training.weight == 1).all()


def test_validation_rows_are_there_under_both_protocols(world, split, initial):
    label = labels(world, split.validation(world.interactions.time))

    for name in (STREAMING, FROZEN):
        examples = initial.validation[name]
        assert examples.label.tolist() == label.tolist()
        assert (examples.weight == 1).all()
    remembered = {k: v.rows.bags[2].lengths.sum() for k, v in initial.validation.items()}
    assert remembered[FROZEN] < remembered[STREAMING]


def test_the_catch_up_has_validation_and_a_replay_of_training(world, split, data):
    old, new = (
        labels(world, rows(world.interactions.time)) for rows in (split.training, split.validation)
    )
    replayed = round(1.5 * len(new))

    catch_up = data.catch_up

    rows = replayed + len(new)
    assert len(catch_up.training) == 3 * rows
    assert catch_up.training.label[replayed:rows].tolist() == new.tolist()
    assert catch_up.training.weight.tolist() == [1] * rows + [0.25] * (2 * rows)
    assert catch_up.validation == {}
    assert catch_up.support.rows == len(old) + len(new)
    assert data.initial.support.rows == len(old)


def test_the_catch_up_knows_new_users_by_the_same_numbers(world, split, data):
    before, after = data.initial.transform, data.catch_up.transform

    assert after.prior == before.prior
    for name, normaliser in before.normalisers.items():
        assert after.normalisers[name] is normaliser
    known = np.flatnonzero(world.interactions.time < split.holdout_from)
    raw = replace(world, prior=before.prior).compute_features(world.queries(known))
    expected = Transform.fit(world.spec, before.prior, raw, before)
    for name, vocabulary in expected.vocabularies.items():
        assert vocabulary.ids.tolist() == after.vocabularies[name].ids.tolist()


def test_support_counts_each_rating_once_and_no_stale_copy(world, split, initial):
    rows = np.arange(split.training(world.interactions.time).sum())
    fresh = initial.training.select_rows(rows)

    support = initial.support

    assert (support.rows, support.positive_rows) == (len(fresh), fresh.label.sum())
    for wide_id in range(0, initial.transform.wide_size, 7):
        fired = [
            wide_id in fresh.rows.wide.select_rows(np.array([row])).values
            for row in range(len(fresh))
        ]
        assert support.counts[wide_id] == sum(fired)
        assert support.positives[wide_id] == (fresh.label & fired).sum()


def test_no_rating_of_the_holdout_is_in_anything(world, split, data, tmp_path):
    interactions = world.interactions
    is_holdout = split.holdout(interactions.time)
    value = np.where(is_holdout, 11 - interactions.value, interactions.value)

    flipped = cold(world, split, interactions=replace(interactions, value=value))

    assert contents(flipped, tmp_path / "flipped") == contents(data, tmp_path / "given")


def test_no_rating_of_validation_is_in_what_a_model_is_chosen_with(world, split, data, tmp_path):
    interactions, is_later = world.interactions, ~split.training(world.interactions.time)
    label = np.where(split.validation(interactions.time), ~interactions.label, interactions.label)
    label[is_later & (interactions.user % 2 == 0)] = False

    other = cold(world, split, interactions=replace(interactions, label=label))

    files = contents(data.initial, tmp_path / "given")
    other_files = contents(other.initial, tmp_path / "other")
    changed = {name.parts[0] for name, text in other_files.items() if files[name] != text}
    assert changed == {"validation_streaming", "validation_frozen"}


def test_the_same_inputs_give_the_same_bytes(world, split, data, tmp_path):
    again = cold(world, split)

    assert contents(again, tmp_path / "again") == contents(data, tmp_path / "given")


def test_what_was_saved_is_loaded_equal(data, tmp_path):
    saved = contents(data, tmp_path / "given")

    loaded = TrainingData.load(tmp_path / "given")

    assert contents(loaded, tmp_path / "again") == saved
    assert [*loaded.initial.validation] == [*data.initial.validation]
    for examples in (loaded.initial.training, *loaded.initial.validation.values()):
        assert examples.label.flags.writeable
        assert examples.weight.flags.writeable


def test_a_warm_start_goes_on_where_the_previous_model_ended(world, split, data):
    learned_until = int(world.interactions.time[500])
    previous = data.initial.transform

    continued = warm(world, split.holdout_from, previous, learned_until)

    assert continued.initial is None
    assert continued.catch_up.transform.prior == previous.prior
    time = world.interactions.time
    is_new = (time >= learned_until) & (time < split.holdout_from)
    validation = continued.catch_up.validation[STREAMING]
    assert validation.label.tolist() == labels(world, is_new).tolist()
    assert len(continued.catch_up.training) == 3 * (is_new.sum() + round(1.5 * is_new.sum()))
    assert list(continued.parts) == ["catch_up"]


def test_a_warm_start_with_nothing_new_has_nothing_to_learn(world, split, data, tmp_path):
    until = split.holdout_from

    continued = warm(world, until, data.catch_up.transform, until)
    continued.save(tmp_path)

    assert len(TrainingData.load(tmp_path).catch_up.training) == 0
    assert continued.catch_up.validation == {}


def test_only_new_users_are_learned_from_if_chosen_and_the_transform_knows_all(world, split, data):
    sampling = replace(SAMPLING, rows=RowSelection.NEW_USERS)

    chosen = cold(world, split, sampling=sampling)

    is_first = new_user_rows(world.interactions)
    training, validation = (
        (is_first & part(world.interactions.time)).sum()
        for part in (split.training, split.validation)
    )
    assert len(chosen.initial.training) == 3 * training
    assert chosen.initial.support.rows == training
    assert chosen.catch_up.support.rows == training + validation
    assert chosen.initial.transform.wide_size == data.initial.transform.wide_size
    assert len(chosen.initial.validation[FROZEN]) == len(data.initial.validation[FROZEN])


def test_frozen_queries_know_nothing_after_the_moment_and_never_more_than_their_time(world):
    moment = int(world.interactions.time[350])

    queries = example_queries(world.interactions, world.interactions.time >= 0, moment)

    assert queries.known_until.max() == moment
    assert (queries.known_until[:300] == world.interactions.time[:300]).all()


def test_a_cold_start_may_catch_up_past_the_holdouts_start(world, split, data):
    late = cold(world, split, until=split.as_of)

    assert late.initial.support.rows == data.initial.support.rows
    assert late.catch_up.until == split.as_of
    assert late.catch_up.support.rows == len(world.interactions.time)


def test_only_a_window_is_learned_from_if_chosen(world, split):
    days = 40

    windowed = cold(world, split, sampling=replace(SAMPLING, window=days))

    time, since = world.interactions.time, split.validation_from - days * DAY
    old = ((time >= since) & (time < split.validation_from)).sum()
    assert windowed.initial.support.rows == old
    assert windowed.catch_up.support.rows == old + split.validation(time).sum()


def test_a_window_shorter_than_validation_still_leaves_something_to_learn(world, split):
    assert split.holdout_from - split.validation_from > DAY

    windowed = cold(world, split, sampling=replace(SAMPLING, window=1))

    assert windowed.initial.support.rows > 0


def test_a_window_without_a_rating_is_refused(world, split):
    time = world.interactions.time
    gap = np.where(time < split.validation_from, time - 400 * DAY, time)

    with pytest.raises(InputError, match=r"no interaction before .* window=30 days"):
        cold(
            world,
            split,
            interactions=replace(world.interactions, time=gap),
            sampling=replace(SAMPLING, window=30),
        )


def test_the_summary_counts_rows_and_codes(data, tmp_path):
    summaries = data.save(tmp_path)

    for name, part in (("initial", data.initial), ("catch_up", data.catch_up)):
        summary = summaries[name]
        assert summary["training_rows"] == len(part.training)
        assert summary["wide_size"] == part.transform.wide_size
        assert summary["vocabularies"].keys() == part.transform.vocabularies.keys()
        assert sum(summary["crosses"].values()) < summary["wide_size"]
    rows = len(data.initial.validation[STREAMING])
    assert summaries["initial"]["validation_rows"] == {STREAMING: rows, FROZEN: rows}


def test_the_transform_lies_in_a_folder_of_its_own(initial, tmp_path):
    initial.save(tmp_path / "part")

    assert Transform.load(tmp_path / "part" / "transform").prior == initial.transform.prior


def test_parts_are_freed_once_they_are_written(world, split, tmp_path):
    references = []

    def watched():
        for name, part in cold_parts(world.interactions, world.tables, split, world.spec, SAMPLING):
            assert all(earlier() is None for earlier in references)
            references.append(weakref.ref(part.training.label))
            yield name, part
            del part

    assert list(save_parts(watched(), tmp_path)) == ["initial", "catch_up"]

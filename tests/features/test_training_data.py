"""The training plan: what is fitted knows nothing of what comes after it."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from widedeep.data.split import Split
from widedeep.data.tables import Interactions
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
def plan(world, split):
    return cold(world, split)


@pytest.fixture(scope="module")
def initial(plan):
    return plan.initial


def cold(world, split, interactions=None, sampling=SAMPLING):
    return TrainingData.from_parts(
        cold_parts(
            interactions or world.interactions, world.item_table, split, world.spec, sampling
        )
    )


def contents(plan, folder):
    plan.save(folder)
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


def test_fresh_rows_are_encoded_with_all_that_was_known(world, split, initial):
    rows = np.flatnonzero(split.training(world.interactions.time))
    prior = float((world.interactions.value[rows] == 10).mean())
    described = replace(world, prior=prior).describe(world.queries(rows))

    fresh = initial.transform.encode(described)

    assert initial.transform.prior == prior
    found = initial.training.rows.take(np.arange(len(rows)))
    assert found.numbers.quantile.tobytes() == fresh.numbers.quantile.tobytes()
    assert found.wide.values.tobytes() == fresh.wide.values.tobytes()


def test_stale_copies_know_less(initial):
    fresh, *stale = np.split(initial.training.rows.bags[2].lengths, 3)

    for copy in stale:
        assert (copy <= fresh).all()
        assert copy.sum() < fresh.sum()
    assert stale[0].tolist() != stale[1].tolist()


def test_without_copies_each_training_row_stands_there_once(world, split):
    found = cold(world, split, sampling=Sampling(staleness=Staleness(copies=0))).initial

    assert len(found.training) == split.training(world.interactions.time).sum()
    assert (found.training.weight == 1).all()


def test_validation_rows_are_there_under_both_protocols(world, split, initial):
    label = labels(world, split.validation(world.interactions.time))

    for name in (STREAMING, FROZEN):
        examples = initial.validation[name]
        assert examples.label.tolist() == label.tolist()
        assert (examples.weight == 1).all()
    seen = {k: v.rows.bags[2].lengths.sum() for k, v in initial.validation.items()}
    assert seen[FROZEN] < seen[STREAMING]


def test_the_catch_up_has_validation_and_a_replay_of_training(world, split, plan):
    old, new = (
        labels(world, rows(world.interactions.time)) for rows in (split.training, split.validation)
    )
    replayed = round(1.5 * len(new))

    caught_up = plan.catch_up

    rows = replayed + len(new)
    assert len(caught_up.training) == 3 * rows
    assert caught_up.training.label[replayed:rows].tolist() == new.tolist()
    assert caught_up.training.weight.tolist() == [1] * rows + [0.25] * (2 * rows)
    assert caught_up.validation == {}
    assert caught_up.support.rows == len(old) + len(new)
    assert plan.initial.support.rows == len(old)


def test_the_catch_up_knows_new_users_by_the_same_numbers(world, split, plan):
    before, after = plan.initial.transform, plan.catch_up.transform

    assert after.prior == before.prior
    for name, normaliser in before.normalisers.items():
        assert after.normalisers[name] is normaliser
    known = world.interactions.time < split.holdout_from
    described = replace(world, prior=before.prior).describe(world.queries(np.flatnonzero(known)))
    wanted = Transform.fit(world.spec, before.prior, described, before)
    for name, vocabulary in wanted.vocabularies.items():
        assert vocabulary.tokens.tolist() == after.vocabularies[name].ids.tolist()


def test_evidence_counts_each_rating_once_and_no_stale_copy(world, split, plan):
    initial = plan.initial
    fresh = initial.training.take(np.arange(split.training(world.interactions.time).sum()))
    found = initial.support
    assert (found.rows, found.positive_rows) == (len(fresh), fresh.label.sum())
    for wide_id in range(0, initial.transform.wide_size, 7):
        fired = [
            wide_id in fresh.rows.wide.take(np.array([row])).values for row in range(len(fresh))
        ]
        assert found.support[wide_id] == sum(fired)
        assert found.positives[wide_id] == (fresh.label & fired).sum()


def test_no_rating_of_the_holdout_is_in_anything(world, split, plan, tmp_path):
    interactions, kept = world.interactions, ~split.holdout(world.interactions.time)
    held = ~kept
    flipped = Interactions(
        interactions.user,
        interactions.item,
        np.where(held, 11 - interactions.value, interactions.value),
        interactions.time,
    )

    found = cold(world, split, interactions=flipped)

    assert contents(found, tmp_path / "flipped") == contents(plan, tmp_path / "given")


def test_no_rating_of_validation_is_in_what_a_model_is_chosen_with(world, split, plan, tmp_path):
    interactions, held = world.interactions, ~split.training(world.interactions.time)
    value = np.where(
        split.validation(interactions.time), 11 - interactions.value, interactions.value
    )
    value[held & (interactions.user % 2 == 0)] = 5

    found = cold(
        world,
        split,
        interactions=Interactions(interactions.user, interactions.item, value, interactions.time),
    )

    parts = [contents(p.initial, tmp_path / n) for p, n in ((found, "changed"), (plan, "given"))]
    same = [name for name, text in parts[0].items() if parts[1][name] == text]
    changed = {name.parts[0] for name in parts[0] if name not in same}
    assert changed == {"validation_streaming", "validation_frozen"}


def test_the_same_inputs_give_the_same_bytes(world, split, plan, tmp_path):
    again = cold(world, split)

    assert contents(again, tmp_path / "again") == contents(plan, tmp_path / "given")


def test_what_was_saved_is_loaded_equal(plan, tmp_path):
    given = contents(plan, tmp_path / "given")

    loaded = TrainingData.load(tmp_path / "given")

    assert contents(loaded, tmp_path / "again") == given
    assert [*loaded.initial.validation] == [*plan.initial.validation]
    for examples in (loaded.initial.training, *loaded.initial.validation.values()):
        assert examples.label.flags.writeable
        assert examples.weight.flags.writeable


def test_a_warm_plan_goes_on_where_the_previous_model_ended(world, split, plan):
    moment = int(world.interactions.time[500])
    previous = plan.initial.transform

    warm = TrainingData.from_parts(
        warm_parts(
            world.interactions, world.item_table, split.holdout_from, SAMPLING, previous, moment
        )
    )

    assert warm.initial is None
    assert warm.catch_up.transform.prior == previous.prior
    new = (world.interactions.time >= moment) & (world.interactions.time < split.holdout_from)
    met = warm.catch_up.validation[STREAMING]
    assert met.label.tolist() == labels(world, new).tolist()
    assert len(warm.catch_up.training) == 3 * (new.sum() + round(1.5 * new.sum()))
    assert list(warm.parts) == ["catch_up"]


def test_a_warm_plan_with_nothing_new_has_nothing_to_learn(world, split, plan, tmp_path):
    previous = plan.catch_up.transform

    until = split.holdout_from
    warm = TrainingData.from_parts(
        warm_parts(world.interactions, world.item_table, until, SAMPLING, previous, until)
    )
    warm.save(tmp_path)

    assert len(TrainingData.load(tmp_path).catch_up.training) == 0
    assert warm.catch_up.validation == {}


def test_only_new_users_are_learned_from_if_asked_and_the_transform_knows_all(world, split, plan):
    sampling = replace(SAMPLING, rows=RowSelection.NEW_USERS)

    found = cold(world, split, sampling=sampling)

    first = new_user_rows(world.interactions)
    kept = [first & part(world.interactions.time) for part in (split.training, split.validation)]
    assert len(found.initial.training) == 3 * kept[0].sum()
    assert found.initial.support.rows == kept[0].sum()
    assert found.catch_up.support.rows == kept[0].sum() + kept[1].sum()
    assert found.initial.transform.wide_size == plan.initial.transform.wide_size
    assert len(found.initial.validation[FROZEN]) == len(plan.initial.validation[FROZEN])


def test_frozen_queries_know_nothing_after_the_moment_and_never_more_than_their_time(world):
    moment = int(world.interactions.time[350])

    asked = example_queries(world.interactions, world.interactions.time >= 0, moment)

    assert asked.known_until.max() == moment
    assert (asked.known_until[:300] == world.interactions.time[:300]).all()


def test_a_cold_plan_may_catch_up_past_the_holdouts_start(world, split, plan):
    late = TrainingData.from_parts(
        cold_parts(
            world.interactions, world.item_table, split, world.spec, SAMPLING, until=split.as_of
        )
    )

    assert late.initial.support.rows == plan.initial.support.rows
    assert late.catch_up.until == split.as_of
    assert late.catch_up.support.rows == len(world.interactions.time)


def test_only_a_window_is_learned_from_if_asked(world, split):
    days = 40
    sampling = replace(SAMPLING, window=days)

    found = cold(world, split, sampling=sampling)

    time, since = world.interactions.time, split.validation_from - days * DAY
    old = ((time >= since) & (time < split.validation_from)).sum()
    assert found.initial.support.rows == old
    assert found.catch_up.support.rows == old + split.validation(time).sum()


def test_a_window_shorter_than_validation_still_leaves_something_to_learn(world, split):
    assert split.holdout_from - split.validation_from > DAY
    found = cold(world, split, sampling=replace(SAMPLING, window=1))
    assert found.initial.support.rows > 0


def test_a_window_without_a_rating_is_refused(world, split):
    time = world.interactions.time
    gap = np.where(time < split.validation_from, time - 400 * DAY, time)
    sampling = replace(SAMPLING, window=30)
    with pytest.raises(InputError, match=r"none before .* 30 days"):
        TrainingData.from_parts(
            cold_parts(
                replace(world.interactions, time=gap), world.item_table, split, world.spec, sampling
            )
        )


def test_the_summary_counts_rows_and_ids(plan, tmp_path):
    summary = plan.save(tmp_path)

    for name, part in (("initial", plan.initial), ("catch_up", plan.catch_up)):
        found = summary[name]
        assert found["training_rows"] == len(part.training)
        assert found["wide_size"] == part.transform.wide_size
        assert found["vocabularies"].keys() == part.transform.vocabularies.keys()
        assert sum(found["crosses"].values()) < found["wide_size"]
    rows = len(plan.initial.validation[STREAMING])
    assert summary["initial"]["validation_rows"] == {STREAMING: rows, FROZEN: rows}


def test_the_transform_lies_in_a_folder_of_its_own(initial, tmp_path):
    initial.save(tmp_path / "set")

    assert Transform.load(tmp_path / "set" / "transform").prior == initial.transform.prior


def test_parts_are_let_go_of_once_they_are_written(world, split, tmp_path):
    held = []

    def watched():
        for name, part in cold_parts(
            world.interactions, world.item_table, split, world.spec, SAMPLING
        ):
            assert all(earlier() is None for earlier in held)
            held.append(weakref.ref(part.training.label))
            yield name, part
            del part

    assert list(save_parts(watched(), tmp_path)) == ["initial", "catch_up"]

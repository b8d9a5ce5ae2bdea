"""Each variant differs from what it is compared with where its name says, and nowhere else.

The parts of the holdout where memorisation should pay, against the truth and against loops.
"""

import json

import numpy as np
import pytest

from widedeep.data.ingest import ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.sampling import RowSelection
from widedeep.features.training_data import example_queries
from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.model.presets import preset
from widedeep.store import ArtifactStore
from widedeep.studies.ablation import (
    FULL,
    NEW,
    PLANTED,
    RAW_FULL,
    REMEMBERED,
    RETURNING,
    all_variants,
    planted_pair_applies,
    read_planted_pairs,
    remembered,
    select_variants,
    slice_holdout,
)

BY_NAME = {variant.name: variant for variant in all_variants()}
RAW_FEATURES = {
    "features/offset",
    "features/numbers",
    "features/buckets",
    "features/crosses",
    "features/wide",
}
RATES = {"training/learning_rate", "training/ftrl/alpha"}
DIFFERENCES = {
    "wide only": {"network/deep"},
    "deep only": {"network/wide"},
    "no liked x item": {"features/crosses"},
    "no returning users": {"sampling/rows"},
    "L1 x 0": {"training/ftrl/l1"},
    "L1 x 0.1": {"training/ftrl/l1"},
    "L1 x 10": {"training/ftrl/l1"},
    "raw: wide only": {"network/deep"},
    "raw: deep only": {"network/wide"},
}


def settings(variant):
    return flat(variant.preset.as_json())


def flat(values, prefix=""):
    found = {}
    for name, value in values.items():
        nested = flat(value, f"{prefix}{name}/") if isinstance(value, dict) else None
        found |= nested or {f"{prefix}{name}": value}
    return found


def different(one, other):
    ours, theirs = settings(one), settings(other)
    assert ours.keys() == theirs.keys()
    return {name for name in ours if ours[name] != theirs[name]}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_variant_differs_only_where_its_name_says(name):
    variant = BY_NAME[name]
    assert different(variant, BY_NAME[variant.against]) == DIFFERENCES[name]


def test_every_other_variant_is_a_preset_or_has_raw_features_only():
    assert set(BY_NAME) == {*DIFFERENCES, FULL, RAW_FULL, "paper preset"}
    assert BY_NAME[FULL].preset == preset("default")
    assert BY_NAME["paper preset"].preset == preset("paper")
    wanted = RAW_FEATURES | RATES | {"features/categories"}
    assert different(BY_NAME[RAW_FULL], BY_NAME[FULL]) == wanted


def test_what_is_compared_with_another_comes_after_it():
    names = [variant.name for variant in all_variants()]
    assert len(set(names)) == len(names)
    for variant in all_variants():
        if variant.against is not None:
            assert names.index(variant.against) < names.index(variant.name)
            assert BY_NAME[variant.against].against is None


def test_without_the_memory_no_cross_holds_a_liked_or_disliked_item_and_all_others_stay():
    whole = BY_NAME[FULL].preset.features.crosses
    left = BY_NAME["no liked x item"].preset.features.crosses
    gone = [cross for cross in whole if cross not in left]
    assert any(set(cross.parts) == {"liked", "item"} for cross in gone)
    assert all({"liked", "disliked"} & set(cross.parts) for cross in gone)
    assert not any({"liked", "disliked"} & set(cross.parts) for cross in left)


def test_raw_features_are_ids_attributes_likings_and_their_crosses():
    raw, whole = BY_NAME[RAW_FULL].preset.features, BY_NAME[FULL].preset.features
    assert (raw.categories[0].name, raw.categories[1:]) == ("user", whole.categories)
    assert raw.bags == whole.bags
    assert (raw.numbers, raw.buckets) == ((), ())
    assert any(set(cross.parts) == {"liked", "item"} for cross in raw.crosses)
    read = {*raw.wide, *(part for cross in raw.crosses for part in cross.parts)}
    assert not any(name.endswith("_bucket") for name in read)
    assert {"liked", "disliked"} <= set(raw.wide)


def test_the_sparsity_curve_has_the_default_and_its_multiples():
    points = [variant for variant in all_variants() if variant.l1_factor is not None]
    default = preset("default").training.ftrl.l1
    assert {v.preset.training.ftrl.l1 / default for v in points} == {0, 0.1, 1, 10}
    assert all(v.preset.training.ftrl.l1 == v.l1_factor * default for v in points)


def test_those_that_are_compared_with_come_along_with_the_chosen():
    assert [v.name for v in select_variants(["deep only"])] == [FULL, "deep only"]
    assert [v.name for v in select_variants(["raw: deep only"])] == [
        FULL,
        RAW_FULL,
        "raw: deep only",
    ]
    assert select_variants(None) == all_variants()


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="no variant 'deep'; there are wide & deep, wide only, "):
        select_variants(["deep"])


@pytest.mark.parametrize("names", [[], [FULL], [FULL, RAW_FULL]])
def test_a_choice_with_nothing_to_compare_is_refused(names):
    with pytest.raises(InputError, match="compared with another"):
        select_variants(names)


def test_people_are_told_which_rows_a_variant_learned_from():
    told = BY_NAME["no returning users"].as_json()
    assert told["rows"] == "of users who had no earlier rating"
    assert BY_NAME["no returning users"].rows is RowSelection.NEW_USERS


NOW = 1_700_000_000


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    """Log, item table, split, and the default features fitted on the training part."""
    ratings = IngestedData(ingest(simulated, ArtifactStore(tmp_path_factory.mktemp("stages")), NOW))
    interactions, item_table = ratings.load(), ItemTable.from_table(ratings.items())
    split = Split.of(interactions.time, ratings.last_time + 1)
    spec = preset("default").features
    asked = example_queries(interactions, split.training(interactions.time))
    rows = RawFeatures.describe(interactions, asked, item_table, spec.history, 0.6)
    return interactions, item_table, split, Transform.fit(spec, 0.6, rows)


@pytest.fixture(scope="module")
def slices(world, simulated):
    return slice_holdout(*world, read_planted_pairs(simulated))


def test_planted_exceptions_apply_where_the_simulator_applied_them(world, simulated):
    interactions = world[0]
    every = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    told = json.loads((simulated / "simulation.json").read_text(encoding="utf-8"))["exceptions"]
    planted = read_planted_pairs(simulated)
    assert len(planted) == len(told) > 0
    for pair, truth in zip(planted, told, strict=True):
        applied = planted_pair_applies([pair], interactions, every)
        assert applied.sum() == truth["support"] > 0
        positive = interactions.value[applied] == 10
        assert positive.mean() == pytest.approx(truth["positive_share"])


def test_real_data_have_no_planted_exceptions(tmp_path):
    assert read_planted_pairs(tmp_path) == []


def test_without_planted_exceptions_there_is_no_such_slice(world):
    assert set(slice_holdout(*world, [])) == {NEW, RETURNING, REMEMBERED}


def test_slices_are_rows_of_the_holdout(world, slices):
    interactions, _, split, _ = world
    rows = split.holdout(interactions.time).sum()
    assert set(slices) == {NEW, RETURNING, REMEMBERED, PLANTED}
    for masks in slices.values():
        assert {name: mask.shape for name, mask in masks.items()} == {
            "streaming": (rows,),
            "frozen": (rows,),
        }
        assert 0 < masks["frozen"].sum() <= masks["streaming"].sum()


def test_everybody_is_new_or_returning_and_only_the_returning_are_remembered(slices):
    new, returning = slices[NEW]["streaming"], slices[RETURNING]["streaming"]
    np.testing.assert_array_equal(new, ~returning)
    assert (slices[REMEMBERED]["streaming"] <= returning).all()
    assert (slices[PLANTED]["streaming"] <= returning).all()


def test_a_pair_is_remembered_where_a_liked_item_makes_a_kept_cross_with_the_candidate(world):
    interactions, item_table, split, transform = world
    held = np.flatnonzero(split.holdout(interactions.time))[:300]
    asked = example_queries(interactions, np.isin(np.arange(len(interactions)), held))
    rows = RawFeatures.describe(
        interactions, asked, item_table, transform.spec.history, transform.prior
    )
    index = [set(cross.parts) for cross in transform.spec.crosses].index({"liked", "item"})
    tokens = transform.vocabulary_of("item").tokens
    liked, item = (tokens[ids - 1] for ids in transform.crosses[index].parts())
    kept = set(zip(liked.tolist(), item.tolist(), strict=True))
    bag = rows.history.liked.decoded()
    wanted = [
        any(
            (liked_one, candidate) in kept
            for liked_one in bag.values[bag.offsets[i] : bag.offsets[i + 1]]
        )
        for i, candidate in enumerate(asked.item.tolist())
    ]
    assert any(wanted)
    assert not all(wanted)
    np.testing.assert_array_equal(remembered(transform, rows), wanted)

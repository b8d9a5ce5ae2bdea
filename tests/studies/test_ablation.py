"""Variants differ only where their name says; slices are checked against truth and loops."""

import json

import numpy as np
import pytest

from tests.worlds import KMRD, ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
from widedeep.features.raw_features import RawFeatures
from widedeep.features.sampling import RowSelection
from widedeep.features.training_data import example_queries
from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.model.presets import get_preset
from widedeep.store import ArtifactStore
from widedeep.studies.ablation import (
    FULL,
    NEW_USERS,
    PLANTED_EXCEPTIONS,
    RAW_FULL,
    REMEMBERED_PAIRS,
    RETURNING_USERS,
    all_variants,
    planted_pair_applies,
    read_planted_pairs,
    remembered_pair_rows,
    select_variants,
    slice_holdout,
)

BY_NAME = {variant.name: variant for variant in all_variants(KMRD)}
RAW_FEATURES = {
    "features/prior_logit",
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
    flattened = {}
    for name, value in values.items():
        nested = flat(value, f"{prefix}{name}/") if isinstance(value, dict) else None
        flattened |= nested or {f"{prefix}{name}": value}
    return flattened


def different_settings(variant, other):
    values, other_values = settings(variant), settings(other)
    assert values.keys() == other_values.keys()
    return {name for name in values if values[name] != other_values[name]}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_variant_differs_only_where_its_name_says(name):
    variant = BY_NAME[name]
    assert different_settings(variant, BY_NAME[variant.against]) == DIFFERENCES[name]


def test_every_other_variant_is_a_preset_or_has_raw_features_only():
    assert set(BY_NAME) == {*DIFFERENCES, FULL, RAW_FULL, "paper preset"}
    assert BY_NAME[FULL].preset == get_preset("default", KMRD)
    assert BY_NAME["paper preset"].preset == get_preset("paper", KMRD)
    expected = RAW_FEATURES | RATES | {"features/categories"}
    assert different_settings(BY_NAME[RAW_FULL], BY_NAME[FULL]) == expected


def test_a_variant_comes_after_the_one_it_is_compared_with():
    names = [variant.name for variant in all_variants(KMRD)]
    assert len(set(names)) == len(names)
    for variant in all_variants(KMRD):
        if variant.against is not None:
            assert names.index(variant.against) < names.index(variant.name)
            assert BY_NAME[variant.against].against is None


def test_without_liked_items_no_cross_has_them_and_all_other_crosses_stay():
    crosses = BY_NAME[FULL].preset.features.crosses
    remaining = BY_NAME["no liked x item"].preset.features.crosses
    removed = [cross for cross in crosses if cross not in remaining]
    assert any(set(cross.parts) == {"liked", "item"} for cross in removed)
    assert all({"liked", "disliked"} & set(cross.parts) for cross in removed)
    assert not any({"liked", "disliked"} & set(cross.parts) for cross in remaining)


def test_raw_features_are_ids_attributes_liked_items_and_their_crosses():
    raw, whole = BY_NAME[RAW_FULL].preset.features, BY_NAME[FULL].preset.features
    assert (raw.categories[0].name, raw.categories[1:]) == ("user", whole.categories)
    assert raw.bags == whole.bags
    assert (raw.numbers, raw.buckets) == ((), ())
    assert any(set(cross.parts) == {"liked", "item"} for cross in raw.crosses)
    read = {*raw.wide, *(part for cross in raw.crosses for part in cross.parts)}
    assert not any(name.endswith("_bucket") for name in read)
    assert {"liked", "disliked"} <= set(raw.wide)


def test_the_sparsity_curve_has_the_default_and_its_multiples():
    points = [variant for variant in all_variants(KMRD) if variant.l1_factor is not None]
    default = get_preset("default", KMRD).training.ftrl.l1
    assert {v.preset.training.ftrl.l1 / default for v in points} == {0, 0.1, 1, 10}
    assert all(v.preset.training.ftrl.l1 == v.l1_factor * default for v in points)


def test_the_references_of_the_chosen_variants_are_chosen_too():
    assert [v.name for v in select_variants(KMRD, ["deep only"])] == [FULL, "deep only"]
    assert [v.name for v in select_variants(KMRD, ["raw: deep only"])] == [
        FULL,
        RAW_FULL,
        "raw: deep only",
    ]
    assert select_variants(KMRD, None) == all_variants(KMRD)


def test_an_unknown_name_is_refused_with_the_names_to_choose_from():
    with pytest.raises(InputError, match=r"no variant 'deep'.* wide & deep, wide only, "):
        select_variants(KMRD, ["deep"])


@pytest.mark.parametrize("names", [[], [FULL], [FULL, RAW_FULL]])
def test_a_choice_with_nothing_to_compare_is_refused(names):
    with pytest.raises(InputError, match="compared with another"):
        select_variants(KMRD, names)


def test_json_says_which_rows_a_variant_learned_from():
    values = BY_NAME["no returning users"].as_json()
    assert values["rows"] == "of users who had no earlier interaction"
    assert BY_NAME["no returning users"].rows is RowSelection.NEW_USERS


NOW = 1_700_000_000


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    """Return interactions, item table, split, and the transform fitted on the training part."""
    ratings = IngestedData(ingest(simulated, ArtifactStore(tmp_path_factory.mktemp("stages")), NOW))
    interactions, tables = (
        ratings.interactions(),
        FeatureTables.from_side_tables(ratings.side_tables()),
    )
    split = Split.from_times(interactions.time, ratings.last_time + 1)
    spec = get_preset("default", KMRD).features
    queries = example_queries(interactions, split.training(interactions.time))
    rows = RawFeatures.compute(interactions, queries, tables, spec.history, 0.6)
    return interactions, tables, split, Transform.fit(spec, 0.6, rows)


@pytest.fixture(scope="module")
def slices(world, simulated):
    return slice_holdout(*world, read_planted_pairs(simulated))


def test_planted_exceptions_apply_where_the_simulator_applied_them(world, simulated):
    interactions = world[0]
    queries = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    marker = json.loads((simulated / "simulation.json").read_text(encoding="utf-8"))
    planted = read_planted_pairs(simulated)
    assert len(planted) == len(marker["exceptions"]) > 0
    for pair, truth in zip(planted, marker["exceptions"], strict=True):
        applied = planted_pair_applies([pair], interactions, queries)
        assert applied.sum() == truth["support"] > 0
        positive = interactions.value[applied] == 10
        assert positive.mean() == pytest.approx(truth["positive_share"])


def test_real_data_have_no_planted_exceptions(tmp_path):
    assert read_planted_pairs(tmp_path) == []


def test_without_planted_exceptions_there_is_no_such_slice(world):
    assert set(slice_holdout(*world, [])) == {NEW_USERS, RETURNING_USERS, REMEMBERED_PAIRS}


def test_slices_are_rows_of_the_holdout(world, slices):
    interactions, _, split, _ = world
    rows = split.holdout(interactions.time).sum()
    assert set(slices) == {NEW_USERS, RETURNING_USERS, REMEMBERED_PAIRS, PLANTED_EXCEPTIONS}
    for masks in slices.values():
        assert {name: mask.shape for name, mask in masks.items()} == {
            "streaming": (rows,),
            "frozen": (rows,),
        }
        assert 0 < masks["frozen"].sum() <= masks["streaming"].sum()


def test_every_user_is_new_or_returning_and_only_returning_ones_are_remembered(slices):
    new, returning = slices[NEW_USERS]["streaming"], slices[RETURNING_USERS]["streaming"]
    np.testing.assert_array_equal(new, ~returning)
    assert (slices[REMEMBERED_PAIRS]["streaming"] <= returning).all()
    assert (slices[PLANTED_EXCEPTIONS]["streaming"] <= returning).all()


def test_a_pair_is_remembered_where_a_liked_item_makes_a_kept_cross_with_the_candidate(world):
    interactions, tables, split, transform = world
    positions = np.flatnonzero(split.holdout(interactions.time))[:300]
    queries = example_queries(interactions, np.isin(np.arange(len(interactions)), positions))
    rows = transform.compute_features(interactions, queries, tables)
    index = [set(cross.parts) for cross in transform.spec.crosses].index({"liked", "item"})
    ids = transform.vocabulary_of("item").ids
    liked, item = (ids[codes - 1] for codes in transform.crosses[index].part_codes())
    pairs = set(zip(liked.tolist(), item.tolist(), strict=True))
    bag = rows.history.liked.decode()
    expected = [
        any(
            (liked_item, candidate) in pairs
            for liked_item in bag.values[bag.offsets[i] : bag.offsets[i + 1]]
        )
        for i, candidate in enumerate(queries.item.tolist())
    ]
    assert any(expected)
    assert not all(expected)
    np.testing.assert_array_equal(remembered_pair_rows(transform, rows), expected)

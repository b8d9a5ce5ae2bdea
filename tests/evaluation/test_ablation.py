"""Each variant differs from what it is compared with where its name says, and nowhere else."""

import pytest

from widedeep.errors import InputError
from widedeep.evaluation.ablation import FULL, RAW_FULL, chosen, variants
from widedeep.features.sampling import Rows
from widedeep.model.presets import preset

BY_NAME = {variant.name: variant for variant in variants()}
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
    "no liked x movie": {"features/crosses"},
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
    names = [variant.name for variant in variants()]
    assert len(set(names)) == len(names)
    for variant in variants():
        if variant.against is not None:
            assert names.index(variant.against) < names.index(variant.name)
            assert BY_NAME[variant.against].against is None


def test_without_the_memory_no_cross_holds_a_liked_or_disliked_film_and_all_others_stay():
    whole = BY_NAME[FULL].preset.features.crosses
    left = BY_NAME["no liked x movie"].preset.features.crosses
    gone = [cross for cross in whole if cross not in left]
    assert any(set(cross.parts) == {"liked", "movie"} for cross in gone)
    assert all({"liked", "disliked"} & set(cross.parts) for cross in gone)
    assert not any({"liked", "disliked"} & set(cross.parts) for cross in left)


def test_raw_features_are_ids_attributes_likings_and_their_crosses():
    raw, whole = BY_NAME[RAW_FULL].preset.features, BY_NAME[FULL].preset.features
    assert (raw.categories[0].name, raw.categories[1:]) == ("user", whole.categories)
    assert raw.bags == whole.bags
    assert (raw.numbers, raw.buckets) == ((), ())
    assert any(set(cross.parts) == {"liked", "movie"} for cross in raw.crosses)
    read = {*raw.wide, *(part for cross in raw.crosses for part in cross.parts)}
    assert not any(name.endswith("_bucket") for name in read)
    assert {"liked", "disliked"} <= set(raw.wide)


def test_the_sparsity_curve_has_the_default_and_its_multiples():
    points = [variant for variant in variants() if variant.l1_factor is not None]
    default = preset("default").training.ftrl.l1
    assert {v.preset.training.ftrl.l1 / default for v in points} == {0, 0.1, 1, 10}
    assert all(v.preset.training.ftrl.l1 == v.l1_factor * default for v in points)


def test_those_that_are_compared_with_come_along_with_the_chosen():
    assert [v.name for v in chosen(["deep only"])] == [FULL, "deep only"]
    assert [v.name for v in chosen(["raw: deep only"])] == [FULL, RAW_FULL, "raw: deep only"]
    assert chosen(None) == variants()


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="no variant 'deep'; there are wide & deep, wide only, "):
        chosen(["deep"])


@pytest.mark.parametrize("names", [[], [FULL], [FULL, RAW_FULL]])
def test_a_choice_with_nothing_to_compare_is_refused(names):
    with pytest.raises(InputError, match="compared with another"):
        chosen(names)


def test_people_are_told_which_rows_a_variant_learned_from():
    told = BY_NAME["no returning users"].as_json()
    assert told["rows"] == "of users who had no earlier rating"
    assert BY_NAME["no returning users"].rows is Rows.NEW_USERS

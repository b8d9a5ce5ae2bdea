"""The transform: one row as many, saved as loaded, and never a NaN or a label."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from widedeep.data.tables import MISSING
from widedeep.features.attributes import AttributeTable, FeatureTables
from widedeep.features.encoded import EncodedRows
from widedeep.features.history import HistoryColumns, Queries
from widedeep.features.ragged import Ragged
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import Bag, Category, Cross, FeatureSpec, Number
from widedeep.features.transform import Transform
from widedeep.features.vocabulary import IndexedBag
from widedeep.inputs import InputError

TRAINING = slice(0, 500)
EARLIER = slice(0, 300)


@pytest.fixture(scope="module")
def rows(world):
    return world.compute_features()


@pytest.fixture(scope="module")
def transform(world):
    return fit(world, TRAINING)


@pytest.fixture(scope="module")
def encoded(transform, rows):
    return transform.encode(rows)


def fit(world, part, previous=None):
    rows = world.compute_features(world.queries(part))
    return Transform.fit(world.spec, world.prior, rows, previous)


def fit_spec(world, **parts):
    fields = dict.fromkeys(("categories", "bags", "numbers", "buckets", "crosses", "wide"), ())
    return Transform.fit(FeatureSpec(**(fields | parts)), world.prior, world.compute_features())


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_equal(rows, expected):
    assert rows.categories.tobytes() == expected.categories.tobytes()
    assert rows.numbers.quantile.tobytes() == expected.numbers.quantile.tobytes()
    pairs = zip((*rows.bags, rows.wide), (*expected.bags, expected.wide), strict=True)
    for bag, expected_bag in pairs:
        assert bag.values.tobytes() == expected_bag.values.tobytes()
        assert bag.offsets.tobytes() == expected_bag.offsets.tobytes()


def bag_lists(bag):
    return [bag.values[a:b].tolist() for a, b in zip(bag.offsets, bag.offsets[1:], strict=False)]


def test_one_row_is_encoded_as_among_many(world, transform, encoded):
    for i in range(0, len(world.interactions), 17):
        alone = transform.encode(world.compute_features(world.queries([i])))
        assert_equal(alone, encoded.select_rows(np.array([i])))


def test_no_rows_are_encoded_to_none(world, transform, encoded):
    none = transform.encode(world.compute_features(world.queries(slice(0, 0))))

    assert_equal(none, encoded.select_rows(np.empty(0, np.int64)))
    assert none.numbers.normalised().shape == (0, len(transform.number_columns))


def test_a_loaded_transform_encodes_equal_and_is_saved_to_the_same_bytes(
    transform, rows, encoded, tmp_path
):
    transform.save(tmp_path / "first")

    loaded = Transform.load(tmp_path / "first")

    loaded.save(tmp_path / "second")
    assert_equal(loaded.encode(rows), encoded)
    assert (loaded.spec, loaded.prior) == (transform.spec, transform.prior)
    assert [*loaded.wide_offsets.items()] == [*transform.wide_offsets.items()]
    assert [*loaded.vocabularies] == [*transform.vocabularies]
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_fitting_reads_no_label(world, tmp_path):
    """The labels of the last instant are in no history, so changing them changes nothing."""
    interactions = world.interactions
    is_last = interactions.time == interactions.time[-1]
    value = np.where(is_last, 11 - interactions.value, interactions.value)
    flipped = replace(interactions, value=value)

    for name, ratings in (("given", interactions), ("flipped", flipped)):
        rows = world.compute_features(interactions=ratings)
        Transform.fit(world.spec, world.prior, rows).save(tmp_path / name)

    assert contents(tmp_path / "given") == contents(tmp_path / "flipped")


def test_a_rows_own_label_is_not_in_its_encoding(world, transform, encoded):
    interactions = world.interactions
    for i in range(100, len(interactions), 97):
        value = interactions.value.copy()
        value[i] = 1 if value[i] == 10 else 10
        row = world.compute_features(world.queries([i]), replace(interactions, value=value))
        assert_equal(transform.encode(row), encoded.select_rows(np.array([i])))


def test_no_nan_comes_out_even_if_values_are_missing(world, transform, encoded):
    time = np.array([0, 1_205_000_000, 2_000_000_000])
    unknown = Queries(np.array([-5, 1, 10**9]), np.array([100, 999, -1]), time, time)

    for rows in (encoded, transform.encode(world.compute_features(unknown))):
        numbers = rows.numbers.normalised()
        assert np.isfinite(numbers).all()
        assert (numbers >= 0).all()
        assert (numbers <= 1).all()


def test_missing_values_are_marked_as_missing(world, transform):
    time = np.full(3, 1_205_000_000)
    queries = Queries(np.array([10**9] * 3), np.array([101, 110, 999]), time, time)

    rows = transform.encode(world.compute_features(queries))

    columns = dict(zip(transform.number_columns, rows.numbers.normalised().T.tolist(), strict=True))
    assert columns["item_age_missing"] == [0, 1, 1]
    assert columns["item_age"][1:] == [0, 0]
    assert columns["user_recency_missing"] == [1, 1, 1]
    assert columns["expected_logit_missing"] == [0, 0, 0]
    assert transform.vocabularies["grade"].decode(rows.categories[1:, 2]).tolist() == [MISSING] * 2


def test_unknown_ids_have_the_code_zero(world, transform):
    time = np.array([1_205_000_000])
    queries = Queries(np.array([10**9]), np.array([999]), time, time)

    rows = transform.encode(world.compute_features(queries))

    assert rows.categories[0, :2].tolist() == [0, 0]
    assert [len(bag.values) for bag in rows.bags] == [0, 0, 0, 0]


def test_vocabularies_hold_exactly_the_ids_of_the_minimum_count(world, transform):
    rows = world.compute_features(world.queries(TRAINING))
    ids_by_feature = {
        "user": rows.queries.user,
        "item": rows.queries.item,
        "grade": np.take(*rows.category("grade")),
        "leading": rows.bag("leading")[0].select_rows(rows.item_rows).values,
    }
    minimum = {
        feature.name: feature.minimum_count
        for feature in (*world.spec.categories, *world.spec.bags)
    }

    for name, ids in ids_by_feature.items():
        counts = Counter(ids.tolist())
        frequent = sorted(id_ for id_, count in counts.items() if count >= minimum[name])
        assert transform.vocabularies[name].ids.tolist() == frequent
        assert 0 < len(frequent) <= len(counts)
    users = set(ids_by_feature["user"].tolist())
    assert len(transform.vocabularies["user"].ids) < len(users)


def known_ids(rows, transform, name):
    """The ids of a feature in each row (quantiles for a bucket), without the unknown."""
    if name.endswith("_bucket"):
        number = name.removesuffix("_bucket")
        return [[q] for q in transform.normalisers[name].bucket(rows.number(number)).tolist()]
    vocabulary = set(transform.vocabulary_of(name).ids.tolist())
    if name in {"user", "item", "grade"}:
        values, positions = rows.category(name)
        values = values if positions is None else values[positions]
        ids = [[id_] for id_ in values.tolist()]
    elif name in {"liked", "disliked"}:
        ids = bag_lists(rows.bag(name).decode())
    else:
        bags, positions = rows.bag(name)
        ids = bag_lists(bags.select_rows(positions))
    return [[id_ for id_ in row if id_ in vocabulary] for row in ids]


def combinations(rows, transform, cross):
    columns = [known_ids(rows, transform, part) for part in cross.parts]
    return [[*product(*row)] for row in zip(*columns, strict=True)]


def fired_features(transform, encoded):
    """Each row's fired features as (block, id or tuple of ids), in their order."""
    names = np.empty(transform.wide_size, object)
    for name in transform.spec.wide:
        names[wide_ids_of(transform, name)] = [(name, id_) for id_ in ids_of(transform, name)]
    for cross, vocabulary in zip(transform.spec.crosses, transform.crosses, strict=True):
        parts = zip(cross.parts, vocabulary.part_codes(), strict=True)
        ids = [[ids_of(transform, part)[code] for code in codes] for part, codes in parts]
        names[wide_ids_of(transform, cross.name)] = [
            (cross.name, combination) for combination in zip(*ids, strict=True)
        ]
    return [[names[wide_id] for wide_id in row] for row in bag_lists(encoded.wide)]


def ids_of(transform, name):
    """What each code of a feature stands for."""
    if name in transform.normalisers:
        return ["unused", *range(transform.normalisers[name].quantiles + 1)]
    return [None, *transform.vocabulary_of(name).ids.tolist()]


def wide_ids_of(transform, name):
    """The wide ids of a block: from its offset to the next one."""
    starts = [*transform.wide_offsets.values()]
    position = [*transform.wide_offsets].index(name)
    return slice(starts[position], starts[position + 1])


def test_crosses_fire_exactly_where_their_parts_meet_often_enough(world, transform, rows, encoded):
    """Over bags (liked x item), three parts, buckets: all by the ids they stand for."""
    training = world.compute_features(world.queries(TRAINING))
    fired = fired_features(transform, encoded)

    for cross in world.spec.crosses:
        support = Counter(c for row in combinations(training, transform, cross) for c in set(row))
        possible = combinations(rows, transform, cross)
        expected = [[c for c in row if support[c] >= cross.minimum_support] for row in possible]
        assert [[ids for block, ids in row if block == cross.name] for row in fired] == expected
        assert any(expected)
        assert sum(map(len, expected)) < sum(map(len, possible))


def test_raw_wide_features_fire_the_wide_ids_of_their_ids(world, transform, rows, encoded):
    fired = fired_features(transform, encoded)

    for name in world.spec.wide:
        known = [[id_ for block, id_ in row if block == name and id_ is not None] for row in fired]
        assert known == known_ids(rows, transform, name)


def test_wide_ids_lie_in_their_blocks_one_after_another(transform, encoded):
    starts = np.array([*transform.wide_offsets.values()])

    blocks = np.searchsorted(starts, encoded.wide.values, side="right") - 1

    assert starts[0] == 0
    assert (np.diff(starts) >= 0).all()
    assert encoded.wide.values.min() >= 0
    assert encoded.wide.values.max() < transform.wide_size
    same_row = np.diff(encoded.wide.row_numbers()) == 0
    assert (np.diff(blocks)[same_row] >= 0).all()
    assert len(set(blocks.tolist())) == len(starts) - 1


def test_the_wide_ids_alone_are_those_of_the_encoding(transform, rows, encoded):
    wide = transform.wide_ids(rows)

    assert wide.values.tobytes() == encoded.wide.values.tobytes()
    assert wide.offsets.tobytes() == encoded.wide.offsets.tobytes()


def test_the_order_within_a_row_does_not_depend_on_codes(world, rows, transform, encoded):
    """So a warm start sums the same weights in the same order, to the bit."""
    other = fit(world, EARLIER, previous=transform)
    other_encoded = other.encode(rows)
    fired, other_fired = fired_features(transform, encoded), fired_features(other, other_encoded)
    common = {f for row in fired for f in row} & {f for row in other_fired for f in row}

    def common_only(fired_rows):
        return [[f for f in row if f in common and f[1] is not None] for row in fired_rows]

    assert not np.array_equal(other_encoded.wide.values, encoded.wide.values)
    assert common_only(fired) == common_only(other_fired)


def test_boundaries_are_taken_over_and_vocabularies_are_not(world, transform):
    fresh = fit(world, EARLIER)
    warm = fit(world, EARLIER, previous=transform)

    for name, normaliser in transform.normalisers.items():
        assert warm.normalisers[name].boundaries.tolist() == normaliser.boundaries.tolist()
    assert any(
        fresh.normalisers[name].boundaries.tolist() != normaliser.boundaries.tolist()
        for name, normaliser in transform.normalisers.items()
    )
    for name, vocabulary in fresh.vocabularies.items():
        assert warm.vocabularies[name].ids.tolist() == vocabulary.ids.tolist()


def test_a_previous_transform_of_other_features_is_refused(world, transform):
    changed = replace(world, spec=replace(world.spec, wide=("item",)))

    with pytest.raises(InputError, match="other features"):
        fit(changed, EARLIER, previous=transform)


def test_crosses_are_keyed_by_codes_not_by_joined_text():
    """ "a-b" with "c" and "a" with "b-c" are two crosses, however they are written."""
    texts = np.dtypes.StringDType()
    items = AttributeTable(
        np.array([1, 2]),
        {"grade": np.array(["c", "b-c", MISSING], texts)},
        {},
        {"genres": Ragged.from_lists([["a-b"], ["a"], []], texts)},
    )
    tables = FeatureTables(items)
    ids = np.array([1, 2])
    nothing = IndexedBag.from_ragged(Ragged.from_lists([[], []], np.int64))
    history = HistoryColumns(np.empty((2, 0), np.float32), nothing, nothing)
    rows = RawFeatures.from_history(Queries(ids, ids, ids, ids), history, tables)
    spec = FeatureSpec(
        (Category("grade", 1),), (Bag("genres", 1),), (), (), (Cross(("genres", "grade"), 1),), ()
    )

    transform = Transform.fit(spec, 0.5, rows)

    assert transform.wide_size == 2
    assert sorted(bag_lists(transform.encode(rows).wide)) == [[0], [1]]


def test_bags_read_the_codes_of_the_category_they_share_a_vocabulary_with(rows, transform, encoded):
    liked = encoded.bags[2]

    expected = transform.vocabularies["item"].encode(rows.history.liked.decode().values)

    assert liked.values.tolist() == expected.tolist()
    assert "liked" not in transform.vocabularies


def test_past_likes_may_have_a_vocabulary_of_their_own(world):
    transform = fit_spec(world, categories=(Category("item", 1),), bags=(Bag("liked", 40),))

    counts = Counter(world.compute_features().history.liked.decode().values.tolist())
    frequent = sorted(item for item, count in counts.items() if count >= 40)
    assert transform.vocabularies["liked"].ids.tolist() == frequent
    assert 0 < len(frequent) < len(transform.vocabularies["item"].ids)


@pytest.mark.parametrize(
    "parts",
    [
        {"categories": (Category("item", 1),)},
        {"numbers": (Number("user_genres_residual"),)},
        {"bags": (Bag("genres", 1),), "wide": ("genres",)},
        {},
    ],
)
def test_a_spec_may_leave_out_any_kind_of_feature(world, tmp_path, parts):
    transform = fit_spec(world, **parts)

    encoded = transform.encode(world.compute_features())

    assert len(encoded) == len(encoded.wide) == len(encoded.numbers) == len(world.interactions)
    encoded.save(tmp_path / "rows.parquet")
    assert_equal(EncodedRows.load(tmp_path / "rows.parquet"), encoded)

"""The transform: one row as many, saved as loaded, and never a NaN or a label."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from widedeep.data.tables import Interactions
from widedeep.features.encoded import EncodedRows
from widedeep.features.history import HistoryColumns, Queries
from widedeep.features.items import MISSING, ItemTable
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
    return world.describe()


@pytest.fixture(scope="module")
def transform(world):
    return fit(world, TRAINING)


@pytest.fixture(scope="module")
def encoded(transform, rows):
    return transform.encode(rows)


def fit(world, part, previous=None):
    return Transform.fit(world.spec, world.prior, world.describe(world.queries(part)), previous)


def fit_spec(world, **parts):
    fields = dict.fromkeys(("categories", "bags", "numbers", "buckets", "crosses", "wide"), ())
    return Transform.fit(FeatureSpec(**(fields | parts)), world.prior, world.describe())


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_equal(found, wanted):
    assert found.categories.tobytes() == wanted.categories.tobytes()
    assert found.numbers.quantile.tobytes() == wanted.numbers.quantile.tobytes()
    pairs = zip((*found.bags, found.wide), (*wanted.bags, wanted.wide), strict=True)
    for one, other in pairs:
        assert one.values.tobytes() == other.values.tobytes()
        assert one.offsets.tobytes() == other.offsets.tobytes()


def bag_lists(bag):
    return [bag.values[a:b].tolist() for a, b in zip(bag.offsets, bag.offsets[1:], strict=False)]


def test_one_row_is_encoded_as_among_many(world, transform, encoded):
    for i in range(0, len(world.interactions), 17):
        alone = transform.encode(world.describe(world.queries([i])))
        assert_equal(alone, encoded.take(np.array([i])))


def test_no_rows_are_encoded_to_none(world, transform, encoded):
    none = transform.encode(world.describe(world.queries(slice(0, 0))))

    assert_equal(none, encoded.take(np.empty(0, np.int64)))
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
    """The last instant's labels are in nobody's history, so whatever they are changes nothing."""
    interactions, last = world.interactions, world.interactions.time == world.interactions.time[-1]
    flipped = Interactions(
        interactions.user,
        interactions.item,
        np.where(last, 11 - interactions.value, interactions.value),
        interactions.time,
    )

    for name, given in (("given", interactions), ("flipped", flipped)):
        fitted = Transform.fit(world.spec, world.prior, world.describe(interactions=given))
        fitted.save(tmp_path / name)

    assert contents(tmp_path / "given") == contents(tmp_path / "flipped")


def test_a_rows_own_label_is_not_in_its_encoding(world, transform, encoded):
    interactions = world.interactions
    for i in range(100, len(interactions), 97):
        value = interactions.value.copy()
        value[i] = 1 if value[i] == 10 else 10
        described = world.describe(
            world.queries([i]),
            Interactions(interactions.user, interactions.item, value, interactions.time),
        )
        assert_equal(transform.encode(described), encoded.take(np.array([i])))


def test_no_nan_comes_out_whatever_is_missing(world, transform, encoded):
    time = np.array([0, 1_205_000_000, 2_000_000_000])
    strange = Queries(np.array([-5, 1, 10**9]), np.array([100, 999, -1]), time, time)

    for found in (encoded, transform.encode(world.describe(strange))):
        numbers = found.numbers.normalised()
        assert np.isfinite(numbers).all()
        assert (numbers >= 0).all()
        assert (numbers <= 1).all()


def test_what_is_missing_is_said_to_be_missing(world, transform):
    time = np.full(3, 1_205_000_000)
    asked = Queries(np.array([10**9] * 3), np.array([101, 110, 999]), time, time)

    found = transform.encode(world.describe(asked))

    columns = dict(
        zip(transform.number_columns, found.numbers.normalised().T.tolist(), strict=True)
    )
    assert columns["item_age_missing"] == [0, 1, 1]
    assert columns["item_age"][1:] == [0, 0]
    assert columns["user_recency_missing"] == [1, 1, 1]
    assert columns["expected_logit_missing"] == [0, 0, 0]
    assert transform.vocabularies["grade"].decode(found.categories[1:, 2]).tolist() == [MISSING] * 2


def test_unknown_tokens_have_the_id_zero(world, transform):
    time = np.array([1_205_000_000])
    asked = Queries(np.array([10**9]), np.array([999]), time, time)

    found = transform.encode(world.describe(asked))

    assert found.categories[0, :2].tolist() == [0, 0]
    assert [len(bag.values) for bag in found.bags] == [0, 0, 0, 0]


def test_vocabularies_hold_exactly_the_tokens_of_the_minimum_count(world, transform):
    rows = world.describe(world.queries(TRAINING))
    leading = rows.attribute_bag("leading").take(rows.item_rows).values
    seen = {
        "user": rows.queries.user,
        "item": rows.queries.item,
        "grade": rows.attribute("grade")[rows.item_rows],
        "leading": leading,
    }
    minimum = {
        feature.name: feature.minimum_count
        for feature in (*world.spec.categories, *world.spec.bags)
    }

    for name, tokens in seen.items():
        counts = Counter(tokens.tolist())
        kept = sorted(token for token, count in counts.items() if count >= minimum[name])
        assert transform.vocabularies[name].ids.tolist() == kept
        assert 0 < len(kept) <= len(counts)
    assert len(transform.vocabularies["user"].ids) < len(set(seen["user"].tolist()))


def part_tokens(rows, transform, name):
    """The tokens of a feature in each row (quantiles for a bucket), without the unknown."""
    if name.endswith("_bucket"):
        number = name.removesuffix("_bucket")
        return [[q] for q in transform.normalisers[name].bucket(rows.number(number)).tolist()]
    known = set(transform.vocabulary_of(name).ids.tolist())
    if rows.token(name) is not None:
        found = [[token] for token in rows.token(name).tolist()]
    elif rows.history_bag(name) is not None:
        found = bag_lists(rows.history_bag(name).decode())
    elif name == "grade":
        found = [[grade] for grade in rows.attribute(name)[rows.item_rows].tolist()]
    else:
        found = bag_lists(rows.attribute_bag(name).take(rows.item_rows))
    return [[token for token in row if token in known] for row in found]


def combinations(rows, transform, cross):
    columns = [part_tokens(rows, transform, part) for part in cross.parts]
    return [[*product(*row)] for row in zip(*columns, strict=True)]


def named(transform, encoded):
    """Each row's fired features as (block, token or tuple of tokens), in their order."""
    names = np.empty(transform.wide_size, object)
    for name in transform.spec.wide:
        names[ids_of(transform, name)] = [(name, token) for token in tokens_of(transform, name)]
    for cross, vocabulary in zip(transform.spec.crosses, transform.crosses, strict=True):
        parts = zip(cross.parts, vocabulary.part_codes(), strict=True)
        tokens = [[tokens_of(transform, part)[i] for i in ids] for part, ids in parts]
        names[ids_of(transform, cross.name)] = [(cross.name, c) for c in zip(*tokens, strict=True)]
    return [[names[i] for i in row] for row in bag_lists(encoded.wide)]


def tokens_of(transform, name):
    if name in transform.normalisers:
        return ["unused", *range(transform.normalisers[name].quantiles + 1)]
    return [None, *transform.vocabulary_of(name).ids.tolist()]


def ids_of(transform, name):
    """The wide ids of a block: from its offset to the next one."""
    starts = [*transform.wide_offsets.values()]
    place = [*transform.wide_offsets].index(name)
    return slice(starts[place], starts[place + 1])


def test_crosses_fire_exactly_where_their_parts_meet_often_enough(world, transform, rows, encoded):
    """Over bags (liked x item), three parts, buckets: all by the tokens they stand for."""
    training = world.describe(world.queries(TRAINING))
    fired = named(transform, encoded)

    for cross in world.spec.crosses:
        seen = combinations(training, transform, cross)
        support = Counter(c for row in seen for c in set(row))
        asked = combinations(rows, transform, cross)
        kept = [[c for c in row if support[c] >= cross.minimum_support] for row in asked]
        found = [[token for block, token in row if block == cross.name] for row in fired]
        assert found == kept
        assert any(kept)
        assert sum(map(len, kept)) < sum(map(len, asked))


def test_raw_wide_features_fire_the_ids_of_their_tokens(world, transform, rows, encoded):
    fired = named(transform, encoded)

    for name in world.spec.wide:
        wanted = part_tokens(rows, transform, name)
        found = [[t for block, t in row if block == name and t is not None] for row in fired]
        assert found == wanted


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


def test_the_order_within_a_row_does_not_depend_on_ids(world, rows, transform, encoded):
    """So a warm start sums the same weights in the same order, to the bit."""
    other = fit(world, EARLIER, previous=transform)
    known = [
        {name for row in named(t, e) for name in row}
        for t, e in ((transform, encoded), (other, other.encode(rows)))
    ]
    common = known[0] & known[1]

    one = named(transform, encoded)
    two = named(other, other.encode(rows))

    assert not np.array_equal(other.encode(rows).wide.values, encoded.wide.values)
    assert [[f for f in row if f in common and f[1] is not None] for row in one] == [
        [f for f in row if f in common and f[1] is not None] for row in two
    ]


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
        assert warm.vocabularies[name].ids.tolist() == vocabulary.tokens.tolist()


def test_a_previous_transform_of_other_features_is_refused(world, transform):
    changed = replace(world, spec=replace(world.spec, wide=("item",)))

    with pytest.raises(InputError, match="other features"):
        fit(changed, EARLIER, previous=transform)


def test_crosses_are_keyed_by_ids_not_by_joined_text():
    """ "a-b" with "c" and "a" with "b-c" are two crosses, however they are written."""
    texts = np.dtypes.StringDType()
    item_table = ItemTable(
        np.array([1, 2]),
        {"grade": np.array(["c", "b-c", MISSING], texts)},
        {},
        {"genres": Ragged.from_lists([["a-b"], ["a"], []], texts)},
    )
    two = np.array([1, 2])
    nothing = IndexedBag.from_ragged(Ragged.from_lists([[], []], np.int64))
    history = HistoryColumns(np.empty((2, 0), np.float32), nothing, nothing)
    rows = RawFeatures.from_history(Queries(two, two, two, two), history, item_table)
    spec = FeatureSpec(
        (Category("grade", 1),), (Bag("genres", 1),), (), (), (Cross(("genres", "grade"), 1),), ()
    )

    transform = Transform.fit(spec, 0.5, rows)

    assert transform.wide_size == 2
    assert sorted(bag_lists(transform.encode(rows).wide)) == [[0], [1]]


def test_bags_read_the_ids_of_the_category_they_share_a_vocabulary_with(rows, transform, encoded):
    liked = encoded.bags[2]

    wanted = transform.vocabularies["item"].encode(rows.history.liked.decode().values)

    assert liked.values.tolist() == wanted.tolist()
    assert "liked" not in transform.vocabularies


def test_past_likes_may_have_a_vocabulary_of_their_own(world):
    transform = fit_spec(world, categories=(Category("item", 1),), bags=(Bag("liked", 40),))

    counts = Counter(world.describe().history.liked.decode().values.tolist())
    kept = sorted(item for item, count in counts.items() if count >= 40)
    assert transform.vocabularies["liked"].ids.tolist() == kept
    assert 0 < len(kept) < len(transform.vocabularies["item"].ids)


@pytest.mark.parametrize(
    "parts",
    [
        {"categories": (Category("item", 1),)},
        {"numbers": (Number("taste"),)},
        {"bags": (Bag("genres", 1),), "wide": ("genres",)},
        {},
    ],
)
def test_a_spec_may_leave_out_any_kind_of_feature(world, tmp_path, parts):
    transform = fit_spec(world, **parts)

    found = transform.encode(world.describe())

    assert len(found) == len(found.wide) == len(found.numbers) == len(world.interactions)
    found.save(tmp_path / "rows.parquet")
    assert_equal(EncodedRows.load(tmp_path / "rows.parquet"), found)

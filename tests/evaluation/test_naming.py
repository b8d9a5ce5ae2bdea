"""Names of items and people, and wide ids in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.evaluation.naming import FeatureNaming, Language
from widedeep.features.wide_ids import wide_blocks

KOREAN, ENGLISH = Language.KOREAN, Language.ENGLISH


def test_a_name_that_one_language_lacks_is_replaced_by_that_of_the_other(names):
    assert [names.item(4, language) for language in Language] == ["아리랑", "아리랑"]
    assert [names.value("people", 8, language) for language in Language] == ["송강호", "송강호"]
    assert names.item(1, KOREAN) == "매트릭스"
    assert names.item(1, ENGLISH) == "The Matrix"
    assert names.value("leading", 5, ENGLISH) == "Keanu Reeves"


def test_an_item_or_person_without_a_name_is_called_by_its_id(names):
    assert names.item(5, KOREAN) == names.item(5, ENGLISH) == "#5"
    assert names.item(-1, ENGLISH) == "#-1"
    assert names.value("people", 99, KOREAN) == "#99"


def test_a_value_is_called_as_the_data_say_or_as_in_the_data(names):
    assert [names.value("genres", "드라마", language) for language in Language] == [
        "드라마",
        "drama",
    ]
    assert names.value("genres", "SF 드라마", ENGLISH) == "SF 드라마"


BLOCKS = (
    "item",
    "grade",
    "leading",
    "user_count_bucket",
    "liked x item",
    "user_count_bucket x genres x grade",
)


@pytest.fixture(scope="module")
def transform(make_transform):
    return make_transform()


def texts_of(transform, names, *wide_ids):
    return FeatureNaming(transform, names).to_text(np.array(wide_ids, np.int64))


@pytest.mark.parametrize(
    ("block", "codes", "korean", "english"),
    [
        ("item", (1,), "item 매트릭스", "item The Matrix"),
        ("item", (3,), "item 유보트", "item The Boat"),
        ("item", (0,), "item (rare)", "item (rare)"),
        ("grade", (1,), "grade missing", "grade missing"),
        ("grade", (2,), "grade 12세", "grade 12세"),
        ("leading", (1,), "leading 키아누 리브스", "leading Keanu Reeves"),
        ("user_count_bucket", (1,), "user_count missing", "user_count missing"),
        ("user_count_bucket", (2,), "user_count below 2", "user_count below 2"),
        ("user_count_bucket", (3,), "user_count 2 … 10.5", "user_count 2 … 10.5"),
        ("user_count_bucket", (4,), "user_count from 10.5", "user_count from 10.5"),
        (
            "liked x item",
            (1, 2),
            "liked 매트릭스 → 매트릭스 2",
            "liked The Matrix → The Matrix Reloaded",
        ),
        (
            "user_count_bucket x genres x grade",
            (4, 1, 2),
            "user_count from 10.5 x genres SF x grade 12세",
            "user_count from 10.5 x genres sci-fi x grade 12세",
        ),
    ],
)
def test_a_wide_feature_is_put_into_words(
    transform, names, find_wide_id, block, codes, korean, english
):
    (text,) = texts_of(transform, names, find_wide_id(transform, block, *codes))
    assert (text.block, text.korean, text.english) == (block, korean, english)


@given(st.data())
def test_each_id_has_its_own_text_whatever_their_order(transform, names, data):
    ids = data.draw(st.lists(st.integers(0, transform.wide_size - 1)))
    assert texts_of(transform, names, *ids) == [texts_of(transform, names, i)[0] for i in ids]


def test_a_block_without_ids_does_not_shift_the_others(make_transform, names):
    transform = make_transform(liked=())
    texts = texts_of(transform, names, *range(transform.wide_size))
    assert {text.block for text in texts} == set(BLOCKS) - {"liked x item"}
    assert texts[-1].korean == "user_count from 10.5 x genres SF x grade 12세"


def test_no_two_ids_of_a_transform_have_the_same_text(transform, names):
    texts = texts_of(transform, names, *range(transform.wide_size))
    buckets = [text for text in texts if text.block == "user_count_bucket"]
    assert len({(text.block, text.english) for text in texts}) == len(texts)
    assert len(buckets) == 5


def test_a_bucket_of_a_constant_is_known_or_missing(make_transform, names):
    transform = make_transform(ends=(), others=())
    naming = FeatureNaming(transform, names)
    assert naming.code_texts("user_count_bucket", np.array([1, 2]), ENGLISH) == ["missing", "known"]


def test_large_numbers_are_written_out(make_transform, names):
    transform = make_transform(ends=(1234.5, 123_456.0), others=())
    naming = FeatureNaming(transform, names)
    assert naming.code_texts("user_count_bucket", np.array([3]), ENGLISH) == ["1234 … 123456"]


def test_only_a_history_with_its_candidate_is_a_memory(transform):
    memories = [block.name for block in wide_blocks(transform) if block.is_memory(transform.spec)]
    assert memories == ["liked x item"]
    assert [block.name for block in wide_blocks(transform)] == list(BLOCKS)

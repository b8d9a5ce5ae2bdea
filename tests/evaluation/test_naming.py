"""Titles as people know them.

Wide ids are told in words, each as itself.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data.tables import PEOPLE_COLUMNS
from widedeep.evaluation.naming import DisplayNames, FeatureNaming, Language, tidy_title
from widedeep.features.wide_ids import wide_blocks

KOREAN, ENGLISH = Language.KOREAN, Language.ENGLISH


@pytest.mark.parametrize(
    ("raw", "tidy"),
    [
        ("The Matrix , 1999", "The Matrix"),
        ("The Matrix, 1999", "The Matrix"),
        ("Das Boot , The Boat , 1981", "The Boat"),
        ("Good Morning, Vietnam , 1987", "Good Morning, Vietnam"),
        ("Blade Runner 2049 , 2017", "Blade Runner 2049"),
        ("Blade Runner 2049", "Blade Runner 2049"),
        ("靈幻道士", "靈幻道士"),
        ("1926", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_an_english_title_is_freed_of_its_year_and_of_the_original_one(raw, tidy):
    assert tidy_title(raw) == tidy


def test_a_name_that_one_language_lacks_is_that_of_the_other(names):
    assert [names.item(4, language) for language in Language] == ["아리랑", "아리랑"]
    assert [names.person(8, language) for language in Language] == ["송강호", "송강호"]
    assert names.item(1, KOREAN) == "매트릭스"
    assert names.item(1, ENGLISH) == "The Matrix"
    assert names.person(5, ENGLISH) == "Keanu Reeves"


def test_what_has_no_name_is_called_by_its_token(names, item_tables):
    assert names.item(5, KOREAN) == names.item(5, ENGLISH) == "#5"
    assert names.item(-1, ENGLISH) == "#-1"
    assert names.person(99, KOREAN) == "#99"
    without_people = DisplayNames.of(item_tables[0], PEOPLE_COLUMNS.empty_table())
    assert without_people.person(5, KOREAN) == "#5"


BLOCKS = (
    "item",
    "grade",
    "leading",
    "user_count_bucket",
    "liked x item",
    "user_count_bucket x genres x grade",
)


@pytest.fixture(scope="module")
def made(make_transform):
    return make_transform()


def describe(made, names, *wide_ids):
    return FeatureNaming(made, names).describe(np.array(wide_ids, np.int64))


@pytest.mark.parametrize(
    ("block", "parts", "korean", "english"),
    [
        ("item", (1,), "movie 매트릭스", "movie The Matrix"),
        ("item", (3,), "movie 유보트", "movie The Boat"),
        ("item", (0,), "movie (rare)", "movie (rare)"),
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
            "user_count from 10.5 x genres SF x grade 12세",
        ),
    ],
)
def test_a_wide_feature_reads(made, names, find_wide, block, parts, korean, english):
    (told,) = describe(made, names, find_wide(made, block, *parts))
    assert (told.block, told.korean, told.english) == (block, korean, english)


@given(st.data())
def test_ids_are_told_one_by_one_whatever_their_order(made, names, data):
    ids = data.draw(st.lists(st.integers(0, made.wide_size - 1)))
    assert describe(made, names, *ids) == [describe(made, names, i)[0] for i in ids]


def test_a_block_without_ids_does_not_shift_the_others(make_transform, names):
    made = make_transform(liked=())
    told = describe(made, names, *range(made.wide_size))
    assert {one.block for one in told} == set(BLOCKS) - {"liked x item"}
    assert told[-1].korean == "user_count from 10.5 x genres SF x grade 12세"


def test_all_ids_of_a_transform_are_told_apart(made, names):
    told = describe(made, names, *range(made.wide_size))
    buckets = [one for one in told if one.block == "user_count_bucket"]
    assert len({(one.block, one.english) for one in told}) == len(told)
    assert len(buckets) == 5


def test_a_bucket_of_a_constant_is_known_or_missing(make_transform, names):
    made = make_transform(ends=(), others=())
    told = FeatureNaming(made, names).words("user_count_bucket", np.array([1, 2]), Language.ENGLISH)
    assert told == ["missing", "known"]


def test_large_numbers_are_written_out(make_transform, names):
    made = make_transform(ends=(1234.5, 123_456.0), others=())
    told = FeatureNaming(made, names).words("user_count_bucket", np.array([3]), Language.ENGLISH)
    assert told == ["1234 … 123456"]


def test_only_a_history_with_its_candidate_is_a_memory(made):
    memories = [block.name for block in wide_blocks(made) if block.is_memory(made.spec)]
    assert memories == ["liked x item"]
    assert [block.name for block in wide_blocks(made)] == list(BLOCKS)

"""Titles as people know them."""

import pytest

from widedeep.data.movies import PEOPLE_COLUMNS
from widedeep.evaluation.names import Language, Names, tidy_title

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
    assert [names.movie(4, language) for language in Language] == ["아리랑", "아리랑"]
    assert [names.person(8, language) for language in Language] == ["송강호", "송강호"]
    assert names.movie(1, KOREAN) == "매트릭스"
    assert names.movie(1, ENGLISH) == "The Matrix"
    assert names.person(5, ENGLISH) == "Keanu Reeves"


def test_what_has_no_name_is_called_by_its_token(names, movie_tables):
    assert names.movie(5, KOREAN) == names.movie(5, ENGLISH) == "#5"
    assert names.movie(-1, ENGLISH) == "#-1"
    assert names.person(99, KOREAN) == "#99"
    without_people = Names.of(movie_tables[0], PEOPLE_COLUMNS.empty_table())
    assert without_people.person(5, KOREAN) == "#5"

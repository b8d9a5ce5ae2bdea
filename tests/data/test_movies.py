"""The table of movies keeps what the files say, in an order of its own."""

import pyarrow.parquet as pq
import pytest

from widedeep.data.ingest import ingest
from widedeep.data.movies import MOVIE_COLUMNS


@pytest.fixture
def movies(kmrd, store, now):
    def of(**lines):
        for name, row in lines.items():
            suffix = "txt" if name in {"movies", "peoples"} else "csv"
            with (kmrd / f"{name}.{suffix}").open("a", encoding="utf-8") as file:
                file.write(f"{row}\n")
        return pq.read_table(ingest(kmrd, store, now).path / "movies.parquet")

    return of


def test_a_movie_is_told_with_all_that_belongs_to_it(movies):
    assert movies().to_pylist()[0] == {
        "movie": 10001,
        "title": '시네마 "천국"',
        "title_eng": 'Cinema "Paradiso, , 1988',
        "release_year": 2013,
        "original_year": 1988,
        "grade": "전체 관람가",
        "genres": ["드라마", "멜로/로맨스"],
        "countries": ["이탈리아", "프랑스"],
        "people": [4374, 178, 5],
        "leading": [4374, 178],
    }


def test_what_is_absent_is_null_or_an_empty_list(movies):
    assert movies().to_pylist()[3] == {
        "movie": 10004,
        "title": "",
        "title_eng": "",
        "release_year": None,
        "original_year": None,
        "grade": "PG",
        "genres": [],
        "countries": [],
        "people": [],
        "leading": [],
    }
    assert movies()["grade"].to_pylist() == ["전체 관람가", None, "12세 관람가", "PG"]


def test_movies_are_sorted_and_typed(movies):
    table = movies()
    assert table["movie"].to_pylist() == [10001, 10002, 10003, 10004]
    assert table.schema.equals(MOVIE_COLUMNS)


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Cinema Paradiso , 1988", 1988),
        ("1961", 1961),
        ("2001: A Space Odyssey , 1968", 1968),
        ("1984 ,1956 ", 1956),
        ("A Trip , 1899", 1899),
        ("Blade Runner 2049", None),
        ("Up , 12009", None),
        ("Up , 2009 (3D)", None),
        ("Ages , 1492", None),
        ("", None),
    ],
)
def test_the_original_year_stands_at_the_end_of_the_english_title(movies, title, year):
    table = movies(movies=f"10009\t제목\t{title}\t\t")
    assert table["original_year"].to_pylist()[-1] == year


@pytest.mark.parametrize(
    ("text", "year"), [("2013", 2013), ("2013.0", 2013), ("", None), ("nan", None), ("99999", None)]
)
def test_a_release_year_that_cannot_be_read_is_null(movies, text, year):
    table = movies(movies=f"10009\t제목\tTitle\t{text}\t")
    assert table["release_year"].to_pylist()[-1] == year


def test_a_value_told_twice_of_a_movie_counts_once(movies):
    table = movies(castings="10001,178,4,0", genres="10001,드라마")
    assert table["people"].to_pylist()[0] == [4374, 178, 5]
    assert table["genres"].to_pylist()[0] == ["드라마", "멜로/로맨스"]


def test_people_are_sorted_with_their_names(kmrd, store, now):
    people = pq.read_table(ingest(kmrd, store, now).path / "people.parquet")
    assert people.to_pylist() == [
        {"people": 5, "korean": "아담", "original": ""},
        {"people": 8, "korean": "에이드", "original": "Adrian Lyne"},
    ]

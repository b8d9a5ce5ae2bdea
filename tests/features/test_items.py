"""The catalogue: absent attributes are said to be absent, and so is a whole film."""

import numpy as np

from widedeep.features.items import MISSING, Items


def test_attributes_are_read_as_ingest_wrote_them(movies):
    catalogue = Items.from_table(movies)

    assert catalogue.movies.tolist() == movies["movie"].to_pylist()
    grades = [grade or MISSING for grade in movies["grade"].to_pylist()]
    assert catalogue.categories["grade"].tolist() == [*grades, MISSING]
    years = np.array([*movies["original_year"].to_pylist(), None], float)
    np.testing.assert_array_equal(catalogue.numbers["original_year"], years)
    for name in ("genres", "countries", "people", "leading"):
        bag = catalogue.bags[name]
        found = [bag.take(np.array([i])).values.tolist() for i in range(len(bag))]
        assert found == [*movies[name].to_pylist(), []]


def test_unknown_films_have_the_last_row_and_nothing_is_known_of_them(movies):
    catalogue = Items.from_table(movies)

    rows = catalogue.rows(np.array([123, 1, 100, 999, 110]))

    assert rows.tolist() == [23, 24, 0, 24, 10]
    assert catalogue.categories["grade"][24] == MISSING
    assert np.isnan(catalogue.numbers["original_year"][24])
    assert catalogue.bag("people", rows).lengths.tolist() == [3, 0, 3, 0, 3]


def test_an_empty_catalogue_knows_no_film(movies):
    catalogue = Items.from_table(movies.slice(0, 0))

    assert catalogue.rows(np.array([100, 101])).tolist() == [0, 0]
    assert catalogue.bag("genres", np.array([0, 0])).lengths.tolist() == [0, 0]


def test_a_value_named_twice_counts_once(movies):
    column = movies.schema.get_field_index("genres")
    doubled = [["액션", "드라마", "액션"] for _ in range(len(movies))]
    table = movies.set_column(column, movies.field("genres"), [doubled])

    genres = Items.from_table(table).bags["genres"]

    assert genres.take(np.array([0])).values.tolist() == ["액션", "드라마"]

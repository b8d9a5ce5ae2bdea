"""Tables of attributes: what is absent is marked as absent, and so is a whole item."""

import numpy as np
import pytest

from tests.worlds import tables_of
from widedeep.data.tables import MISSING
from widedeep.inputs import InputError


def test_attributes_are_read_as_ingest_wrote_them(items):
    tables = tables_of(items).items

    assert tables.ids.tolist() == items["item"].to_pylist()
    grades = [grade or MISSING for grade in items["grade"].to_pylist()]
    assert tables.categories["grade"].tolist() == [*grades, MISSING]
    years = np.array([*items["item_age"].to_pylist(), None], float)
    np.testing.assert_array_equal(tables.years["item_age"], years)
    for name in ("genres", "countries", "people", "leading"):
        bag = tables.bags[name]
        rows = [bag.select_rows(np.array([i])).values.tolist() for i in range(len(bag))]
        assert rows == [*items[name].to_pylist(), []]


def test_unknown_items_have_the_last_row_which_has_no_attribute(items):
    tables = tables_of(items).items

    rows = tables.find_rows(np.array([123, 1, 100, 999, 110]))

    assert rows.tolist() == [23, 24, 0, 24, 10]
    assert tables.categories["grade"][24] == MISSING
    assert np.isnan(tables.years["item_age"][24])
    assert tables.bags["people"].select_rows(rows).lengths.tolist() == [3, 0, 3, 0, 3]


def test_an_empty_item_table_knows_no_item(items):
    tables = tables_of(items.slice(0, 0)).items

    rows = tables.find_rows(np.array([100, 101]))

    assert rows.tolist() == [0, 0]
    assert tables.bags["genres"].select_rows(rows).lengths.tolist() == [0, 0]


def test_a_value_named_twice_counts_once(items):
    column = items.schema.get_field_index("genres")
    doubled = [["액션", "드라마", "액션"] for _ in range(len(items))]
    table = items.set_column(column, items.field("genres"), [doubled])

    genres = tables_of(table).items.bags["genres"]

    assert genres.select_rows(np.array([0])).values.tolist() == ["액션", "드라마"]


def test_a_category_is_a_bag_of_one_value_or_none(items):
    tables = tables_of(items).items

    grades = tables.as_bag("grade")

    values = [grade or MISSING for grade in items["grade"].to_pylist()]
    assert grades.lengths.tolist() == [int(value != MISSING) for value in values] + [0]
    assert grades.values.tolist() == [value for value in values if value != MISSING]


def test_an_attribute_that_is_not_there_is_named_with_one_that_is_like_it(items):
    with pytest.raises(InputError, match=r"'genre'; did you mean 'genres'\?"):
        tables_of(items).items.as_bag("genre")

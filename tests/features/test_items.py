"""The item table: absent attributes are marked as absent, and so is a whole item."""

import numpy as np

from widedeep.features.items import MISSING, ItemTable


def test_attributes_are_read_as_ingest_wrote_them(items):
    item_table = ItemTable.from_table(items)

    assert item_table.ids.tolist() == items["item"].to_pylist()
    grades = [grade or MISSING for grade in items["grade"].to_pylist()]
    assert item_table.categories["grade"].tolist() == [*grades, MISSING]
    years = np.array([*items["original_year"].to_pylist(), None], float)
    np.testing.assert_array_equal(item_table.numbers["original_year"], years)
    for name in ("genres", "countries", "people", "leading"):
        bag = item_table.bags[name]
        rows = [bag.select_rows(np.array([i])).values.tolist() for i in range(len(bag))]
        assert rows == [*items[name].to_pylist(), []]


def test_unknown_items_have_the_last_row_which_has_no_attribute(items):
    item_table = ItemTable.from_table(items)

    rows = item_table.find_rows(np.array([123, 1, 100, 999, 110]))

    assert rows.tolist() == [23, 24, 0, 24, 10]
    assert item_table.categories["grade"][24] == MISSING
    assert np.isnan(item_table.numbers["original_year"][24])
    assert item_table.bags["people"].select_rows(rows).lengths.tolist() == [3, 0, 3, 0, 3]


def test_an_empty_item_table_knows_no_item(items):
    item_table = ItemTable.from_table(items.slice(0, 0))

    rows = item_table.find_rows(np.array([100, 101]))

    assert rows.tolist() == [0, 0]
    assert item_table.bags["genres"].select_rows(rows).lengths.tolist() == [0, 0]


def test_a_value_named_twice_counts_once(items):
    column = items.schema.get_field_index("genres")
    doubled = [["액션", "드라마", "액션"] for _ in range(len(items))]
    table = items.set_column(column, items.field("genres"), [doubled])

    genres = ItemTable.from_table(table).bags["genres"]

    assert genres.select_rows(np.array([0])).values.tolist() == ["액션", "드라마"]

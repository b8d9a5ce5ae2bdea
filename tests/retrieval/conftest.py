"""Tables of items for tests of retrieval."""

import pyarrow as pa
import pytest

from widedeep.data.tables import ITEM_COLUMNS


@pytest.fixture(scope="session")
def make_items():
    """A function from rows, of which attributes may be missing, to a table as ingest writes it."""

    def make(*rows):
        empty = {"genres": [], "countries": [], "people": [], "leading": []}
        return pa.Table.from_pylist([empty | row for row in rows], ITEM_COLUMNS)

    return make

"""Tables of items for tests of retrieval."""

import pytest

from tests.worlds import items_of


@pytest.fixture(scope="session")
def make_items():
    """A function from rows, of which attributes may be missing, to a table as ingest writes it."""
    return items_of

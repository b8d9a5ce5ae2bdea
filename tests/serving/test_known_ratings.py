"""A server knows of its event log what the next retrain will know of it."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.artifact_store import ArtifactStore
from widedeep.data.events import HEADER, NAME
from widedeep.data.ingest import ingest
from widedeep.data.ratings import RatingLog, Ratings
from widedeep.features.companion import Companion
from widedeep.serving.event_log import read_events
from widedeep.serving.known_ratings import with_events
from widedeep.serving.rating_book import RatingBook
from widedeep.serving.ratings_by_user import RatingsByUser

NOW = 1_800_000_000
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 9_000_000, 9_000_001]),
        st.sampled_from([10001, 10002, 10003, 404]),
        st.integers(0, 11),
        st.sampled_from([1_000_000_000, 1_400_000_000, 1_400_000_000, NOW - 1, NOW]),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def companion(versions):
    return Companion.load(versions[0].history)


@settings(max_examples=15)
@given(events=EVENTS)
def test_it_is_what_ingest_makes_of_it(companion, tiny, tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("events")
    path = folder / NAME
    path.write_text(HEADER + "".join(f"{','.join(map(str, event))}\n" for event in events))
    learned = Ratings(ingest(tiny, ArtifactStore(folder / "store"), NOW, path)).load()
    known = with_events(companion, read_events(path))
    for name in RatingLog.__slots__:
        assert getattr(known, name).tolist() == getattr(learned, name).tolist(), name


def test_a_book_gives_a_users_ratings_in_order_of_time(companion):
    columns = {"user": [5, 5], "movie": [10002, 10001], "rate": [1, 9], "time": [NOW, NOW - 5]}
    log = with_events(companion, pa.table(columns))
    book = RatingBook(RatingsByUser.of(log))
    for user in (*set(companion.log.user[:40].tolist()), 5, -1):
        found = [(one.movie, one.rate, one.time) for one in book.of_user(user)]
        rows = log.user == user
        wanted = zip(log.movie[rows], log.rate[rows], log.time[rows], strict=True)
        assert found == [tuple(map(int, row)) for row in wanted]

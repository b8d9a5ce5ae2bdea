"""What a version knows can be handed from the process that found it out to the one that serves."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.companion import Companion
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.bundle import Bundle
from widedeep.serving.event_log import Event
from widedeep.serving.groundwork import Groundwork
from widedeep.serving.known_ratings import with_events
from widedeep.serving.ranker import Ranker
from widedeep.serving.retrieval import Retrieval

LATE = 1_700_000_000
NAMES = ("user", "movie", "rate", "time")
events = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 9_000_000, 9_000_001]),
        st.integers(10001, 10012),
        st.integers(1, 10),
        st.integers(LATE, LATE + 3),
    ),
    max_size=12,
)


def table(rows):
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    arrays = [pa.array(column, pa.int64()) for column in columns]
    return pa.table(dict(zip(NAMES, arrays, strict=True)))


@settings(max_examples=12)
@given(before=events, since=events)
def test_a_version_answers_by_it_as_by_the_log(versions, handed, before, since):
    """Whatever was rated before it was handed over, and since; to the bit."""
    version = versions[0]
    bundle = Bundle.load(version, handed(Groundwork.of(version, table(before))))
    model, companion = TrainedModel.load(version.served), Companion.load(version.history)
    log, catalogue = with_events(companion, table(before)), companion.catalogue
    ranker = Ranker.of(model, log, catalogue)
    retrieval = Retrieval.of(model, log, catalogue, companion.movies)
    for row in sorted(since, key=lambda row: row[3]):
        assert bundle.observe(Event(*row)) == ranker.observe(*row) == retrieval.observe(*row)
    at = max(LATE + 60, ranker.known_until)
    movies = np.append(catalogue.movies, -1)
    for user in (1, 2, 9_000_000, 9_000_001, -1):
        assert (bundle.ranker.scores(user, movies, at) == ranker.scores(user, movies, at)).all()
        assert bundle.retrieval.candidates(user, at) == retrieval.candidates(user, at)
        assert bundle.ranker.seen(user).tolist() == retrieval.seen(user).tolist()

"""Reasons are given for the score that is shown."""

from dataclasses import replace
from math import fsum

import numpy as np
import pyarrow as pa
import pytest

from widedeep.evaluation.explainer import Explainer
from widedeep.features.companion import Companion
from widedeep.features.history import Queries
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.bundle import Bundle
from widedeep.serving.event_log import Event, read_events
from widedeep.serving.groundwork import Groundwork
from widedeep.serving.known_ratings import with_events

LATE = 1_700_000_000


@pytest.fixture(scope="module")
def bundle(versions, handed, tmp_path_factory):
    empty = tmp_path_factory.mktemp("events") / "none.csv"
    empty.write_text("")
    return Bundle.load(versions[0], handed(Groundwork.of(versions[0], read_events(empty))))


def test_they_add_up_to_it_and_are_those_of_the_batch(bundle, versions):
    companion = Companion.load(versions[0].history)
    user, movies = int(np.bincount(companion.log.user).argmax()), [10001, 10002, 10003, 404]
    bundle.observe(Event(user, 10010, 10, LATE))
    bundle.observe(Event(user, 10011, 1, LATE + 60))
    at = LATE + 3600
    found = bundle.reasons(user, movies, at)
    scores = bundle.ranker.scores(user, np.array(movies), at)
    rows = [(user, 10010, 10, LATE), (user, 10011, 1, LATE + 60)]
    columns = zip(*rows, strict=True)
    events = pa.table(dict(zip(("user", "movie", "rate", "time"), map(list, columns), strict=True)))
    log = with_events(companion, events)
    model = TrainedModel.load(versions[0].served)
    explainer = Explainer(model, log, companion.catalogue, bundle.why.names)
    asked = Queries(*(np.array(c) for c in ([user] * 4, movies, [at] * 4, [at] * 4)))
    for reason, score, batch in zip(found, scores, explainer.explain(asked), strict=True):
        ours, tolerance = reason.explanation, bundle.ranker.tolerance
        assert fsum(ours.contributions) == ours.logit
        assert ours.probability == pytest.approx(score, abs=1e-6)
        assert ours.probability == pytest.approx(batch.probability, abs=tolerance)
        served = {"logit": ours.logit, "probability": ours.probability}
        assert ours == replace(batch, **served)


def test_alike_are_films_that_the_user_liked(bundle):
    newcomer = 8_000_000
    assert all(not reason.similar for reason in bundle.reasons(newcomer, [10001], LATE))
    for movie in (10001, 10002, 10003, 10004):
        bundle.observe(Event(newcomer, movie, 10, LATE + 100))
    for reason in bundle.reasons(newcomer, [10005, 10006, 404], LATE + 200):
        assert {one.movie for one in reason.similar} <= {10001, 10002, 10003, 10004}
        cosines = [one.similarity for one in reason.similar]
        assert cosines == sorted(cosines, reverse=True)
    (itself,) = bundle.reasons(newcomer, [10002], LATE + 200)
    assert itself.similar[0].movie == 10002
    assert itself.similar[0].similarity == pytest.approx(1, abs=1e-5)

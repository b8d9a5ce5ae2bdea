"""What a better AUC must not cost is measured on the same rows, slice by slice."""

from dataclasses import replace

import numpy as np
import pytest

from widedeep import metrics
from widedeep.evaluation.guards import Finding
from widedeep.evaluation.harm import guards
from widedeep.evaluation.pairing import streaming_difference
from widedeep.evaluation.promotion import GateConfig
from widedeep.evaluation.scoring import Predictions
from widedeep.evaluation.top_lists import TopLists

ROWS = 4000
GATE = GateConfig(replicates=200)
USERS = np.arange(20)


@pytest.fixture(scope="module")
def champion():
    generator = np.random.default_rng(0)
    logit = generator.normal(0.5, 1.5, ROWS)
    label = generator.random(ROWS) < 1 / (1 + np.exp(-logit))
    probability = 1 / (1 + np.exp(-(logit + generator.normal(0, 0.3, ROWS))))
    user = generator.integers(0, 1500, ROWS)
    return Predictions(user, user % 9, np.arange(ROWS), label, probability, probability)


@pytest.fixture(scope="module")
def masks():
    rows = np.arange(ROWS)
    return {"new_user": rows < 1000, "old_movie": rows >= 1000, "new_movie": rows < 400}


def lists(films):
    return TopLists(USERS, np.arange(200).reshape(20, 10) % films)


def found(ours, theirs, masks, films=(100, 100)):
    difference = streaming_difference(ours, theirs, GATE)
    shown = (lists(films[0]), lists(films[1]))
    return {guard.name: guard for guard in guards((ours, theirs), difference, masks, shown, GATE)}


def with_scores(predictions, scores):
    return replace(predictions, streaming=scores)


def test_a_model_does_itself_no_harm(champion, masks):
    guarded = found(champion, champion, masks)
    assert list(guarded) == [
        "streaming log loss",
        "streaming calibration error",
        "streaming AUC of new users",
        "streaming AUC of old movies",
        "films in top-10 lists",
    ]
    assert {guard.finding for guard in guarded.values()} == {Finding.WITHIN}


def test_a_slice_that_is_spoilt_is_found_there_alone(champion, masks):
    scores = champion.streaming.copy()
    scores[:1000] = np.random.default_rng(1).permutation(scores[:1000])
    guarded = found(with_scores(champion, scores), champion, masks)
    assert guarded["streaming AUC of new users"].finding is Finding.PAST
    assert guarded["streaming AUC of old movies"].finding is Finding.WITHIN


def test_scores_that_are_too_sure_harm_the_calibration(champion, masks):
    odds = champion.streaming / (1 - champion.streaming)
    sure = odds**2 / (1 + odds**2)
    guarded = found(with_scores(champion, sure), champion, masks)
    guard = guarded["streaming calibration error"]
    assert guard.finding is Finding.PAST
    wanted = metrics.ece(champion.label, sure) - metrics.ece(champion.label, champion.streaming)
    assert guard.change.difference == pytest.approx(wanted)
    assert guard.change.low < wanted < guard.change.high


def test_showing_everybody_the_same_films_is_harm(champion, masks):
    guarded = found(champion, champion, masks, films=(10, 100))
    assert guarded["films in top-10 lists"].finding is Finding.PAST
    assert found(champion, champion, masks, films=(90, 100))["films in top-10 lists"].finding is (
        Finding.WITHIN
    )

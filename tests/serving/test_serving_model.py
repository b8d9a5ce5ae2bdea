"""What a version knows can be handed from the process that found it out to the one that serves.

A version that would answer wrongly, or not at all, does not get to serve.

Reasons are given for the score that is shown.
"""

import shutil
from dataclasses import replace
from math import fsum

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.choices import Precision
from widedeep.data.feedback_log import FeedbackEvent, read_feedback
from widedeep.evaluation.explain import DataSnapshot, Explainer
from widedeep.evaluation.scoring import GOLDEN, GoldenRequests
from widedeep.features.history import Queries
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.retriever import Retriever
from widedeep.retrieval.user_index import merge_feedback
from widedeep.serving.ranker import Ranker
from widedeep.serving.serving_model import ServingModel, WarmState, check_version

LATE = 1_700_000_000
NAMES = ("user", "item", "value", "time")
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
    bundle = ServingModel.load(version, handed(WarmState.of(version, table(before))))
    model, companion = TrainedModel.load(version.served), DataSnapshot.load(version.history)
    interactions, item_table = merge_feedback(companion, table(before)), companion.item_table
    ranker = Ranker.of(model, interactions, item_table)
    retrieval = Retriever.of(model, interactions, item_table, companion.items)
    for row in sorted(since, key=lambda row: row[3]):
        assert (
            bundle.observe(FeedbackEvent(*row)) == ranker.observe(*row) == retrieval.observe(*row)
        )
    at = max(LATE + 60, ranker.known_until)
    items = np.append(item_table.items, -1)
    for user in (1, 2, 9_000_000, 9_000_001, -1):
        assert (bundle.ranker.scores(user, items, at) == ranker.scores(user, items, at)).all()
        assert bundle.retrieval.candidates(user, at) == retrieval.candidates(user, at)
        assert bundle.ranker.seen(user).tolist() == retrieval.seen(user).tolist()


@pytest.fixture
def version(versions, tmp_path):
    """A copy that a test may spoil."""
    folder = shutil.copytree(versions[0].served.parent, tmp_path / "version")
    return replace(versions[0], served=folder / "model", history=folder / "history")


def cut_weights(version):
    path = version.served / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def lose_ratings(version):
    (version.history / "ratings.parquet").unlink()


def take_another_format(version):
    path = version.served / "model.json"
    path.write_text(path.read_text().replace('"format": ', '"format": 9'))


def mix_up_models(version):
    """The history of one version beside the weights of another."""
    golden = GoldenRequests.load(version.history / GOLDEN)
    replace(golden, probability=np.clip(golden.probability + 0.01, 0, 1)).save(
        version.history / GOLDEN
    )


def spoil_weights(version):
    """NaN in every score."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(version.served / "weights.safetensors")
    weights["bias"] = weights["bias"] * np.float32("nan")
    save_file(weights, version.served / "weights.safetensors")


def test_a_sound_version_has_no_fault(versions):
    assert [check_version(version, Precision.AUTO) for version in versions] == [None, None]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (cut_weights, "cannot be loaded and asked"),
        (lose_ratings, "cannot be loaded and asked"),
        (take_another_format, "a model of format 93"),
        (mix_up_models, "answers in float32 differ by up to 0.01"),
        (spoil_weights, "answers in float32 differ by up to nan"),
    ],
)
def test_what_is_wrong_is_said(version, spoil, fault):
    spoil(version)
    assert fault in check_version(version, Precision.AUTO)


@pytest.fixture(scope="module")
def bundle(versions, handed, tmp_path_factory):
    empty = tmp_path_factory.mktemp("events") / "none.csv"
    empty.write_text("")
    return ServingModel.load(versions[0], handed(WarmState.of(versions[0], read_feedback(empty))))


def test_they_add_up_to_it_and_are_those_of_the_batch(bundle, versions):
    companion = DataSnapshot.load(versions[0].history)
    user, items = int(np.bincount(companion.interactions.user).argmax()), [10001, 10002, 10003, 404]
    bundle.observe(FeedbackEvent(user, 10010, 10, LATE))
    bundle.observe(FeedbackEvent(user, 10011, 1, LATE + 60))
    at = LATE + 3600
    found = bundle.reasons(user, items, at)
    scores = bundle.ranker.scores(user, np.array(items), at)
    rows = [(user, 10010, 10, LATE), (user, 10011, 1, LATE + 60)]
    columns = zip(*rows, strict=True)
    events = pa.table(dict(zip(("user", "item", "value", "time"), map(list, columns), strict=True)))
    interactions = merge_feedback(companion, events)
    model = TrainedModel.load(versions[0].served)
    explainer = Explainer(model, interactions, companion.item_table, bundle.why.names)
    asked = Queries(*(np.array(c) for c in ([user] * 4, items, [at] * 4, [at] * 4)))
    for reason, score, batch in zip(found, scores, explainer.explain(asked), strict=True):
        ours, tolerance = reason.explanation, bundle.ranker.tolerance
        assert fsum(ours.contributions) == ours.logit
        assert ours.probability == pytest.approx(score, abs=1e-6)
        assert ours.probability == pytest.approx(batch.probability, abs=tolerance)
        served = {"logit": ours.logit, "probability": ours.probability}
        assert ours == replace(batch, **served)


def test_alike_are_items_that_the_user_liked(bundle):
    newcomer = 8_000_000
    assert all(not reason.similar for reason in bundle.reasons(newcomer, [10001], LATE))
    for item in (10001, 10002, 10003, 10004):
        bundle.observe(FeedbackEvent(newcomer, item, 10, LATE + 100))
    for reason in bundle.reasons(newcomer, [10005, 10006, 404], LATE + 200):
        assert {one.item for one in reason.similar} <= {10001, 10002, 10003, 10004}
        cosines = [one.similarity for one in reason.similar]
        assert cosines == sorted(cosines, reverse=True)
    (itself,) = bundle.reasons(newcomer, [10002], LATE + 200)
    assert itself.similar[0].item == 10002
    assert itself.similar[0].similarity == pytest.approx(1, abs=1e-5)

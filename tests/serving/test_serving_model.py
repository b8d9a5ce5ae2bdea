"""A serving model: equal to one computed in place, checked before it serves, and explained."""

import shutil
from dataclasses import replace
from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import KMRD, event, rated
from widedeep.data.feedback_log import read_feedback
from widedeep.evaluation.explain import Explainer
from widedeep.evaluation.snapshot import GOLDEN, DataSnapshot, GoldenRequests
from widedeep.features.history import Queries
from widedeep.inputs import Precision
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.retriever import Retriever
from widedeep.retrieval.user_index import merge_feedback
from widedeep.serving.ranker import Ranker
from widedeep.serving.serving_model import ServingModel, WarmState, check_version

LATE = 1_700_000_000
ratings = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 9_000_000, 9_000_001]),
        st.integers(10001, 10012),
        st.integers(1, 10),
        st.integers(LATE, LATE + 3),
    ),
    max_size=12,
)


def feedback_of(rows):
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return rated(*(np.array(column, np.int64) for column in columns))


@settings(max_examples=12)
@given(before=ratings, since=ratings)
def test_a_version_loaded_from_a_warm_state_answers_as_one_computed_from_its_data(
    versions, hand_over, before, since
):
    """Equal to the bit, whatever was rated before the warm state was handed over, and since."""
    version = versions[0]
    feedback = feedback_of(before)
    served = ServingModel.load(version, hand_over(WarmState.compute(version, feedback)))
    model, snapshot = TrainedModel.load(version.served), DataSnapshot.load(version.history)
    interactions, tables = merge_feedback(snapshot, feedback), snapshot.tables
    ranker = Ranker.from_interactions(model, interactions, tables)
    retriever = Retriever.from_interactions(model, interactions, tables, snapshot.side)
    for row in sorted(since, key=lambda row: row[3]):
        new = event(*row)
        assert served.update(new) == ranker.update(new) == retriever.update(new)
    at = max(LATE + 60, ranker.known_until)
    items = np.append(tables.items.ids, -1)
    for user in (1, 2, 9_000_000, 9_000_001, -1):
        assert (served.ranker.scores(user, items, at) == ranker.scores(user, items, at)).all()
        assert served.retriever.candidates(user, at) == retriever.candidates(user, at)
        assert served.ranker.state.seen(user).tolist() == retriever.user_history.seen(user).tolist()


@pytest.fixture
def version(versions, tmp_path):
    """A copy of a version that a test may damage."""
    folder = shutil.copytree(versions[0].served.parent, tmp_path / "version")
    return replace(versions[0], served=folder / "model", history=folder / "history")


def truncate_weights(version):
    path = version.served / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def delete_ratings(version):
    (version.history / "ratings.parquet").unlink()


def change_format(version):
    path = version.served / "model.json"
    path.write_text(path.read_text().replace('"format": ', '"format": 9'))


def mix_versions(version):
    """Put the golden requests of one version beside the weights of another."""
    golden = GoldenRequests.load(version.history / GOLDEN)
    other = replace(golden, probability=np.clip(golden.probability + 0.01, 0, 1))
    other.save(version.history / GOLDEN, DataSnapshot.load(version.history).side)


def write_nan_weights(version):
    """Make every score NaN."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(version.served / "weights.safetensors")
    weights["bias"] = weights["bias"] * np.float32("nan")
    save_file(weights, version.served / "weights.safetensors")


def test_a_sound_version_has_no_fault(versions):
    assert [check_version(version, Precision.AUTO) for version in versions] == [None, None]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (truncate_weights, "cannot be loaded"),
        (delete_ratings, "cannot be loaded"),
        (change_format, "model format 9"),
        (mix_versions, "scores in float32 differ by up to 0.01"),
        (write_nan_weights, "scores in float32 differ by up to nan"),
    ],
)
def test_the_fault_of_a_damaged_version_is_found(version, damage, fault):
    damage(version)
    assert fault in check_version(version, Precision.AUTO)


@pytest.fixture(scope="module")
def serving_model(versions, hand_over, tmp_path_factory):
    empty = tmp_path_factory.mktemp("events") / "none.csv"
    empty.write_text("")
    warm_state = WarmState.compute(versions[0], read_feedback(empty, KMRD))
    return ServingModel.load(versions[0], hand_over(warm_state))


def test_the_parts_of_a_reason_sum_to_its_logit_and_equal_those_of_a_batch(serving_model, versions):
    snapshot = DataSnapshot.load(versions[0].history)
    user, items = int(np.bincount(snapshot.interactions.user).argmax()), [10001, 10002, 10003, 404]
    rows = [(user, 10010, 10, LATE), (user, 10011, 1, LATE + 60)]
    for row in rows:
        serving_model.update(event(*row))
    at = LATE + 3600
    reasons = serving_model.reasons(user, items, at)
    scores = serving_model.ranker.scores(user, np.array(items), at)
    interactions = merge_feedback(snapshot, feedback_of(rows))
    model = TrainedModel.load(versions[0].served)
    names = serving_model.metadata.names
    explainer = Explainer(model, interactions, snapshot.tables, names, snapshot.side.spec)
    queries = Queries(*(np.array(c) for c in ([user] * 4, items, [at] * 4, [at] * 4)))
    for reason, score, batch in zip(reasons, scores, explainer.explain(queries), strict=True):
        live, tolerance = reason.explanation, serving_model.ranker.tolerance
        assert fsum(live.contributions) == live.logit
        assert live.probability == pytest.approx(score, abs=1e-6)
        assert live.probability == pytest.approx(batch.probability, abs=tolerance)
        served = {"logit": live.logit, "probability": live.probability}
        assert live == replace(batch, **served)


def test_similar_items_are_ones_that_the_user_liked_the_most_similar_first(serving_model):
    new_user = 8_000_000
    assert all(not reason.similar for reason in serving_model.reasons(new_user, [10001], LATE))
    for item in (10001, 10002, 10003, 10004):
        serving_model.update(event(new_user, item, 10, LATE + 100))
    for reason in serving_model.reasons(new_user, [10005, 10006, 404], LATE + 200):
        assert {similar.item for similar in reason.similar} <= {10001, 10002, 10003, 10004}
        cosines = [similar.similarity for similar in reason.similar]
        assert cosines == sorted(cosines, reverse=True)
    (itself,) = serving_model.reasons(new_user, [10002], LATE + 200)
    assert itself.similar[0].item == 10002
    assert itself.similar[0].similarity == pytest.approx(1, abs=1e-5)

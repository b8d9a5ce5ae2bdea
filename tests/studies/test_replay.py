"""A replay knows no future, does no work twice, and scores by what came after."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from tests.worlds import KMRD, ingest
from widedeep import metrics
from widedeep.data.tables import IngestedData
from widedeep.evaluation.gate import GateConfig, StreamingScore, Verdict
from widedeep.inputs import InputError
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.store import ArtifactStore
from widedeep.studies.replay import Policy, Replay, ReplayConfig
from widedeep.studies.replay_report import policy_numbers, replay_markdown
from widedeep.studies.replay_result import GateStep, replay_result

NOW = 1_700_000_000
SEED = 5
GATE = GateConfig(replicates=100)


def config():
    """Return a replay of the default preset, but small and quick."""
    preset = get_preset("default", KMRD)
    network = replace(preset.network, hidden=(16,), embedding=2, number_embedding=2)
    training = replace(preset.training, epochs=2, patience=1)
    return ReplayConfig(replace(preset, network=network, training=training), GATE, SEED)


@pytest.fixture(scope="module")
def ratings(tiny, tmp_path_factory):
    return IngestedData(ingest(tiny, ArtifactStore(tmp_path_factory.mktemp("stages")), NOW))


@pytest.fixture(scope="module")
def moments(ratings):
    """Return three moments with as many ratings between them, and the end."""
    time = ratings.interactions().time
    return [int(time[int(len(time) * share)]) for share in (0.5, 0.65, 0.8)] + [int(time[-1]) + 1]


@pytest.fixture(scope="module")
def replay(ratings, tmp_path_factory):
    return Replay(ArtifactStore(tmp_path_factory.mktemp("replay")), ratings, config())


def run_steps(replay, moments):
    steps = []
    for at, until in pairwise(moments):
        steps.append(replay.step(at, until, steps[-1] if steps else None))
    return steps


@pytest.fixture(scope="module")
def steps(replay, moments):
    return run_steps(replay, moments)


@pytest.fixture(scope="module")
def result(replay, steps):
    return replay_result(replay, steps)


def published_model(step, policy):
    return TrainedModel.load(step.published[policy].path)


def test_a_published_model_knows_all_ratings_or_those_its_gate_allows(steps):
    for step in steps:
        for policy in (Policy.COLD, Policy.WINDOW, Policy.ALWAYS):
            assert published_model(step, policy).learned_until == step.at
        assert published_model(step, Policy.NEVER).learned_until == steps[0].at
        gated, caught_up = (
            published_model(step, p).learned_until for p in (Policy.GATED, Policy.CAUGHT_UP)
        )
        assert gated < caught_up <= step.at


def test_the_gate_compares_models_that_have_not_seen_the_holdout(steps):
    for step in steps[1:]:
        assert "not comparable" not in " ".join(step.gate.summary["decision"]["reasons"])
        promoted = step.gate.summary["decision"]["verdict"] == Verdict.PROMOTE
        assert (step.published[Policy.GATED].id == step.candidate.id) == promoted


def test_the_cost_of_a_warm_step_grows_with_the_new_ratings_only(steps, ratings):
    time = ratings.interactions().time
    for before, step in pairwise(steps):
        new = int(((time >= before.at) & (time < step.at)).sum())
        trained = step.trained[Policy.ALWAYS][0].summary
        sampling = config().preset.sampling
        assert trained["training_rows"] == 2 * (new + round(sampling.replay * new))
        assert trained["best_epoch"] == 0
        assert trained["carried"]["wide"]["carried"] > 0


def test_the_same_replay_again_trains_nothing_anew(replay, moments, steps, monkeypatch):
    monkeypatch.setattr("widedeep.studies.replay.TrainingRun", None)
    for step, repeated in zip(steps, run_steps(replay, moments), strict=True):
        assert step.published == repeated.published


def test_no_rating_from_the_moment_on_changes_what_is_published(ratings, moments, steps, tmp_path):
    class Flipped(IngestedData):
        def interactions(self, until=None):
            known = super().interactions(until)
            later = known.time >= moments[1]
            return replace(known, value=np.where(later, 11 - known.value, known.value))

    flipped = Flipped(ratings.artifact)
    assert (flipped.interactions().value != ratings.interactions().value).any()
    replay = Replay(ArtifactStore(tmp_path), flipped, config())
    first = replay.step(*moments[:2], None)
    second = replay.step(*moments[1:3], first)
    for policy in Policy:
        networks = (published_model(step, policy).network for step in (steps[1], second))
        weights = (network.state_dict().values() for network in networks)
        assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_policy_is_scored_by_the_ratings_of_the_period_that_follows(replay, steps, result):
    for policy in result.policies:
        for step, policy_step in zip(steps, policy.steps, strict=True):
            published = step.published[policy.policy]
            scored = replay.score_period(published, step.at, step.until)
            rows = pd.read_parquet(scored.path / "predictions.parquet")
            assert step.at <= rows.time.min() <= rows.time.max() < step.until
            assert policy_step.rows == len(rows)
            auc = metrics.auc(rows.label.to_numpy(), rows.streaming.to_numpy())
            assert policy_step.score.auc == auc


def test_lists_change_only_with_the_model(result):
    for policy in result.policies:
        assert policy.steps[0].churn is None
        churn = [step.churn for step in policy.steps[1:]]
        if policy.policy is Policy.NEVER:
            assert churn == [0, 0]
        if policy.policy is Policy.COLD:
            assert min(churn) > 0


def test_the_table_has_all_policies_and_the_numbers_all_steps(result):
    text = replay_markdown(result, "Replay")
    assert all(f"| {policy} |" in text for policy in Policy)
    assert "regret of the gate" in text
    assert len(policy_numbers(result)) == len(Policy) * 3


@pytest.mark.parametrize(
    ("verdict", "candidate", "right"),
    [
        (Verdict.PROMOTE, 0.4, True),
        (Verdict.PROMOTE, 0.6, False),
        (Verdict.HOLD, 0.6, True),
        (Verdict.INSUFFICIENT, 0.4, False),
    ],
)
def test_the_gate_is_right_where_the_better_model_is_published(verdict, candidate, right):
    step = GateStep(0, verdict, StreamingScore(0.8, candidate), StreamingScore(0.8, 0.5))
    assert step.right is right


def test_too_early_a_moment_is_refused(replay, ratings):
    first = int(ratings.interactions().time[0])
    with pytest.raises(InputError, match="the training part has"):
        replay.step(first + 86_400 * 30, first + 86_400 * 60, None)

"""A replay knows no future, does nothing twice, and judges by what came after."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from widedeep import metrics
from widedeep.data.ingest import ingest
from widedeep.data.tables import IngestedData
from widedeep.evaluation.gate import GateConfig, Verdict
from widedeep.inputs import InputError
from widedeep.model.presets import preset
from widedeep.model.trained_model import TrainedModel
from widedeep.store import ArtifactStore
from widedeep.studies.replay import Policy, Replay, ReplayConfig
from widedeep.studies.replay_report import (
    GateStep,
    Score,
    policy_numbers,
    replay_markdown,
    replay_result,
)

NOW = 1_700_000_000
SEED = 5
GATE = GateConfig(replicates=100)


def config():
    """The default preset, but small and quick."""
    chosen = preset("default")
    network = replace(chosen.network, hidden=(16,), embedding=2, number_embedding=2)
    training = replace(chosen.training, epochs=2, patience=1)
    return ReplayConfig(replace(chosen, network=network, training=training), GATE, SEED)


@pytest.fixture(scope="module")
def ratings(tiny, tmp_path_factory):
    return IngestedData(ingest(tiny, ArtifactStore(tmp_path_factory.mktemp("stages")), NOW))


@pytest.fixture(scope="module")
def moments(ratings):
    """Three moments with as many ratings between them, and the end."""
    time = ratings.load().time
    return [int(time[int(len(time) * share)]) for share in (0.5, 0.65, 0.8)] + [int(time[-1]) + 1]


@pytest.fixture(scope="module")
def replay(ratings, tmp_path_factory):
    return Replay(ArtifactStore(tmp_path_factory.mktemp("replay")), ratings, config())


def walk(replay, moments):
    steps = []
    for at, until in pairwise(moments):
        steps.append(replay.step(at, until, steps[-1] if steps else None))
    return steps


@pytest.fixture(scope="module")
def steps(replay, moments):
    return walk(replay, moments)


@pytest.fixture(scope="module")
def found(replay, steps):
    return replay_result(replay, steps)


def model(step, policy):
    return TrainedModel.load(step.published[policy].path)


def test_what_is_published_knows_all_there_is_or_what_its_gate_lets_it(steps):
    for step in steps:
        for policy in (Policy.COLD, Policy.WINDOW, Policy.ALWAYS):
            assert model(step, policy).learned_until == step.at
        assert model(step, Policy.NEVER).learned_until == steps[0].at
        gated, caught_up = (model(step, p).learned_until for p in (Policy.GATED, Policy.CAUGHT_UP))
        assert gated < caught_up <= step.at


def test_the_gate_compares_models_that_have_not_seen_the_holdout(steps):
    for step in steps[1:]:
        assert "unfair" not in " ".join(step.gate.summary["decision"]["reasons"])
        promoted = step.gate.summary["decision"]["verdict"] == Verdict.PROMOTE
        assert (step.published[Policy.GATED].id == step.candidate.id) == promoted


def test_a_warm_step_costs_as_much_as_what_is_new(steps, ratings):
    time = ratings.load().time
    for before, step in pairwise(steps):
        new = int(((time >= before.at) & (time < step.at)).sum())
        trained = step.trained[Policy.ALWAYS][0].summary
        sampling = config().preset.sampling
        assert trained["training_rows"] == 2 * (new + round(sampling.replay * new))
        assert trained["best_epoch"] == 0
        assert trained["carried"]["wide"]["carried"] > 0


def test_the_same_replay_again_does_nothing_anew(replay, moments, steps, monkeypatch):
    monkeypatch.setattr("widedeep.evaluation.replay.Fitting", None)
    again = walk(replay, moments)
    for one, other in zip(steps, again, strict=True):
        assert one.published == other.published


def test_no_rating_from_the_moment_on_has_a_say_in_what_is_published(
    ratings, moments, steps, tmp_path
):
    class Flipped(IngestedData):
        def load(self, until=None):
            interactions = super().load(until)
            return replace(
                interactions,
                value=np.where(
                    interactions.time >= moments[1], 11 - interactions.value, interactions.value
                ),
            )

    other = Replay(ArtifactStore(tmp_path), Flipped(ratings.artifact), config())
    first = other.step(*moments[:2], None)
    second = other.step(*moments[1:3], first)
    for policy in Policy:
        ours, theirs = (model(step, policy).network for step in (steps[1], second))
        same = (np.array_equal(a, b) for a, b in zip(*map(weights, (ours, theirs)), strict=True))
        assert all(same)


def weights(network):
    return [value.numpy() for value in network.state_dict().values()]


def test_a_policy_is_judged_by_the_ratings_of_the_period_that_follows(replay, steps, found):
    for policy in found.policies:
        for step, told in zip(steps, policy.steps, strict=True):
            published = step.published[policy.policy]
            judged = replay.judge(published, step.at, step.until)
            rows = pd.read_parquet(judged.path / "predictions.parquet")
            assert step.at <= rows.time.min() <= rows.time.max() < step.until
            assert told.rows == len(rows)
            label, scores = rows.label.to_numpy(), rows.streaming.to_numpy()
            assert told.score.auc == metrics.auc(label, scores)


def test_lists_change_only_with_the_model(found):
    for policy in found.policies:
        assert policy.steps[0].churn is None
        changed = [step.churn for step in policy.steps[1:]]
        if policy.policy is Policy.NEVER:
            assert changed == [0, 0]
        if policy.policy is Policy.COLD:
            assert min(changed) > 0


def test_the_table_has_all_policies_and_the_numbers_all_steps(found):
    text = replay_markdown(found, "Replay")
    assert all(f"| {policy} |" in text for policy in Policy)
    assert "regret of the gate" in text
    assert len(policy_numbers(found)) == len(Policy) * 3


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
    step = GateStep(0, verdict, Score(0.8, candidate), Score(0.8, 0.5))
    assert step.right is right


def test_too_early_a_moment_is_refused(replay, ratings):
    first = int(ratings.load().time[0])
    with pytest.raises(InputError, match="the training part has"):
        replay.step(first + 86_400 * 30, first + 86_400 * 60, None)

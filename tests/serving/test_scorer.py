"""The fast scorer is the model: the same scores as the network's own, for whatever a spec can say.

This is the promise that lets serving score without running the network on every pair. Each case is
scored through a `Ranker`, so the live state is part of it: some ratings arrive one at a time, and
users and items are known or unknown.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numba.core.registry import CPUDispatcher

from tests.serving.random_models import (
    EVERYTHING,
    LEAST,
    PRIOR,
    SMALL,
    World,
    rows_of,
    scores_of_the_model,
)
from tests.worlds import ITEM_COLUMNS, KMRD, event, tables_of
from widedeep.features.history import passes
from widedeep.features.spec import Cross
from widedeep.inputs import InputError, Precision
from widedeep.model.compute import matmul_dtype
from widedeep.model.network import sigmoid
from widedeep.model.presets import get_preset
from widedeep.serving.live_state import LiveState
from widedeep.serving.ranker import Ranker
from widedeep.serving.scorer import FastScorer, kernels

DEFAULT, PAPER = get_preset("default", KMRD), get_preset("paper", KMRD)
EMBEDDED = replace(SMALL, embedding=3, hidden=(12,), number_embedding=5)
NUMBERS_ALONE = replace(
    EVERYTHING,
    categories=(),
    bags=(),
    crosses=(),
    wide=("user_genres_residual_bucket",),
    prior_logit=None,
)
NO_NUMBER = replace(
    EVERYTHING, numbers=(), buckets=(), crosses=(Cross(("user", "item"), 1),), wide=("item",)
)
CASES = {
    "default": (DEFAULT.features, DEFAULT.network),
    "paper": (PAPER.features, replace(PAPER.network, hidden=(64, 32, 16))),
    "everything": (EVERYTHING, EMBEDDED),
    "everything, wide only": (EVERYTHING, replace(SMALL, deep=False)),
    "everything, deep only": (EVERYTHING, replace(EMBEDDED, wide=False)),
    "numbers alone": (NUMBERS_ALONE, replace(SMALL, number_embedding=2)),
    "no number": (NO_NUMBER, EMBEDDED),
}


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    return World.ingest(simulated, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def small(world):
    return world.model(EVERYTHING, SMALL)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("table", ["tables", "bare"])
def test_scores_are_those_of_the_model(world, name, table):
    model, tables = world.model(*CASES[name]), getattr(world, table)
    start = len(world.interactions) - 300
    earlier = world.interactions.select_rows(slice(start))
    ranker = Ranker.from_interactions(model, earlier, tables, Precision.FLOAT32)
    for rating in rows_of(world.interactions, slice(start, None)):
        ranker.update(event(*rating, least=LEAST))
    items = world.candidates()
    for later in (0, 40 * 86_400):
        at = ranker.known_until + later
        for user in world.users():
            scores = ranker.scores(user, items, at)
            expected = scores_of_the_model(model, world.interactions, tables, user, items, at)
            assert scores.dtype == np.float32
            np.testing.assert_allclose(scores, expected, rtol=0, atol=ranker.tolerance)
            assert np.ptp(expected) > 0.01 or name == "numbers alone"
            by_item = dict(zip(items.tolist(), expected, strict=True))
            ranking = ranker.rank(user, items, at, len(items))
            ranked = [by_item[entry.item] for entry in ranking]
            assert (np.diff(ranked) <= 2 * ranker.tolerance).all()


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_bfloat16_is_within_its_stated_tolerance(world, preset):
    """It is emulated here if need be: the numbers are the same, only slower."""
    preset = get_preset(preset, KMRD)
    network = replace(preset.network, hidden=(256, 128, 64))
    model = world.model(preset.features, network)
    state = live_state(world, model)
    exact, rounded = (
        fast_scorer(world, model, state, dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    for user in world.users():
        request = state.read(user, world.candidates(), state.known_until)
        float32, bfloat16 = (sigmoid(scorer.logits(request)) for scorer in (exact, rounded))
        assert 0 < np.abs(float32 - bfloat16).max() <= rounded.tolerance
    assert exact.tolerance == 1e-5
    assert (exact.precision, rounded.precision) == (Precision.FLOAT32, Precision.BFLOAT16)


@pytest.mark.parametrize("name", CASES)
def test_several_requests_at_once_and_a_scorer_for_one_moment_score_the_same(world, name):
    model = world.model(*CASES[name])
    state = live_state(world, model)
    scorer = fast_scorer(world, model, state, torch.float32)
    at = state.known_until + 86_400
    requests = [state.read(user, world.candidates()[:-2], at) for user in world.users()]
    one_by_one = np.concatenate([scorer.logits(request) for request in requests])
    np.testing.assert_allclose(scorer.logits(*requests), one_by_one, rtol=0, atol=1e-5)
    for_moment = scorer.at_moment(state.read_every_item(at))
    np.testing.assert_allclose(for_moment.logits(*requests), one_by_one, rtol=0, atol=1e-5)


def live_state(world, model):
    history = model.transform.spec.history
    return LiveState.from_interactions(world.interactions, world.tables, history, PRIOR)


def fast_scorer(world, model, state, dtype):
    ids = state.users.ids, state.items.ids
    return FastScorer.from_model(model, ids, world.tables, dtype)


def test_a_model_without_ratings_or_items_answers(world, small):
    interactions = world.interactions.select_rows(slice(0))
    no_items = tables_of(ITEM_COLUMNS.empty_table())
    ranker = Ranker.from_interactions(small, interactions, no_items, Precision.FLOAT32)
    items = np.array([5, 6])
    expected = scores_of_the_model(small, interactions, no_items, 1, items, 10**9)
    np.testing.assert_allclose(ranker.scores(1, items, 10**9), expected, rtol=0, atol=1e-5)
    assert ranker.rank(1, np.array([], np.int64), 10**9, 3) == ()


def test_an_id_that_only_the_model_knows_keeps_its_weights(world, small):
    """The ratings begin anew; users and candidates are still those of the vocabularies."""
    interactions = world.interactions.select_rows(slice(0))
    no_items = tables_of(ITEM_COLUMNS.empty_table())
    ranker = Ranker.from_interactions(small, interactions, no_items, Precision.FLOAT32)
    user, items = int(world.interactions.user[0]), world.interactions.item[:40]
    expected = scores_of_the_model(small, interactions, no_items, user, items, 10**9)
    np.testing.assert_allclose(ranker.scores(user, items, 10**9), expected, rtol=0, atol=1e-5)
    assert np.ptp(expected) > 0.01


def test_after_loading_nothing_is_left_to_compile(world, small):
    def signatures():
        functions = [*vars(kernels).values(), *vars(passes).values()]
        return [len(f.signatures) for f in functions if isinstance(f, CPUDispatcher)]

    ranker = Ranker.from_interactions(small, world.interactions, world.tables, Precision.FLOAT32)
    before, items = signatures(), world.candidates()
    for user in world.users():
        ranker.rank(user, items, 3 * 10**9, 5)
        ranker.update(event(user, 10**15 + user, 10, 3 * 10**9))
        ranker.scores(user, items[:0], 4 * 10**9)
        ranker.scores(user, items[::2], 4 * 10**9)
    assert signatures() == before
    assert sum(before) > 0


@pytest.mark.parametrize(
    ("capabilities", "automatic"),
    [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)],
)
def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch, capabilities, automatic):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert matmul_dtype(Precision.AUTO) == automatic
    assert matmul_dtype(Precision.FLOAT32) == torch.float32
    if capabilities:
        assert matmul_dtype(Precision.BFLOAT16) == torch.bfloat16
    else:
        with pytest.raises(InputError, match="neither AVX512-BF16 nor AMX"):
            matmul_dtype(Precision.BFLOAT16)
